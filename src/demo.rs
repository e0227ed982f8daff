//! `portcullis demo`: the gateway, self-contained: a private CA, a store, a tenant of its own.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{Config, HostPattern, TenantConfig},
    name::HostName,
    tls::authority::{Authority, AuthorityError},
};

pub mod tenant;

/// The demo's root; browsers resolve everything below `localhost` to this machine.
pub const ROOT: &str = "portcullis.localhost";

/// What `portcullis demo` was asked for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The port to serve on.
    pub port: u16,
    /// Where the store and the key are kept.
    pub data: PathBuf,
    /// Where the CA and the certificate are kept.
    pub certs: PathBuf,
    /// The address to bind.
    pub listen: IpAddr,
    /// Whether the containers of a local engine are tenants too.
    pub docker: bool,
}

/// Why the demo cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The private CA.
    #[error("the demo's certificates cannot be made in {}", dir.display())]
    Authority {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: AuthorityError,
    },
    /// The demo's own names.
    #[error("the demo's own host names do not parse")]
    Names(#[from] crate::name::NotAHost),
}

/// Makes the certificates (kept from one start to the next) and the configuration.
/// `tenant` is where the built-in tenant listens.
pub fn configure(options: &DemoOptions, tenant: SocketAddr) -> Result<Config, DemoError> {
    certificates(&options.certs).map_err(|source| DemoError::Authority {
        dir: options.certs.clone(),
        source,
    })?;
    let root = HostName::parse(ROOT)?;
    let mut config = Config {
        file: PathBuf::from("(demo)"),
        root_domain: Some(root.clone()),
        ..Config::default()
    };
    config.listen.https = vec![SocketAddr::new(options.listen, options.port)];
    config.listen.http = Vec::new();
    config.listen.admin = None;
    config.portal.host = Some(root.child("auth")?);
    config.manager.host = Some(root.child("manager")?);
    config.certificates.dir.clone_from(&options.certs);
    config.store.path = options.data.join("portcullis.db");
    config.store.key_file = options.data.join("portcullis.key");
    if !options.docker {
        config.docker.hosts = Vec::new();
    }
    config.tenants = vec![Arc::new(TenantConfig {
        line: 0,
        hosts: vec![HostPattern::Exact(root.child("demo")?)],
        upstreams: vec![tenant],
        ..TenantConfig::default()
    })];
    Ok(config)
}

fn certificates(dir: &Path) -> Result<(), AuthorityError> {
    let authority = Authority::open(dir, ROOT)?;
    let (certificate, key) = (
        dir.join(format!("{ROOT}.crt")),
        dir.join(format!("{ROOT}.key")),
    );
    if !(certificate.exists() && key.exists()) {
        let (chain, secret) = authority.issue(&[ROOT, &format!("*.{ROOT}")])?;
        crate::tls::certificates::write_private(&key, &secret)?;
        std::fs::write(&certificate, chain)?;
    }
    Ok(())
}

/// How to trust the demo's CA, in words.
pub fn trust_advice(certs: &Path) -> String {
    let ca = certs.join("ca.pem");
    format!(
        "The demo's certificate comes from a private CA that is valid for {ROOT} only.\n\
         To be rid of the browser's warning, trust {}:\n  \
         Chromium on Linux: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n portcullis-demo -i {}\n  \
         Firefox: Settings, Certificates, Import; macOS: open the file; curl: --cacert {}",
        ca.display(),
        ca.display(),
        ca.display(),
    )
}
