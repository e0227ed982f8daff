//! WebSockets: the handshake with the tenant, then the relay, under the permit's vigil.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::Response;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    authz::{Permit, Vigil},
    body::Body,
    forward::{self, Errand, Opened, Shaken},
    intake::{Inbound, Malformed, wire::Guarded},
    pipeline::{Pipeline, SOON, Visitor, engine::Engine, refused},
    reply::Refusal,
    socket::{
        guard::Guard,
        lane::Mode,
        polling::Upgrading,
        quota::{Full, Seats},
        relay::{Leg, Setting, relay},
    },
    telemetry::count,
};

impl Pipeline {
    /// Shakes hands with the tenant and, if it agrees, puts a relay between the two.
    pub(super) async fn open_socket<IO>(
        self: &Rc<Self>,
        visitor: &Visitor,
        mut inbound: Box<Inbound>,
        errand: Errand<'_>,
        engine: Option<&Engine>,
    ) -> Result<Response<Body>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgrade = inbound.upgrade.take().ok_or(Malformed::Handshake)?;
        let vigil = errand.vigil.clone().ok_or(Refusal::Forbidden)?;
        let guarded = vigil.permit().route().guarded;
        let mode = self.mode(engine, guarded);
        let seats = if guarded {
            Some(self.seats(vigil.permit()).map_err(crowded)?)
        } else {
            None
        };
        let shaken = forward::handshake(&self.pool, errand, inbound)
            .await
            .map_err(refused)?;
        let Opened {
            answer,
            upstream,
            early,
        } = match shaken {
            Shaken::Open(opened) => opened,
            Shaken::Refused(response) => return Ok(response),
        };
        if let Some(watch) = &visitor.watch {
            watch.tunnel();
        }
        let (pipeline, place) = (Rc::clone(self), Rc::clone(&visitor.place));
        self.tasks.spawn_local(async move {
            // Held to the socket's end.
            let _held = (place, seats);
            match upgrade.await {
                Ok(upgraded) => {
                    let upstream = Leg {
                        io: upstream,
                        read: early,
                    };
                    pipeline.relay::<IO>(upgraded, upstream, vigil, mode).await;
                }
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "the upgrade did not come about"
                    );
                }
            }
        });
        Ok(answer)
    }

    /// Seats for one more socket under `permit`.
    pub(super) fn seats(&self, permit: &Permit) -> Result<Seats, Full> {
        let house = &*self.house;
        let grant = permit.identity().map(|it| &it.lease().grant);
        let rules = &house.config.load().sockets;
        let seats = house.quotas.take(permit.tenant(), grant, rules);
        if let Err(full) = seats {
            count(&house.metrics.socket_limits, full.limit());
        }
        seats
    }

    /// How a socket is judged; `None`: on an open host, not at all.
    fn mode(&self, engine: Option<&Engine>, guarded: bool) -> Option<Mode> {
        if !guarded {
            return None;
        }
        let max_frame = self.house.config.load().sockets.max_frame;
        let Some(engine) = engine else {
            return Some(Mode::Plain { max_frame });
        };
        let terms = Arc::clone(&engine.terms);
        let guard = match (&engine.session, &engine.request.sid) {
            (Some(session), Some(sealed)) => {
                let engines = Arc::clone(&self.house.engines);
                Guard::upgrade(terms, Upgrading::new(engines, sealed, Arc::clone(session)))
            }
            _ => Guard::open(terms),
        };
        Some(Mode::EngineIo(Box::new(guard)))
    }

    async fn relay<IO>(
        &self,
        upgraded: Upgraded,
        upstream: Leg<TcpStream>,
        vigil: Vigil,
        mode: Option<Mode>,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match upgraded.downcast::<TokioIo<Guarded<IO>>>() {
            Ok(parts) => {
                let client = Leg {
                    // Boxed: it is large, and each function that is awaited on the way to the
                    // relay would keep room for it as long as the socket is open.
                    io: Box::new(parts.io.into_inner().into_inner()),
                    read: parts.read_buf,
                };
                Box::pin(self.between(client, upstream, vigil, mode)).await;
            }
            // One stream of an HTTP/2 connection: hyper carries its bytes.
            Err(stream) => {
                let client = Leg {
                    io: TokioIo::new(stream),
                    read: Bytes::new(),
                };
                Box::pin(self.between(client, upstream, vigil, mode)).await;
            }
        }
    }

    async fn between<C>(
        &self,
        client: Leg<C>,
        upstream: Leg<TcpStream>,
        vigil: Vigil,
        mode: Option<Mode>,
    ) where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(mode) = mode else {
            return tunnel(client, upstream, vigil).await;
        };
        let house = &*self.house;
        let config = house.config.load_full();
        let login_url = self.login_url();
        let setting = Setting {
            rules: &config.sockets,
            touch_every: config.session.idle / 4,
            login_url: &login_url,
            metrics: &house.metrics,
        };
        let touch = |vigil: &Vigil| {
            if let Some(identity) = vigil.permit().identity() {
                let cell = &identity.lease().cell;
                house.sessions.touch(cell, house.clock.now());
            }
        };
        relay(client, upstream, vigil, mode, &setting, touch).await;
    }
}

/// What is answered where there is no seat for one more socket.
pub(super) fn crowded(full: Full) -> Refusal {
    Refusal::TooManySockets {
        whose: full,
        retry_after: SOON,
    }
}

/// nginx-proxy's way, on open hosts: bytes there and back until one side has enough, the
/// tenant is gone, or we go down.
async fn tunnel<IO>(mut client: Leg<IO>, mut upstream: Leg<TcpStream>, mut vigil: Vigil)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let both = async {
        upstream.io.write_all(&client.read).await?;
        client.io.write_all(&upstream.read).await?;
        tokio::io::copy_bidirectional(&mut client.io, &mut upstream.io).await
    };
    tokio::select! {
        over = vigil.over() => tracing::debug!(%over, "a tunnel was cut"),
        done = both => if let Err(error) = done {
            tracing::debug!(%error, "a tunnel broke off");
        },
    }
}
