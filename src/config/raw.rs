//! The file as written: a tree of values, each with its place, over which the environment is
//! laid. Nothing here knows what a key means.

use std::{collections::BTreeMap, io, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::fault::{Complaints, Page, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// What may be written.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// What an environment variable or a `..._file` holds: whoever reads it decides what it is.
    Bare(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// `[...]` or several `[[...]]`.
    List(Vec<Node>),
    /// `{...}` or `[...]`.
    Table(Table),
    /// What no key wants; its name for a message.
    Other(&'static str),
}

impl Value {
    /// What this is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Bare(_) => "a text",
            Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }

    /// A text, whoever wrote it.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(it) | Self::Bare(it) = self {
            return Some(it);
        }
        None
    }

    /// A whole number.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(it) => u64::try_from(*it).ok(),
            Self::Bare(it) => it.parse().ok(),
            Self::Text(_) | Self::Flag(_) | Self::List(_) | Self::Table(_) | Self::Other(_) => None,
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(it) => Some(*it),
            Self::Bare(it) => it.parse().ok(),
            Self::Text(_) | Self::Number(_) | Self::List(_) | Self::Table(_) | Self::Other(_) => {
                None
            }
        }
    }
}

/// Keys and their values, by name.
pub(super) type Table = BTreeMap<String, Entry>;

/// One `key = value`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where the key stands.
    pub(super) key: Place,
    /// What it is set to.
    pub(super) node: Node,
}

/// Reads `text`, which is `file`. What is not TOML is a fault, and then the rest is not judged.
pub(super) fn parse(text: &str, file: &Path, complaints: &Complaints) -> Option<Table> {
    let page = Page::new(&file.to_string_lossy(), text);
    complaints.stands("", &Place::within(&page, 0));
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(text.len(), |it| it.start);
        complaints.fault(
            &Place::within(&page, at),
            format!("not TOML: {}", error.message().trim_end()),
        );
    }
    errors.is_empty().then(|| table_of(table.get_ref(), &page))
}

fn table_of(table: &DeTable<'_>, page: &Page<'_>) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let entry = Entry {
            key: Place::within(page, key.span().start),
            node: node_of(value, page),
        };
        (name.clone().into_owned(), entry)
    };
    table.iter().map(entry).collect()
}

fn node_of(value: &Spanned<DeValue<'_>>, page: &Page<'_>) -> Node {
    let at = Place::within(page, value.span().start);
    let value = match value.get_ref() {
        DeValue::String(it) => Value::Text(it.clone().into_owned()),
        DeValue::Integer(it) => i64::from_str_radix(it.as_str(), it.radix())
            .map_or(Value::Other("a number that is too large"), Value::Number),
        DeValue::Boolean(it) => Value::Flag(*it),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(it) => Value::List(it.iter().map(|one| node_of(one, page)).collect()),
        DeValue::Table(it) => Value::Table(table_of(it, page)),
    };
    Node { at, value }
}

/// A list that is written as one text: TOML's own `[...]`, or values between commas or lines.
pub(super) fn list_of(bare: &str, at: &Place) -> Result<Vec<Node>, String> {
    // `[::]:443` is an address, `["[::]:443"]` a list.
    let inner = bare.trim().strip_prefix('[').map(str::trim_start);
    if inner.is_some_and(|it| it.starts_with(['"', '\'', ']'])) {
        let value = DeValue::parse(bare.trim()).map_err(|it| it.message().to_owned())?;
        let whole = node_of(&value, &Page::new(&at.file, bare));
        let Value::List(nodes) = whole.value else {
            return Err("expected a list".to_owned());
        };
        let here = |node: Node| Node {
            at: at.clone(),
            ..node
        };
        return Ok(nodes.into_iter().map(here).collect());
    }
    let parts = bare.split([',', '\n']).map(str::trim);
    let node = |it: &str| Node {
        at: at.clone(),
        value: Value::Bare(it.to_owned()),
    };
    Ok(parts.filter(|it| !it.is_empty()).map(node).collect())
}

/// What `PORTCULLIS__` variables begin with.
pub(super) const PREFIX: &str = "PORTCULLIS__";

/// Lays one variable over the tree: it wins over the file, and so does its `..._file` twin.
pub(super) fn lay_over(table: &mut Table, section: &str, key: &str, variable: &str, value: &str) {
    let place = Place::whole(variable);
    let entry = Entry {
        key: place.clone(),
        node: Node {
            at: place.clone(),
            value: Value::Bare(value.to_owned()),
        },
    };
    let target = if section.is_empty() {
        table
    } else {
        let holder = table.entry(section.to_owned()).or_insert_with(|| Entry {
            key: place.clone(),
            node: Node {
                at: place,
                value: Value::Table(Table::new()),
            },
        });
        let Value::Table(inner) = &mut holder.node.value else {
            return; // a section that is no table is told of by whoever reads it
        };
        inner
    };
    target.insert(key.to_owned(), entry);
}

/// What a file named by a `..._file` key holds, without the newline at its end.
pub(super) fn contents(
    path: &Path,
    files: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Node, String> {
    let text = files(path).map_err(|it| format!("cannot read {}: {it}", path.display()))?;
    Ok(Node {
        at: Place::whole(&path.to_string_lossy()),
        value: Value::Bare(text.trim_end_matches(['\r', '\n']).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_error_is_told_with_its_place() {
        let complaints = Complaints::default();
        let text = "a = 1\nb = = 2\nc = \"x\nd = 1\n";
        assert!(parse(text, Path::new("p.toml"), &complaints).is_none());
        let (faults, _) = complaints.into_lists();
        let lines: Vec<usize> = faults.iter().map(|it| it.line).collect();
        assert!(lines.contains(&2) && lines.contains(&3), "{faults:?}");
    }

    #[test]
    fn a_list_in_a_variable_is_toml_or_has_commas() {
        let at = Place::whole("V");
        assert_eq!(list_of("a, b\nc,", &at).unwrap().len(), 3);
        assert_eq!(list_of("[\"a\", \"b\"]", &at).unwrap().len(), 2);
        assert_eq!(list_of("", &at).unwrap().len(), 0);
        assert_eq!(list_of("[::]:1,[::]:2", &at).unwrap().len(), 2);
        assert!(list_of("[\"a\", ", &at).is_err());
    }
}
