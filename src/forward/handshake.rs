//! A WebSocket's handshake with its upstream, on a connection of its own.

use std::{cell::RefCell, rc::Rc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper::client::conn::http1::{self, Parts};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::{
    body::Body,
    forward::{Errand, ForwardError, Pool, Trip, aim, await_answer, clean, pool, stream::Broke},
    intake::{Inbound, credentials::SUBPROTOCOL},
    random,
};

/// What became of a handshake.
#[derive(Debug)]
pub enum Shaken {
    /// The upstream speaks WebSocket.
    Open(Opened),
    /// It said something else: an ordinary answer, and no tunnel.
    Refused(Response<Body>),
}

/// Both ends may speak frames now.
#[derive(Debug)]
pub struct Opened {
    /// The answer to give: 101 with what belongs to it (for HTTP/2: 200).
    pub answer: Response<Body>,
    /// The connection to the upstream.
    pub upstream: TcpStream,
    /// What the upstream already sent after its answer: the first of its frames.
    pub early: Bytes,
}

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

type Driver = JoinHandle<hyper::Result<Parts<TokioIo<TcpStream>>>>;

/// Shakes hands with the upstream for a visitor. Compression is not offered: what passes is
/// read. `errand.vigil` is only asked; it is the socket's own that goes on watching.
pub async fn handshake(
    pool: &Rc<Pool>,
    errand: Errand<'_>,
    inbound: Box<Inbound>,
) -> Result<Shaken, ForwardError> {
    let trip = Trip {
        clean: clean::Rules::of(errand.route, &errand.stamp, &inbound),
        patience: pool.patience(),
        vigil: errand.vigil.map(|it| Rc::new(RefCell::new(it))),
    };
    let by_token = inbound.credentials.subprotocol.is_some();
    let http2 = inbound.http2;
    let target = aim::target(errand.path, &inbound)?;
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = target.into();
    *request.headers_mut() = errand.stamp.onto(*inbound).0;
    let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
    let key = ask(request.headers_mut());

    let stream = pool::dial(errand.upstream.address, trip.patience.connect).await?;
    let (mut sender, conn) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ForwardError::Broken)?;
    let driver: Driver = pool.tasks().spawn_local(conn.without_shutdown());
    let broke = Broke::default();
    broke.finish();
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(ForwardError::Broken)?;
        Ok((
            response,
            pool::Conn::single(sender, &driver, errand.upstream.address),
        ))
    };
    let (response, conn) = await_answer(exchange, &trip, &broke).await?;
    if let Some(vigil) = &trip.vigil {
        super::check(vigil)?;
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Not kept: who knows what an upstream that refused an upgrade makes of the next.
        return Ok(Shaken::Refused(
            trip.answer(response, Some((pool.clone(), conn))),
        ));
    }
    let chosen = check(response.headers(), &key, offered.as_ref())?;
    conn.release();
    let parts = driver
        .await
        .map_err(|_| ForwardError::Switched)?
        .map_err(ForwardError::Broken)?;
    let mut head = response.into_parts().0;
    let accept = head.headers.remove(SEC_WEBSOCKET_ACCEPT);
    clean::clean(&mut head, &trip.clean);
    head.headers.remove(SEC_WEBSOCKET_PROTOCOL);
    let chosen = chosen.or_else(|| by_token.then(|| HeaderValue::from_static(SUBPROTOCOL)));
    if let Some(chosen) = chosen {
        head.headers.insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    if http2 {
        head.status = StatusCode::OK;
    } else {
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(CONNECTION, upgrade);
        head.headers
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Some(accept) = accept {
            head.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
    }
    Ok(Shaken::Open(Opened {
        answer: Response::from_parts(head, Body::Empty),
        upstream: parts.io.into_inner(),
        early: parts.read_buf,
    }))
}

/// Makes the request a handshake; gives back its key. The visitor's own key goes on, so that
/// the upstream's answer to it is the answer to the visitor; over HTTP/2 there is none.
fn ask(headers: &mut HeaderMap) -> HeaderValue {
    let key = headers.get(SEC_WEBSOCKET_KEY).cloned();
    let key = key
        .or_else(|| HeaderValue::from_str(&STANDARD.encode(random::bytes::<16>())).ok())
        .unwrap_or(HeaderValue::from_static(""));
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    headers.insert(SEC_WEBSOCKET_KEY, key.clone());
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    key
}

/// Whether a 101 is the answer to what was asked; gives back the subprotocol it chose.
fn check(
    headers: &HeaderMap,
    key: &HeaderValue,
    offered: Option<&HeaderValue>,
) -> Result<Option<HeaderValue>, ForwardError> {
    let one = |name| {
        let mut lines = headers.get_all(name).iter();
        lines.next().filter(|_| lines.next().is_none())
    };
    let upgraded = one(UPGRADE).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let accepted = one(SEC_WEBSOCKET_ACCEPT).is_some_and(|it| *it == accept(key).as_str());
    if !upgraded || !accepted || headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(ForwardError::Switched);
    }
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let chosen = one(SEC_WEBSOCKET_PROTOCOL).ok_or(ForwardError::Switched)?;
    let was_offered = offered
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default()
        .split(',')
        .any(|it| it.trim().as_bytes() == chosen.as_bytes());
    if was_offered {
        Ok(Some(chosen.clone()))
    } else {
        Err(ForwardError::Switched)
    }
}

/// The answer to a key.
pub(super) fn accept(key: &HeaderValue) -> String {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finish())
}
