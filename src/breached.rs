//! Passwords that leaked: a list of hashes on disk, asked without being read.
//!
//! The list is the one that is offered for download everywhere: a line for each password, its
//! SHA-1 in 40 hex digits, then nothing or `:` and a count, sorted. Tens of gigabytes are
//! searched with some forty small reads.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Hex digits of a hash.
const DIGITS: usize = 40;
/// The longest line that is taken for one, with its count and its end.
const LONGEST: usize = 80;
/// How many lines are looked at before a list is taken for one.
const SAMPLES: u64 = 256;

/// Why a file is no such list.
#[derive(Debug, thiserror::Error)]
pub enum NoList {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// A line is no hash.
    #[error("has something else than a SHA-1 in 40 hex digits near byte {0}")]
    Line(u64),
    /// A hash stands before a smaller one.
    #[error("is not sorted: near byte {0} a smaller hash follows a larger one")]
    Order(u64),
}

/// An open list.
#[derive(Debug)]
pub struct List {
    file: File,
    size: u64,
}

type Hash = [u8; DIGITS];

impl List {
    /// Opens it, unlooked at.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }

    /// Looks at some hundred lines all over it: whether each is one, and larger than those
    /// before.
    pub fn inspect(&self) -> Result<(), NoList> {
        if self.size == 0 {
            return Err(NoList::Empty);
        }
        let mut last: Option<Hash> = None;
        for sample in 0..=SAMPLES {
            let at = self.size.saturating_sub(1) / SAMPLES * sample;
            let Some((start, _, hash)) = self.line_from(at)? else {
                continue;
            };
            if last.is_some_and(|it| it > hash) {
                return Err(NoList::Order(start));
            }
            last = Some(hash);
        }
        last.map(|_| ()).ok_or(NoList::Empty)
    }

    /// Whether `password` is on it.
    pub fn holds(&self, password: &str) -> Result<bool, NoList> {
        let wanted = hash_of(password);
        // The first line that is not smaller begins in [low, high).
        let (mut low, mut high) = (0, self.size);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.line_from(middle)? {
                Some((start, next, hash)) if start < high => {
                    if hash == wanted {
                        return Ok(true);
                    }
                    if hash < wanted {
                        low = next;
                    } else {
                        high = middle;
                    }
                }
                Some(_) | None => high = middle,
            }
        }
        Ok(false)
    }

    /// The first line that begins at or after `at`: where it begins, where the next one does,
    /// and its hash. `None`: there is none.
    fn line_from(&self, at: u64) -> Result<Option<(u64, u64, Hash)>, NoList> {
        // From the byte before, so that a line that begins right here is seen to.
        let from = at.saturating_sub(1);
        let mut bytes = [0; 2 * LONGEST];
        let read = self.read(&mut bytes, from)?;
        let window = bytes.get(..read).unwrap_or_default();
        let skipped = if at == 0 {
            0
        } else {
            match memchr::memchr(b'\n', window) {
                Some(end) => end + 1,
                None if read < window.len().max(LONGEST) => return Ok(None),
                None => return Err(NoList::Line(from)),
            }
        };
        let start = from + skipped as u64;
        let rest = window.get(skipped..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let end = memchr::memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let hash = parse(line).ok_or(NoList::Line(start))?;
        let next = end.map_or(self.size, |it| start + it as u64 + 1);
        Ok(Some((start, next, hash)))
    }

    fn read(&self, into: &mut [u8], from: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|it| !it.is_empty()) {
            match self.file.read_at(rest, from + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// `HASH` or `HASH:COUNT`.
fn parse(line: &[u8]) -> Option<Hash> {
    let (hash, rest) = line.split_at_checked(DIGITS)?;
    let count = match rest.split_first() {
        None => true,
        Some((b':', count)) => !count.is_empty() && count.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    let mut hash: Hash = hash.try_into().ok()?;
    hash.make_ascii_uppercase();
    (count && hash.iter().all(u8::is_ascii_hexdigit)).then_some(hash)
}

fn hash_of(password: &str) -> Hash {
    let mut out = [0; DIGITS];
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    for (pair, byte) in out.chunks_exact_mut(2).zip(digest.as_ref()) {
        let digit = |it: u8| {
            b"0123456789ABCDEF"
                .get(usize::from(it))
                .copied()
                .unwrap_or(b'0')
        };
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of these passwords, written by `line`.
    fn list(passwords: &[String], line: impl Fn(&str) -> String) -> (tempfile::TempDir, List) {
        let mut hashes: Vec<String> = passwords
            .iter()
            .map(|it| String::from_utf8(hash_of(it).to_vec()).unwrap())
            .collect();
        hashes.sort();
        let text: String = hashes.iter().map(|it| line(it)).collect();
        written(&text)
    }

    fn written(text: &str) -> (tempfile::TempDir, List) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        std::fs::write(&file, text).unwrap();
        let list = List::open(&file).unwrap();
        (folder, list)
    }

    #[test]
    fn a_hash_is_the_one_that_everybody_writes() {
        // FIPS 180-4's example.
        assert_eq!(&hash_of("abc"), b"A9993E364706816ABA3E25717850C26C9CD0D89D");
    }

    #[test]
    fn what_is_on_the_list_is_found_and_nothing_else() {
        let formats: [&dyn Fn(&str) -> String; 4] = [
            &|it| format!("{it}\n"),
            &|it| format!("{it}:7\r\n"),
            &|it| format!("{}\n", it.to_lowercase()),
            &|it| {
                format!(
                    "{it}:{}\n",
                    "9".repeat(usize::from(it.as_bytes()[3] % 20) + 1)
                )
            },
        ];
        for count in [1, 2, 3, 50, 1000] {
            let there: Vec<String> = (0..count).map(|it| format!("password {it}")).collect();
            for format in formats {
                let (_folder, list) = list(&there, format);
                list.inspect().unwrap();
                for it in &there {
                    assert!(list.holds(it).unwrap(), "{it} of {count}");
                }
                for it in 0..100 {
                    assert!(!list.holds(&format!("another {it}")).unwrap());
                }
            }
        }
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let (_folder, list) = written("A9993E364706816ABA3E25717850C26C9CD0D89D");
        assert!(list.holds("abc").unwrap());
        assert!(!list.holds("abd").unwrap());
    }

    #[test]
    fn what_is_no_list_is_named() {
        let hashes = |from: u32, to: u32| -> String {
            let lines: Vec<String> = (from..to).map(|it| format!("{it:040X}\n")).collect();
            lines.concat()
        };
        let mixed = hashes(500, 1000) + &hashes(0, 500);
        for (text, said) in [
            ("", "is empty"),
            ("hello\n", "something else"),
            (&"x".repeat(5000), "something else"),
            (&mixed, "not sorted"),
            (&format!("{:040X}:\n", 1), "something else"),
        ] {
            let (_folder, list) = written(text);
            let error = list.inspect().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
