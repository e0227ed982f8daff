//! Accepts; one listener per address and core; pauses on error; never gives up.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How long the kernel may hold connections that nobody has accepted yet.
const BACKLOG: i32 = 1024;

/// Binds `address` so that every core may have a listener of its own on it
/// (`SO_REUSEPORT`: the kernel spreads the connections).
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 too, as most people expect of it.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether somebody listens on `address` already: gateways share a port without a word, others
/// cannot be bound beside.
pub fn is_taken(address: SocketAddr) -> bool {
    let bound = std::net::TcpListener::bind(address);
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Binds each of `addresses` once per worker: the answer has one list per worker. An address
/// whose family the machine lacks is skipped with a line in the log, unless none is left.
pub fn bind_all(
    addresses: &[SocketAddr],
    workers: usize,
) -> io::Result<Vec<Vec<std::net::TcpListener>>> {
    let mut lists: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut lacking = None;
    for &address in addresses {
        let mut real = address;
        for list in &mut lists {
            match bind(real) {
                Ok(listener) => {
                    // Port 0: the first listener chooses, the others follow.
                    real = listener.local_addr()?;
                    list.push(listener);
                }
                Err(error) if lacks_family(&error) => {
                    if let Some(v4) = v4_twin(address) {
                        tracing::warn!(%address, instead = %v4, "no IPv6 on this machine");
                        let listener = bind(if real.is_ipv4() { real } else { v4 })?;
                        real = listener.local_addr()?;
                        list.push(listener);
                    } else {
                        tracing::warn!(%address, "this machine lacks the address family: skipped");
                        lacking = Some(error);
                        break;
                    }
                }
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{address}: {error}")));
                }
            }
        }
    }
    match lacking {
        Some(error) if lists.iter().all(Vec::is_empty) => Err(error),
        _ => Ok(lists),
    }
}

/// `[::]` on a machine without IPv6 means `0.0.0.0`.
fn v4_twin(address: SocketAddr) -> Option<SocketAddr> {
    (address.is_ipv6() && address.ip().is_unspecified())
        .then(|| SocketAddr::from(([0, 0, 0, 0], address.port())))
}

fn lacks_family(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Accepts until told to stop; hands each connection to `take`, which must not wait.
pub async fn accept(
    listener: std::net::TcpListener,
    stop: CancellationToken,
    mut take: impl FnMut(TcpStream, SocketAddr),
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut pause = Duration::from_millis(5);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            it = listener.accept() => it,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = Duration::from_millis(5);
                // Small answers must not wait for more to come.
                if stream.set_nodelay(true).is_ok() {
                    take(stream, peer);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of files or memory: wait for some to come back.
                tracing::warn!(%error, ?pause, "accepting paused");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
