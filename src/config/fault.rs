//! What is wrong with what the operator wrote, and where: collected until the end, so that
//! every fault is told at once.

use std::{cell::RefCell, collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use super::Config;

/// One complaint, with its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, or the environment variable, that it is about.
    pub file: PathBuf,
    /// The line, from 1; 0 where there are no lines (a variable, a file that cannot be read).
    pub line: usize,
    /// The column, in characters, from 1; 0 where there are none.
    pub column: usize,
    /// What is wrong, and what would be right. Never quotes a secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)
    }
}

/// A configuration that may be run on.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to run on.
    pub config: Config,
    /// What is probably a mistake.
    pub warnings: Vec<Fault>,
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    /// A variable or a file as a whole.
    pub(super) fn whole(file: &str) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
        }
    }

    /// The byte `at` of `page`.
    pub(super) fn within(page: &Page<'_>, at: usize) -> Self {
        let at = at.min(page.text.len());
        let line = page.starts.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|it| page.starts.get(it));
        let line_so_far = page.text.get(start.copied().unwrap_or(0)..at);
        let line_so_far = line_so_far.unwrap_or_default();
        Self {
            file: Arc::clone(&page.file),
            line,
            column: line_so_far.trim_start_matches('\u{feff}').chars().count() + 1,
        }
    }
}

/// A file's text, with its lines found once: a file of ten thousand tenants has ten times as
/// many places, and each is asked for.
#[derive(Debug)]
pub(super) struct Page<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
}

impl<'a> Page<'a> {
    /// The page of `text`, which is `file`.
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file: file.into(),
            text,
            starts: std::iter::once(0).chain(breaks).collect(),
        }
    }
}

/// The complaints so far, and where each key stood.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    faults: RefCell<Vec<Fault>>,
    contradictions: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    places: RefCell<BTreeMap<String, Place>>,
}

impl Complaints {
    /// Notes that `path` (`session.idle`, `rule[2].hosts[0]`) stands at `place`.
    pub(super) fn stands(&self, path: &str, place: &Place) {
        self.places
            .borrow_mut()
            .insert(path.to_owned(), place.clone());
    }

    /// Whether somebody wrote `path`.
    pub(super) fn is_written(&self, path: &str) -> bool {
        self.places.borrow().contains_key(path)
    }

    /// Whether `path` was written in a file, not in the environment.
    pub(super) fn is_in_the_file(&self, path: &str) -> bool {
        self.places.borrow().get(path).is_some_and(|it| it.line > 0)
    }

    /// Whether the list `path` was written with anything in it, right or wrong, or is wrong
    /// as a whole.
    pub(super) fn has_elements(&self, path: &str) -> bool {
        self.is_written(&format!("{path}[0]"))
            || (self.is_written(path) && self.is_wrong(&self.place_of(path)))
    }

    /// Whether what stands at `place` could not be read, so that its default stands in.
    fn is_wrong(&self, place: &Place) -> bool {
        let stands_there = |it: &Fault| {
            it.file.as_os_str() == &*place.file
                && (it.line, it.column) == (place.line, place.column)
        };
        self.faults.borrow().iter().any(stands_there)
    }

    /// Something that stops the start.
    pub(super) fn fault(&self, place: &Place, message: String) {
        self.faults.borrow_mut().push(fault_at(place, message));
    }

    /// Something that stops the start, at the key `path` or what holds it. Not told of a key
    /// that is wrong by itself: what it contradicts is only its default.
    pub(super) fn fault_on(&self, path: &str, message: String) {
        let place = self.place_of(path);
        if !self.is_wrong(&place) {
            let mut list = self.contradictions.borrow_mut();
            list.push(fault_at(&place, message));
        }
    }

    /// Something that is probably a mistake, at the key `path` or what holds it.
    pub(super) fn warn_on(&self, path: &str, message: String) {
        let place = self.place_of(path);
        self.warnings.borrow_mut().push(fault_at(&place, message));
    }

    /// Faults and warnings, each in the order of their places.
    pub(super) fn into_lists(self) -> (Vec<Fault>, Vec<Fault>) {
        let order = |mut list: Vec<Fault>| {
            list.sort();
            list.dedup();
            list
        };
        let mut faults = self.faults.into_inner();
        faults.append(&mut self.contradictions.into_inner());
        (order(faults), order(self.warnings.into_inner()))
    }

    fn place_of(&self, path: &str) -> Place {
        let places = self.places.borrow();
        let mut path = path;
        loop {
            if let Some(place) = places.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = path.get(..at).unwrap_or_default(),
                None => break,
            }
        }
        places.get("").cloned().unwrap_or_else(|| Place::whole(""))
    }
}

fn fault_at(place: &Place, message: String) -> Fault {
    Fault {
        file: PathBuf::from(&*place.file),
        line: place.line,
        column: place.column,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_like_a_compilers() {
        let place = Place::within(&Page::new("p.toml", "a\nüb c"), 5);
        assert_eq!(
            fault_at(&place, "no".to_owned()).to_string(),
            "p.toml:2:3: no"
        );
        assert_eq!(
            fault_at(&Place::whole("VARIABLE"), "no".to_owned()).to_string(),
            "VARIABLE: no"
        );
    }

    #[test]
    fn a_key_that_was_not_written_is_complained_of_where_its_holder_stands() {
        let complaints = Complaints::default();
        let page = Page::new("p.toml", "\n\n");
        complaints.stands("", &Place::within(&page, 0));
        complaints.stands("rule[1]", &Place::within(&page, 2));
        complaints.fault_on("rule[1].hosts[0]", "a".to_owned());
        complaints.fault_on("session.idle", "b".to_owned());
        let (faults, _) = complaints.into_lists();
        let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["p.toml:1:1: b", "p.toml:3:1: a"]);
    }
}
