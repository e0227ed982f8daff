//! `portcullis demo`: the gateway, self-contained: a private CA, a store, a tenant of its own.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::tls::authority::{Authority, AuthorityError};

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

impl DemoOptions {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.port)
    }
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
    /// Its configuration file.
    #[error("cannot write {}", file.display())]
    Config {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes the certificates (kept from one start to the next) and writes the demo's configuration
/// beside its store, so that every other command works on it too (`--config`). Where it is.
/// `tenant` is where the built-in tenant listens.
pub fn furnish(options: &DemoOptions, tenant: SocketAddr) -> Result<PathBuf, DemoError> {
    certificates(&options.certs).map_err(|source| DemoError::Authority {
        dir: options.certs.clone(),
        source,
    })?;
    let file = options.data.join("demo.toml");
    let write = || {
        std::fs::create_dir_all(&options.data)?;
        std::fs::write(&file, config_text(options, tenant))
    };
    write().map_err(|source| DemoError::Config {
        file: file.clone(),
        source,
    })?;
    Ok(file)
}

fn config_text(options: &DemoOptions, tenant: SocketAddr) -> String {
    let listen = options.address();
    let docker = if options.docker {
        "\"unix:///var/run/docker.sock\""
    } else {
        ""
    };
    let quoted = |path: PathBuf| toml::Value::String(path.display().to_string()).to_string();
    format!(
        "# Written anew by `portcullis demo` at each start.\n\
         root_domain = \"{ROOT}\"\n\n\
         [listen]\nhttps = [\"{listen}\"]\nhttp = []\nadmin = \"127.0.0.1:0\"\n\n\
         [certificates]\ndir = {certs}\n\n\
         [docker]\nhosts = [{docker}]\n\n\
         [store]\nurl = {store}\nkey_file = {key}\n\n\
         [[tenant]]\nhosts = [\"demo.{ROOT}\"]\nupstreams = [\"http://{tenant}\"]\n",
        certs = quoted(options.certs.clone()),
        store = quoted(PathBuf::from(format!(
            "sqlite:{}",
            options.data.join("portcullis.db").display()
        ))),
        key = quoted(options.data.join("portcullis.key")),
    )
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
