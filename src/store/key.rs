//! The sealing key: given by file or environment, or made at the first start.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::{Store, StoreError};
use crate::{config::StoreConfig, random, secret::SealingKey};

/// The note that holds the check value.
const NOTE: &str = "sealing-key-check";

/// What is sealed as the check value.
const CHECK: &[u8] = b"portcullis";

/// With or without padding: keys are written by people and by `openssl rand -base64 32`.
const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The key that this store was sealed with: `store.key` where it is given, or else the key file,
/// which is made (0600) when neither it nor anything sealed exists.
///
/// [`StoreError::Unusable`] when the key is lost, unreadable, no key, or another store's.
pub fn open_sealing_key(
    config: &StoreConfig,
    store: &mut dyn Store,
) -> Result<SealingKey, StoreError> {
    let check = store.note(NOTE)?;
    let key = match &config.key {
        Some(given) => read(given.reveal()).ok_or_else(|| {
            StoreError::Unusable("store.key is not 32 bytes in base64".to_owned())
        })?,
        None => from_file(&config.key_file, check.is_none())?,
    };
    match check {
        Some(check) => {
            let plain = key.open("key-check", b"", &check).map_err(|_| {
                StoreError::Unusable(
                    "the sealing key does not fit the store: it is another store's key, or the \
                     store was sealed with a key that is lost"
                        .to_owned(),
                )
            })?;
            debug_assert_eq!(plain.as_slice(), CHECK, "only we seal for this purpose");
        }
        None => store.set_note(NOTE, &key.seal("key-check", b"", CHECK))?,
    }
    Ok(key)
}

fn read(text: &str) -> Option<SealingKey> {
    let text = text.trim();
    let decode = |alphabet| {
        GeneralPurpose::new(alphabet, FORGIVING)
            .decode(text)
            .map(Zeroizing::new)
    };
    let bytes = decode(&alphabet::STANDARD)
        .or_else(|_| decode(&alphabet::URL_SAFE))
        .ok()?;
    let bytes: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(SealingKey::from_bytes(bytes))
}

fn from_file(path: &Path, may_be_made: bool) -> Result<SealingKey, StoreError> {
    let unusable = |it: &dyn std::fmt::Display| {
        StoreError::Unusable(format!("the sealing key file {}: {it}", path.display()))
    };
    loop {
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                return read(&text).ok_or_else(|| unusable(&"not 32 bytes in base64"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(&error)),
        }
        if !may_be_made {
            return Err(unusable(
                &"it is not there, and the store was sealed with it. Put it back from a backup; \
                  without it second factors and signing keys cannot be read",
            ));
        }
        match make(path) {
            Ok(()) => tracing::info!(
                file = %path.display(),
                "made the sealing key; keep a copy of it, apart from the database's"
            ),
            // Another process was first: its key is the one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(&error)),
        }
    }
}

/// Writes a new key, whole or not at all, never over another.
fn make(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(it) if !it.as_os_str().is_empty() => it,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".sealing-key-{}", random::id()));
    let text = Zeroizing::new(
        base64::engine::general_purpose::STANDARD.encode(SealingKey::generate().as_bytes()),
    );
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        })
        .and_then(|()| fs::hard_link(&draft, path));
    // A draft that stays behind is a key that nothing was ever sealed with.
    let _ = fs::remove_file(&draft);
    written?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{clock::Timestamp, secret::Secret, store::sqlite::SqliteStore};

    fn store(folder: &Path) -> (SqliteStore, StoreConfig) {
        let config = StoreConfig {
            path: folder.join("p.db"),
            key_file: folder.join("p.key"),
            key: None,
        };
        let store = SqliteStore::open(&config.path, Timestamp(0)).unwrap();
        (store, config)
    }

    #[test]
    fn the_first_start_makes_a_key_for_its_owner_alone_and_the_next_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, config) = store(folder.path());
        let first = open_sealing_key(&config, &mut store).unwrap();
        let mode = fs::metadata(&config.key_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = open_sealing_key(&config, &mut store).unwrap();
        assert_eq!(first.as_bytes(), second.as_bytes());
        assert_eq!(
            fs::read_dir(folder.path())
                .unwrap()
                .filter(|it| {
                    it.as_ref()
                        .unwrap()
                        .file_name()
                        .to_string_lossy()
                        .starts_with('.')
                })
                .count(),
            0
        );
    }

    #[test]
    fn a_lost_key_is_said_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, config) = store(folder.path());
        open_sealing_key(&config, &mut store).unwrap();
        fs::remove_file(&config.key_file).unwrap();
        let error = open_sealing_key(&config, &mut store).unwrap_err();
        assert!(error.to_string().contains("backup"), "{error}");
        assert!(!config.key_file.exists());
    }

    #[test]
    fn another_stores_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, mut config) = store(folder.path());
        open_sealing_key(&config, &mut store).unwrap();
        config.key = Some(Secret::new("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
        assert!(matches!(
            open_sealing_key(&config, &mut store),
            Err(StoreError::Unusable(_))
        ));
        config.key = Some(Secret::new("short"));
        assert!(open_sealing_key(&config, &mut store).is_err());
    }
}
