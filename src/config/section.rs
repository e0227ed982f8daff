//! Reading one section: each key is asked for by its name and its kind, what is wrong with it
//! is noted, and what nobody knows is refused.

use std::{io, path::Path, time::Duration};

use super::{
    fault::Complaints,
    keys::{self, Kind},
    nearest,
    raw::{self, Entry, Node, Table, Value},
    value,
};

/// How a `..._file` is read; a stand-in where nothing may touch the disk.
pub(super) type Files<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// A section while it is read.
pub(super) struct Section<'a> {
    spec: &'static keys::Section,
    path: String,
    table: Table,
    complaints: &'a Complaints,
    files: Files<'a>,
}

impl<'a> Section<'a> {
    /// Opens the section that stands at `path` (`session`, `rule[2]`), or an empty one, and
    /// refuses what it does not know.
    pub(super) fn open(
        spec: &'static keys::Section,
        path: &str,
        entry: Option<Entry>,
        complaints: &'a Complaints,
        files: Files<'a>,
    ) -> Self {
        let mut section = Self {
            spec,
            path: path.to_owned(),
            table: Table::new(),
            complaints,
            files,
        };
        if let Some(entry) = entry {
            complaints.stands(path, &entry.key);
            let kind = entry.node.value.kind();
            if let Value::Table(table) = entry.node.value {
                section.table = table;
            } else {
                complaints.fault(
                    &entry.node.at,
                    format!("{}: expected a table, found {kind}", shown(path)),
                );
            }
        }
        section.fetch_files();
        section.refuse_strangers();
        section
    }

    /// The keys at the top of the file.
    pub(super) fn top(table: Table, complaints: &'a Complaints, files: Files<'a>) -> Self {
        let mut section = Self {
            spec: &keys::ROOT,
            path: String::new(),
            table,
            complaints,
            files,
        };
        section.fetch_files();
        section.refuse_strangers();
        section
    }

    /// A key that is a table itself.
    pub(super) fn group(&mut self, name: &str) -> Option<Self> {
        let entry = self.table.remove(name)?;
        let Some(Kind::Group(spec)) = self.kind(name) else {
            return self.forgotten(name);
        };
        let path = self.path_of(name);
        Some(Self::open(
            spec,
            &path,
            Some(entry),
            self.complaints,
            self.files,
        ))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, |value| {
            value.flag().ok_or_else(|| expected("true or false", value))
        })
    }

    /// A whole number within its bounds.
    pub(super) fn count<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        let (least, most) = match self.kind(name) {
            Some(Kind::Count { least, most }) => (*least, *most),
            _ => return self.forgotten(name),
        };
        self.take(name, |value| {
            if !matches!(value, Value::Number(_) | Value::Bare(_)) {
                return Err(expected("a whole number", value));
            }
            value
                .number()
                .filter(|it| (least..=most).contains(it))
                .and_then(|it| T::try_from(it).ok())
                .ok_or_else(|| format!("expected a whole number from {least} to {most}"))
        })
    }

    /// A number of bytes within its bounds.
    pub(super) fn size<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        let (least, most) = match self.kind(name) {
            Some(Kind::Size { least, most }) => (*least, *most),
            _ => return self.forgotten(name),
        };
        self.take(name, |value| {
            let size = match (value.text(), value) {
                (Some(it), _) => Some(value::size(it)?),
                (None, Value::Number(_)) => value.number(),
                _ => return Err(expected("a size", value)),
            };
            size.filter(|it| (least..=most).contains(it))
                .and_then(|it| T::try_from(it).ok())
                .ok_or_else(|| format!("expected a size from {least} to {most} bytes"))
        })
    }

    /// A duration within its bounds.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        let (least, most) = match self.kind(name) {
            Some(Kind::Duration { least, most }) => {
                (Duration::from_millis(*least), Duration::from_millis(*most))
            }
            _ => return self.forgotten(name),
        };
        self.take(name, |value| {
            let found = match (value.text(), value) {
                (Some(it), _) => value::duration(it)?,
                (None, Value::Number(it)) => value::duration(&it.to_string())?,
                _ => return Err(expected("a duration such as \"30m\"", value)),
            };
            if (least..=most).contains(&found) {
                return Ok(found);
            }
            Err(format!(
                "expected a duration from \"{}\" to \"{}\"",
                value::show_duration(least),
                value::show_duration(most)
            ))
        })
    }

    /// One of the words that the key knows.
    pub(super) fn choice<T>(&mut self, name: &str, means: fn(&str) -> Option<T>) -> Option<T> {
        let words = match self.kind(name) {
            Some(Kind::Choice(words)) => *words,
            _ => return self.forgotten(name),
        };
        self.take(name, |value| {
            let word = value
                .text()
                .ok_or_else(|| expected(&format!("one of {}", words.join(", ")), value))?;
            let known = words.contains(&word).then(|| means(word)).flatten();
            known.ok_or_else(|| {
                let hint = nearest::hint(word, words.iter().copied());
                format!("{word:?} is not known; {hint}")
            })
        })
    }

    /// One text of a form.
    pub(super) fn text<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.take(name, |value| text_of(value, &read))
    }

    /// A list of texts of a form: every wrong one is told of, the right ones are given back.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let nodes = self.take_node(name, |node| {
            if let Value::List(nodes) = &node.value {
                return Ok(nodes.clone());
            }
            if let Value::Bare(it) = &node.value {
                return raw::list_of(it, &node.at);
            }
            Err(expected("a list", &node.value))
        })?;
        let path = self.path_of(name);
        let mut found = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            self.complaints
                .stands(&format!("{path}[{index}]"), &node.at);
            match text_of(&node.value, &read) {
                Ok(it) => found.push(it),
                Err(message) => self
                    .complaints
                    .fault(&node.at, format!("{}: {message}", shown(&path))),
            }
        }
        Some(found)
    }

    fn take<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        self.take_node(name, |node| read(&node.value))
    }

    fn take_node<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        if self.spec.key(name).is_none() {
            return self.forgotten(name);
        }
        let entry = self.table.remove(name)?;
        let path = self.path_of(name);
        self.complaints.stands(&path, &entry.node.at);
        match read(&entry.node) {
            Ok(it) => Some(it),
            Err(message) => {
                self.complaints
                    .fault(&entry.node.at, format!("{}: {message}", shown(&path)));
                None
            }
        }
    }

    fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.spec.key(name).map(|it| &it.kind)
    }

    /// A mistake of ours: the reader asks for what the table does not list.
    fn forgotten<T>(&self, name: &str) -> Option<T> {
        let path = self.path_of(name);
        self.complaints.fault_on(
            &self.path,
            format!("{path} is missing from the table of keys"),
        );
        None
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            return name.to_owned();
        }
        format!("{}.{name}", self.path)
    }

    /// Puts what a file holds in the place of every `x_file`.
    fn fetch_files(&mut self) {
        let twins: Vec<(String, &'static str)> = self
            .spec
            .keys
            .iter()
            .filter(|it| !matches!(it.kind, Kind::Group(_)))
            .map(|it| (format!("{}_file", it.name), it.name))
            .filter(|(file, _)| self.spec.key(file).is_none())
            .collect();
        for (file, name) in twins {
            let Some(entry) = self.table.remove(&file) else {
                continue;
            };
            if let Some(other) = self.table.get(name) {
                match (entry.key.line, other.key.line) {
                    // The environment wins over the file, whichever of the two it sets.
                    (1.., 0) => continue,
                    (0, 1..) => (),
                    _ => {
                        let path = shown(&self.path_of(name));
                        self.complaints.fault(
                            &entry.key,
                            format!("{path} and {path}_file are both set; one is enough"),
                        );
                        continue;
                    }
                }
            }
            self.fetch(name, &file, &entry);
        }
    }

    fn fetch(&mut self, name: &str, file: &str, entry: &Entry) {
        let read = text_of(&entry.node.value, value::path)
            .and_then(|path| raw::contents(&path, self.files));
        match read {
            Ok(node) => {
                let key = node.at.clone();
                self.table.insert(name.to_owned(), Entry { key, node });
            }
            Err(message) => {
                self.table.remove(name);
                let path = self.path_of(file);
                self.complaints
                    .fault(&entry.node.at, format!("{}: {message}", shown(&path)));
            }
        }
    }

    fn refuse_strangers(&mut self) {
        let spec = self.spec;
        let strangers = self
            .table
            .extract_if(.., |name, _| spec.key(name).is_none());
        for (name, entry) in strangers.collect::<Vec<_>>() {
            self.refuse(&name, &entry);
        }
    }

    fn refuse(&self, name: &str, entry: &Entry) {
        let path = self.path_of(name);
        if let Some(later) = self.spec.later.iter().find(|it| it.name == name) {
            let value = &entry.node.value;
            let is_only = later.only.is_some_and(|only| {
                value.text() == Some(only) || value.flag().is_some_and(|it| it.to_string() == only)
            });
            if !is_only {
                let only = later
                    .only
                    .map_or_else(String::new, |it| format!("; {it} is all it can be"));
                self.complaints.fault(
                    &entry.key,
                    format!("{} is not built yet{only}", shown(&path)),
                );
            }
            return;
        }
        let holder = if self.path.is_empty() {
            "at the top".to_owned()
        } else {
            format!("in {}", shown_section(&shown(&self.path)))
        };
        let elsewhere: Vec<String> = keys::SECTIONS
            .iter()
            .filter(|it| it.key(name).is_some() && it.name != self.spec.name)
            .map(|it| shown_section(it.name))
            .collect();
        let names: Vec<&str> = self.spec.names().collect();
        let hint = match (nearest::nearest(name, &names), elsewhere.as_slice()) {
            (None, [_, ..]) => format!("it belongs to {}", elsewhere.join(" or ")),
            _ => nearest::hint(name, names),
        };
        self.complaints.fault(
            &entry.key,
            format!("unknown key \"{}\" {holder}; {hint}", name.escape_debug()),
        );
    }
}

/// A path without its numbers: the place says which one is meant.
fn shown(path: &str) -> String {
    let without = |part: &str| part.split('[').next().unwrap_or_default().to_owned();
    path.split('.').map(without).collect::<Vec<_>>().join(".")
}

/// A section as the file writes it.
pub(super) fn shown_section(name: &str) -> String {
    match keys::section(name) {
        Some(it) if it.repeated => format!("[[{name}]]"),
        _ => format!("[{name}]"),
    }
}

fn text_of<T>(value: &Value, read: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    value
        .text()
        .ok_or_else(|| expected("a text", value))
        .and_then(read)
}

fn expected(what: &str, found: &Value) -> String {
    format!("expected {what}, found {}", found.kind())
}

/// The tables of `[[name]]`, each with its path and its line.
pub(super) fn repeated(
    name: &str,
    entry: Option<Entry>,
    complaints: &Complaints,
) -> Vec<(String, usize, Entry)> {
    let Some(entry) = entry else {
        return Vec::new();
    };
    let kind = entry.node.value.kind();
    let Value::List(nodes) = entry.node.value else {
        complaints.fault(
            &entry.key,
            format!("{name}: expected [[{name}]], found {kind}"),
        );
        return Vec::new();
    };
    let row = |(index, node): (usize, Node)| {
        let key = node.at.clone();
        (format!("{name}[{index}]"), key.line, Entry { key, node })
    };
    nodes.into_iter().enumerate().map(row).collect()
}
