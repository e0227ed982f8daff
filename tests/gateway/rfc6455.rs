//! RFC 6455 through the relay, frame by frame: each case is sent raw in at one end, and what comes
//! out at the other end, and how both are closed, is compared byte by byte.

use std::sync::Arc;

use portcullis::socket::Way;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::support::{Browser, House, engine::page, house::aim, instance::request, soon};

mod cases;

use cases::{Case, Expected, MAX_FRAME, MAX_MESSAGE, frame};

/// Nothing of a case's own: it ends the connection after it.
const GOODBYE: &[u8] = &[0x03, 0xe8];

/// A tenant whose WebSockets are handed to the test as they are.
struct Raw {
    opened: mpsc::Receiver<TcpStream>,
    _task: JoinSet<()>,
}

/// What came out at the far end, and with what code each end was closed.
#[derive(Debug)]
struct Outcome {
    far: Vec<u8>,
    far_code: Option<u16>,
    near_code: Option<u16>,
}

impl Raw {
    async fn start() -> (Self, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, opened) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut visits = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                visits.spawn(serve(stream, sender.clone()));
            }
        });
        (
            Self {
                opened,
                _task: task,
            },
            address,
        )
    }
}

async fn serve(mut stream: TcpStream, sender: mpsc::Sender<TcpStream>) {
    stream.set_nodelay(true).unwrap();
    let mut read = Vec::new();
    while let Some(seen) = request(&mut stream, &mut read).await {
        let answer = match seen.header("sec-websocket-key") {
            Some(key) => format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            ),
            None => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if answer.starts_with("HTTP/1.1 101") {
            let _ = sender.send(stream).await;
            return;
        }
    }
}

/// Both ends of a new WebSocket.
async fn open(
    house: &House,
    browser: &Browser,
    raw: &mut Raw,
    target: &str,
) -> (TlsStream<TcpStream>, TcpStream) {
    let mut wire = house.wire("a").await;
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        house.authority("a"),
        page(house, browser),
    ))
    .await
    .unwrap();
    let answer = wire.answer().await.expect("an answer");
    assert_eq!(answer.status, 101, "{}", answer.text());
    let upstream = soon("the tenant's end", raw.opened.recv()).await.unwrap();
    let (client, read) = wire.into_parts();
    assert!(read.is_empty(), "nobody has said anything yet");
    (client, upstream)
}

/// Sends `pieces`, reads to the end, and answers a close frame where none was sent.
async fn end<S>(stream: S, way: Way, pieces: Vec<Vec<u8>>, answers: bool) -> Vec<u8>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = async {
        for piece in pieces {
            // (An end that was closed meanwhile takes nothing more.)
            if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                break;
            }
        }
        writer
    };
    let reading = async {
        let (mut read, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        while !frames(&read).iter().any(|it| it.0 & 0x0f == 8) {
            match reader.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(count) => read.extend_from_slice(&piece[..count]),
            }
        }
        (reader, read)
    };
    let (mut writer, (mut reader, mut read)) = tokio::join!(writing, reading);
    if answers {
        let _ = writer.write_all(&frame(way, 0x88, GOODBYE)).await;
        let _ = writer.flush().await;
    }
    let _ = reader.read_to_end(&mut read).await;
    read
}

/// The whole frames at the front of `bytes`: each one's first byte, and its payload unmasked.
fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 2) {
        let (first, masked, short) = (head[0], head[1] & 0x80 != 0, u64::from(head[1] & 0x7f));
        at += 2;
        let (length, wide) = match short {
            126 => (bytes.get(at..at + 2), 2),
            127 => (bytes.get(at..at + 8), 8),
            _ => (Some(&[][..]), 0),
        };
        let Some(length) = length else { break };
        let length = length
            .iter()
            .fold(0, |sum: u64, it| sum << 8 | u64::from(*it));
        let length = usize::try_from(if wide == 0 { short } else { length }).unwrap();
        at += wide;
        let mask = if masked { bytes.get(at..at + 4) } else { None };
        at += if masked { 4 } else { 0 };
        let Some(payload) = bytes.get(at..at + length) else {
            break;
        };
        at += length;
        let plain = match mask {
            Some(mask) => payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(it, mask)| it ^ mask)
                .collect(),
            None => payload.to_vec(),
        };
        out.push((first, plain));
    }
    out
}

/// The code of the close frame among `frames`.
fn code(frames: &[(u8, Vec<u8>)]) -> Option<u16> {
    let (_, payload) = frames.iter().find(|it| it.0 & 0x0f == 8)?;
    Some(u16::from_be_bytes(*payload.first_chunk()?))
}

/// Sends a case in at its end.
async fn play(house: &House, browser: &Browser, raw: &mut Raw, case: &Case) -> Outcome {
    let target = if case.guarded {
        "/socket.io/?EIO=4&transport=websocket"
    } else {
        "/comms"
    };
    let (mut client, mut upstream) = open(house, browser, raw, target).await;
    if case.guarded {
        let server = r#"0{"sid":"own"}"#.as_bytes();
        upstream
            .write_all(&frame(Way::Down, 0x81, server))
            .await
            .unwrap();
        one(&mut client).await;
        client
            .write_all(&frame(Way::Up, 0x81, b"40"))
            .await
            .unwrap();
        one(&mut upstream).await;
        upstream
            .write_all(&frame(Way::Down, 0x81, br#"40{"sid":"me"}"#))
            .await
            .unwrap();
        one(&mut client).await;
    }
    let mut pieces: Vec<Vec<u8>> = match case.chop {
        Some(size) => case.sent.chunks(size).map(<[u8]>::to_vec).collect(),
        None => vec![case.sent.clone()],
    };
    let says_goodbye = !case.closes_itself && !matches!(case.expected, Expected::Closed { .. });
    if says_goodbye {
        pieces.push(frame(case.way, 0x88, GOODBYE));
    }
    let sent_close = says_goodbye || case.closes_itself;
    let (near, far) = match case.way {
        Way::Up => tokio::join!(
            end(client, Way::Up, pieces, !sent_close),
            end(upstream, Way::Down, Vec::new(), true)
        ),
        Way::Down => tokio::join!(
            end(upstream, Way::Down, pieces, !sent_close),
            end(client, Way::Up, Vec::new(), true)
        ),
    };
    Outcome {
        far_code: code(&frames(&far)),
        near_code: code(&frames(&near)),
        far,
    }
}

/// Reads one short frame.
async fn one<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut read = Vec::new();
    while frames(&read).is_empty() {
        read.push(soon("a frame", stream.read_u8()).await.unwrap());
    }
}

/// What is wrong with the outcome of a case, if anything is.
fn judge(case: &Case, outcome: &Outcome) -> Option<String> {
    let goodbye = frame(case.way, 0x88, GOODBYE);
    let expected = match &case.expected {
        Expected::Same if case.closes_itself => case.sent.clone(),
        Expected::Same => [case.sent.clone(), goodbye].concat(),
        Expected::Front(front) => front.clone(),
        Expected::Messages(messages) => {
            let mut all = messages.clone();
            all.push((0x88, GOODBYE.to_vec()));
            let arrived = frames(&outcome.far);
            return (arrived != all).then(|| format!("{arrived:02x?} instead of {all:02x?}"));
        }
        Expected::Closed { code, before } => {
            let rest = outcome.far.strip_prefix(before.as_slice());
            let far = rest.map(frames);
            let is_right = far.is_some_and(|it| it.len() == 1 && it[0].0 == 0x88)
                && outcome.near_code == Some(*code)
                && outcome.far_code == Some(*code);
            return (!is_right).then(|| format!("not closed with {code}"));
        }
    };
    (outcome.far != expected).then(|| "other bytes".to_owned())
}

async fn all(cases: Vec<Case>) {
    let (mut raw, address) = Raw::start().await;
    let house = House::with(|config| {
        aim(config, address);
        config.sockets.max_frame = MAX_FRAME;
        config.sockets.max_message = MAX_MESSAGE;
    })
    .await;
    let mut alice = Browser::signed_in(&house, "alice").await;
    alice.enter(&house, "a").await;
    let alice = Arc::new(alice);
    let mut wrong = Vec::new();
    for case in &cases {
        let outcome = soon(&case.name, play(&house, &alice, &mut raw, case)).await;
        if let Some(why) = judge(case, &outcome) {
            let Outcome {
                far,
                far_code,
                near_code,
            } = &outcome;
            let far = &far[..far.len().min(64)];
            wrong.push(format!(
                "{} (RFC 6455, {}): {why}; far {far_code:?} {far:02x?}, near {near_code:?}",
                case.name, case.section
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    house.close().await;
}

#[tokio::test]
async fn w14_frames_and_fragments_pass_as_they_came() {
    all(cases::passing()).await;
}

#[tokio::test]
async fn w14_what_is_no_frame_closes_with_1002() {
    all(cases::malformed()).await;
}

#[tokio::test]
async fn w14_a_connection_is_closed_with_a_code_that_may_be_sent() {
    all(cases::closing()).await;
}

#[tokio::test]
async fn w14_text_that_is_looked_into_is_utf_8_however_it_is_cut() {
    all(cases::text()).await;
}

#[tokio::test]
async fn w14_frames_and_messages_have_a_limit() {
    all(cases::limits()).await;
}
