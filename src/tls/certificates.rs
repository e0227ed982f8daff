//! Certificates in nginx-proxy's layout: `<host>.crt` and `<host>.key`, then the parent's
//! (exactly one label removed, of a name of at least three), then `default`.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// The certificates in force. Swapped whole when the folder changes.
pub struct Certificates {
    table: ArcSwap<CertificateTable>,
    revision: AtomicU64,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("names", &self.table.load().names())
            .finish_non_exhaustive()
    }
}

/// One reading of the folder.
#[derive(Default)]
pub struct CertificateTable {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// Files that could not be used, and why.
    pub faults: Vec<CertificateFault>,
}

/// A certificate that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct CertificateFault {
    /// Which file.
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

impl CertificateTable {
    /// Reads every pair in `dir`. A missing folder is an empty one.
    pub fn read(dir: &Path) -> Self {
        let mut table = Self::default();
        let Ok(entries) = fs::read_dir(dir) else {
            return table;
        };
        for entry in entries.flatten() {
            let file = entry.path();
            let Some(name) = file
                .file_name()
                .and_then(|it| it.to_str())
                .and_then(|it| it.strip_suffix(".crt"))
                .filter(|it| it.strip_suffix(".ca").is_none())
            else {
                continue;
            };
            let key = dir.join(format!("{name}.key"));
            if !key.exists() {
                continue; // a CA's own certificate, or one half of a pair being written
            }
            match pair(&file, &key) {
                Ok(pair) => {
                    table
                        .by_name
                        .insert(name.to_ascii_lowercase(), Arc::new(pair));
                }
                Err(reason) => table.faults.push(CertificateFault {
                    file: file.clone(),
                    reason,
                }),
            }
        }
        table
    }

    /// The certificate for `host`, as nginx-proxy chooses it.
    pub fn find(&self, host: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let default = || self.by_name.get("default");
        let Some(host) = host else {
            return default();
        };
        if let Some(own) = self.by_name.get(host) {
            return Some(own);
        }
        if host.split('.').count() >= 3
            && let Some((_, parent)) = host.split_once('.')
            && let Some(pair) = self.by_name.get(parent)
        {
            return Some(pair);
        }
        default()
    }

    /// Whether both have the same certificates for the same names.
    fn is_like(&self, other: &Self) -> bool {
        let same = |(name, pair): (&String, &Arc<CertifiedKey>)| {
            let other = other.by_name.get(name);
            other.is_some_and(|it| it.cert == pair.cert)
        };
        self.by_name.len() == other.by_name.len() && self.by_name.iter().all(same)
    }

    /// The names there are, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_name.keys().cloned().collect();
        names.sort();
        names
    }
}

fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("its key: {error}"))?;
    // Also checks that the key belongs to the certificate.
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())
        .map_err(|error| error.to_string())
}

impl Certificates {
    /// The certificates of a folder.
    pub fn open(dir: &Path) -> Self {
        let table = CertificateTable::read(dir);
        for fault in &table.faults {
            tracing::warn!(file = %fault.file.display(), reason = fault.reason, "certificate not used");
        }
        Self {
            table: ArcSwap::from_pointee(table),
            revision: AtomicU64::new(0),
        }
    }

    /// Reads the folder again. A pair that no longer loads keeps its former certificate: a
    /// half-written file takes nobody off the net.
    pub fn reload(&self, dir: &Path) {
        let mut table = CertificateTable::read(dir);
        let before = self.table.load();
        for fault in &table.faults {
            tracing::warn!(file = %fault.file.display(), reason = fault.reason, "certificate not reloaded");
            let name = fault
                .file
                .file_stem()
                .and_then(|it| it.to_str())
                .unwrap_or_default();
            if let Some(former) = before.by_name.get(name) {
                table
                    .by_name
                    .entry(name.to_owned())
                    .or_insert_with(|| Arc::clone(former));
            }
        }
        tracing::info!(names = ?table.names(), "certificates loaded");
        let changed = !before.is_like(&table);
        self.table.store(Arc::new(table));
        if changed {
            self.revision.fetch_add(1, Ordering::Release);
        }
    }

    /// Grows with every change of the certificates.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether a handshake for `host` would find a certificate.
    pub fn covers(&self, host: &str) -> bool {
        self.table.load().find(Some(host)).is_some()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.table.load().find(name.as_deref()).cloned()
    }
}

/// Writes a private file: readable by its owner only, whole or not at all.
pub fn write_private(file: &Path, text: &str) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let half = file.with_extension("new");
    let mut open = fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    let mut handle = open.open(&half)?;
    handle.write_all(text.as_bytes())?;
    handle.sync_all()?;
    fs::rename(half, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::authority::Authority;

    #[test]
    fn the_certificate_is_chosen_as_nginx_proxy_chooses() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::generate("example.test").unwrap();
        for (name, sans) in [
            ("example.test", "*.example.test"),
            ("a.example.test", "a.example.test"),
            ("default", "x.test"),
        ] {
            let (certificate, key) = ca.issue(&[sans]).unwrap();
            fs::write(dir.path().join(format!("{name}.crt")), certificate).unwrap();
            fs::write(dir.path().join(format!("{name}.key")), key).unwrap();
        }
        let table = CertificateTable::read(dir.path());
        let named = |host: &str| Arc::as_ptr(table.find(Some(host)).unwrap());
        let own = |name: &str| Arc::as_ptr(&table.by_name[name]);
        assert_eq!(named("a.example.test"), own("a.example.test"));
        assert_eq!(named("b.example.test"), own("example.test"));
        assert_eq!(
            named("x.b.example.test"),
            own("default"),
            "only one label is removed"
        );
        assert_eq!(named("other.test"), own("default"));
        assert_eq!(table.find(None).map(Arc::as_ptr), Some(own("default")));
    }

    #[test]
    fn d9_a_certificate_with_a_wrong_key_is_refused_and_the_former_stays() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::generate("example.test").unwrap();
        let (certificate, key) = ca.issue(&["a.example.test"]).unwrap();
        let (_, wrong) = ca.issue(&["a.example.test"]).unwrap();
        fs::write(dir.path().join("a.example.test.crt"), certificate).unwrap();
        fs::write(dir.path().join("a.example.test.key"), key).unwrap();
        let live = Certificates::open(dir.path());
        assert!(live.covers("a.example.test"));
        fs::write(dir.path().join("a.example.test.key"), wrong).unwrap();
        live.reload(dir.path());
        assert!(
            live.covers("a.example.test"),
            "the former certificate stays in force"
        );
        let faults = CertificateTable::read(dir.path()).faults;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].to_string().contains("a.example.test.crt"));
    }
}
