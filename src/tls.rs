//! Handshake under a deadline; certificate by SNI, reload when the files change.
//!
//! TLS 1.2 and 1.3, post-quantum key exchange first, ALPN `h2` and `http/1.1`. Tickets for
//! resumption are shared by all cores (`tickets`).

use std::{io, sync::Arc, time::Duration};

use rustls::{ServerConfig, server::ResolvesServerCert};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::name::HostName;

pub mod authority;
pub mod certificates;
mod tickets;

pub use certificates::{CertificateTable, Certificates};

use tickets::Tickets;

/// What the two sides agreed on to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// A handshake done.
#[derive(Debug)]
pub struct Secured {
    /// The stream.
    pub stream: TlsStream<TcpStream>,
    /// The name the client asked for. `Some(None)` never occurs: no name is `None`.
    pub server_name: Option<HostName>,
    /// By ALPN; HTTP/1.1 where none was offered.
    pub spoken: Spoken,
}

/// Why there was no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It took too long.
    #[error("the TLS handshake took too long")]
    TooSlow,
    /// It failed.
    #[error("the TLS handshake failed")]
    Failed(#[source] io::Error),
    /// The settings do not make a configuration.
    #[error("TLS cannot be configured")]
    Config(#[source] rustls::Error),
}

/// Makes TLS servers of the certificates at hand.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    patience: Duration,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// With `certificates`; a handshake may take `patience`.
    pub fn new(certificates: Arc<Certificates>, patience: Duration) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Config)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::new(Tickets::new(certificates));
        config.max_early_data_size = 0; // 0-RTT can be replayed
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            patience,
        })
    }

    /// Makes a connection safe, or gives up in time.
    pub async fn secure(&self, plain: TcpStream) -> Result<Secured, TlsError> {
        let stream = tokio::time::timeout(self.patience, self.acceptor.accept(plain))
            .await
            .map_err(|_| TlsError::TooSlow)?
            .map_err(TlsError::Failed)?;
        let session = stream.get_ref().1;
        let server_name = session
            .server_name()
            .and_then(|it| HostName::parse(it).ok());
        let spoken = match session.alpn_protocol() {
            Some(b"h2") => Spoken::Http2,
            _ => Spoken::Http1,
        };
        Ok(Secured {
            stream,
            server_name,
            spoken,
        })
    }
}
