//! WebSockets: the handshake with the tenant, then the relay, under the permit's vigil.

use std::{rc::Rc, sync::Arc};

use hyper_util::rt::TokioIo;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    body::Body,
    forward::{self, Errand, Opened, Shaken},
    intake::{Inbound, Malformed, wire::Guarded},
    pipeline::{Pipeline, Visitor, engine::Engine, refused},
    reply::Refusal,
};

impl Pipeline {
    /// Shakes hands with the tenant and, if it agrees, puts a relay between the two.
    pub(super) async fn open_socket<IO>(
        self: &Rc<Self>,
        visitor: &Visitor,
        mut inbound: Inbound,
        errand: Errand<'_>,
        engine: Option<&Engine>,
    ) -> Result<Response<Body>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgrade = inbound.upgrade.take().ok_or(Malformed::Handshake)?;
        let shaken = forward::handshake(&self.pool, errand, inbound).await.map_err(refused)?;
        let Opened { answer, upstream, early } = match shaken {
            Shaken::Open(opened) => opened,
            Shaken::Refused(response) => return Ok(response),
        };
        if let Some(watch) = &visitor.watch {
            watch.tunnel();
        }
        Ok(answer)
    }
}
