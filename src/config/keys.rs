//! Every key that there is: its kind, its default and one sentence. The reader, the schema,
//! the documentation and the example file all come from this one table.

mod table;

pub(super) use table::{ROOT, SECTIONS};

/// A section of the file, or the keys at its top.
#[derive(Debug)]
pub(super) struct Section {
    /// `session`; empty for the top.
    pub(super) name: &'static str,
    /// Whether it is written `[[name]]`, any number of times.
    pub(super) repeated: bool,
    /// What it is for.
    pub(super) about: &'static str,
    /// Its keys, in the order in which they are told.
    pub(super) keys: &'static [Key],
    /// Keys of the contract that this version cannot honour yet.
    pub(super) later: &'static [Later],
}

impl Section {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|it| it.name == name)
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|it| it.name)
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As TOML writes it; `None`: nothing.
    pub(super) default: Option<&'static str>,
    /// As TOML writes it, where there is no default to show.
    pub(super) example: &'static str,
    /// One sentence, or a few.
    pub(super) about: &'static str,
}

/// A key that is promised and not built.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) name: &'static str,
    /// The one value that says what happens anyway (`false`), if there is one.
    pub(super) only: Option<&'static str>,
}

/// What a key may be set to.
#[derive(Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count { least: u64, most: u64 },
    /// A duration; the bounds in milliseconds.
    Duration { least: u64, most: u64 },
    /// A number of bytes.
    Size { least: u64, most: u64 },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One text.
    One(Form),
    /// A list of texts.
    List(Form),
    /// A table with keys of its own.
    Group(&'static Section),
}

/// What a text must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Secret,
    Path,
    Host,
    HostPattern,
    PathPattern,
    Address,
    Network,
    Upstream,
    Origin,
    Method,
    Name,
    Header,
    Namespace,
    StoreUrl,
    DockerHost,
    DockerFilter,
}

impl Form {
    /// In words, for the documentation.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Secret => "secret text",
            Self::Path => "path",
            Self::Host => "host name",
            Self::HostPattern => "host pattern",
            Self::PathPattern => "path pattern",
            Self::Address => "address:port",
            Self::Network => "network",
            Self::Upstream => "`http://address:port`",
            Self::Origin => "origin",
            Self::Method => "method",
            Self::Name => "name",
            Self::Header => "header name",
            Self::Namespace => "namespace",
            Self::StoreUrl => "`sqlite:path`",
            Self::DockerHost => "`unix:///path`",
            Self::DockerFilter => "`key=value`",
        }
    }

    /// As a pattern for the schema. It may let through what the reader refuses, never the
    /// other way round.
    pub(super) fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Text | Self::Secret | Self::Host => None,
            Self::Path => Some("^.+$"),
            Self::HostPattern => Some("^(\\*|\\*\\..+|[^*]+)$"),
            Self::PathPattern => Some("^/"),
            Self::Address => Some("^.+:[0-9]{1,5}$"),
            Self::Network => Some("^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"),
            Self::Upstream => Some("^http://[^/]+/?$"),
            Self::Origin => Some("^https?://[^/]+$"),
            Self::Method => Some("^[A-Za-z-]{1,32}$"),
            Self::Name => Some("^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"),
            Self::Header => Some("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"),
            Self::Namespace => Some("^/[A-Za-z0-9_~./-]*$"),
            Self::StoreUrl => Some("^sqlite:.+$"),
            Self::DockerHost => Some("^unix:///.+$"),
            Self::DockerFilter => Some("^[a-z-]+=.+$"),
        }
    }
}

/// The section of this name.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|it| it.name == name)
}
