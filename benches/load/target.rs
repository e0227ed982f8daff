//! Where the load goes, and with what.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// One peer, as a client sees it.
#[derive(Args, Clone)]
pub(crate) struct Target {
    /// On 127.0.0.1.
    #[arg(long)]
    pub(crate) port: u16,
    /// The name that is asked for.
    #[arg(long)]
    pub(crate) host: String,
    /// The certificate that the peer must have.
    #[arg(long)]
    certificate: PathBuf,
    /// Sent with each request: `name: value`.
    #[arg(long = "header")]
    pub(crate) headers: Vec<String>,
}

/// What a client offers in its handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// As browsers do: X25519MLKEM768 first.
    Hybrid,
    /// X25519 alone.
    Classic,
}

/// Makes TLS connections to the target.
#[derive(Clone)]
pub(crate) struct Dialler {
    connector: TlsConnector,
    name: ServerName<'static>,
    port: u16,
}

impl Target {
    /// A dialler that speaks `protocols` and never resumes a session.
    pub(crate) fn dialler(&self, protocols: &[&str]) -> anyhow::Result<Dialler> {
        self.dialler_with(protocols, Offer::Classic, Resumption::disabled())
    }

    pub(crate) fn dialler_with(
        &self,
        protocols: &[&str],
        offer: Offer,
        resumption: Resumption,
    ) -> anyhow::Result<Dialler> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate)?)?;
        let mut provider: CryptoProvider = aws_lc_rs::default_provider();
        if offer == Offer::Classic {
            provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        config.resumption = resumption;
        Ok(Dialler {
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(self.host.clone())?,
            port: self.port,
        })
    }

    /// `host:port`, as it stands in `Host`.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The headers in pairs.
    pub(crate) fn pairs(&self) -> anyhow::Result<Vec<(&str, &str)>> {
        let pair = |it: &'_ String| {
            it.split_once(": ")
                .context("a header is `name: value`")
                .map(|_| ())
        };
        self.headers.iter().try_for_each(pair)?;
        Ok(self
            .headers
            .iter()
            .filter_map(|it| it.split_once(": "))
            .collect())
    }
}

impl Dialler {
    pub(crate) async fn dial(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(self.connector.connect(self.name.clone(), stream).await?)
    }
}
