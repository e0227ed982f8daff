//! The table itself.

use super::{
    Form::{
        Address, DockerFilter, DockerHost, Header, Host, HostPattern, Method, Name, Namespace,
        Network, Origin, Path, PathPattern, Secret, StoreUrl, Text, Upstream,
    },
    Key,
    Kind::{self, Choice, Count, Duration, Flag, Group, List, One, Size},
    Later, Section,
};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A key with a default.
const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Some(default),
        example: default,
        about,
    }
}

/// A key without one.
const fn unset(name: &'static str, kind: Kind, example: &'static str, about: &'static str) -> Key {
    Key {
        name,
        kind,
        default: None,
        example,
        about,
    }
}

const fn timeout() -> Kind {
    Duration {
        least: 10,
        most: DAY,
    }
}

const fn not_yet(name: &'static str) -> Later {
    Later { name, only: None }
}

const fn only_false(name: &'static str) -> Later {
    Later {
        name,
        only: Some("false"),
    }
}

const POLICIES: Kind = Choice(&["open", "one-factor", "two-factor", "hardware-key"]);

/// The keys at the top of the file.
pub(in super::super) const ROOT: Section = Section {
    name: "",
    repeated: false,
    about: "At the top of the file, before the first section.",
    keys: &[unset(
        "root_domain",
        One(Host),
        "\"example.com\"",
        "The domain under which tenants live. Setting it puts everything behind a login; without it the gateway is nginx-proxy and nothing more.",
    )],
    later: &[],
};

const SOCKETIO: Section = Section {
    name: "socketio",
    repeated: false,
    about: "How Socket.IO of this tenant is judged.",
    keys: &[
        key(
            "eio3",
            Flag,
            "false",
            "Whether clients of Engine.IO 3, and JSONP, are let through.",
        ),
        key(
            "namespaces",
            List(Namespace),
            "[]",
            "The namespaces that may be opened; empty: all.",
        ),
        key(
            "annotate",
            Flag,
            "false",
            "Whether each message to uibuilder is told who sent it, in `_auth`.",
        ),
        key(
            "mode",
            Choice(&["session", "in-band"]),
            "\"session\"",
            "What client messages have to show: `session` nothing, the connection's session speaks for them; `in-band` a token each, in `_auth.jwt`, or a connection that showed one that is still good.",
        ),
    ],
    later: &[],
};

/// The sections, in the order in which they are told.
pub(in super::super) const SECTIONS: &[Section] = &[
    Section {
        name: "listen",
        repeated: false,
        about: "Where the gateway is to be reached.",
        keys: &[
            key(
                "https",
                List(Address),
                "[\"[::]:443\"]",
                "TLS listeners. An address family that the machine lacks is skipped with a line in the log, unless none is left.",
            ),
            key(
                "http",
                List(Address),
                "[\"[::]:80\"]",
                "Plain listeners, for redirects to https and ACME challenges.",
            ),
            key(
                "admin",
                One(Address),
                "\"127.0.0.1:9090\"",
                "Metrics and health; `\"off\"` turns it off. Whoever reaches it may read it, so never a public address.",
            ),
            key(
                "trusted_proxies",
                List(Network),
                "[]",
                "Whose `X-Forwarded-*` and PROXY headers count, and who may ask `/.portcullis/verify`.",
            ),
            key(
                "proxy_protocol",
                Flag,
                "false",
                "Whether every connection begins with a PROXY header.",
            ),
            key(
                "workers",
                Count {
                    least: 0,
                    most: 1024,
                },
                "0",
                "Threads that serve; 0: one per core.",
            ),
        ],
        later: &[],
    },
    Section {
        name: "portal",
        repeated: false,
        about: "Where people sign in.",
        keys: &[unset(
            "host",
            One(Host),
            "\"auth.example.com\"",
            "Its host name; `auth.<root_domain>` unless set.",
        )],
        later: &[],
    },
    Section {
        name: "manager",
        repeated: false,
        about: "The tenant manager. Not built yet; its name is reserved all the same.",
        keys: &[unset(
            "host",
            One(Host),
            "\"manager.example.com\"",
            "Its host name; `manager.<root_domain>` unless set.",
        )],
        later: &[
            only_false("enabled"),
            not_yet("stacks"),
            not_yet("network"),
            not_yet("limits"),
        ],
    },
    Section {
        name: "certificates",
        repeated: false,
        about: "What the gateway proves itself with.",
        keys: &[key(
            "dir",
            One(Path),
            "\"certs\"",
            "The folder with `<name>.crt` and `<name>.key`, as nginx-proxy keeps them; read again when it changes.",
        )],
        later: &[not_yet("acme")],
    },
    Section {
        name: "docker",
        repeated: false,
        about: "Where tenants are found.",
        keys: &[
            key(
                "hosts",
                List(DockerHost),
                "[\"unix:///var/run/docker.sock\"]",
                "The Docker engines to watch; `[]`: none.",
            ),
            key(
                "filters",
                List(DockerFilter),
                "[]",
                "Which containers to look at, as `docker ps --filter` takes it.",
            ),
            unset(
                "network",
                One(Text),
                "\"proxy\"",
                "The network to reach containers by, where several would do.",
            ),
            unset(
                "claims",
                Choice(&["project", "strict", "off"]),
                "\"project\"",
                "Who owns a host name once served: the compose project or stack (`project`, the default with a root domain), project and service (`strict`), or whoever asks, the oldest first (`off`, the default without one).",
            ),
            key(
                "trust_images",
                Flag,
                "false",
                "Whether what an image itself carries (`ENV VIRTUAL_HOST`, labels) counts.",
            ),
            key(
                "resync",
                Duration {
                    least: SECOND,
                    most: DAY,
                },
                "\"30s\"",
                "How often the whole list is read again, events or not.",
            ),
        ],
        later: &[only_false("swarm")],
    },
    Section {
        name: "store",
        repeated: false,
        about: "Accounts, sessions, claims and keys.",
        keys: &[
            key(
                "url",
                One(StoreUrl),
                "\"sqlite:data/portcullis.db\"",
                "The database.",
            ),
            unset(
                "key_file",
                One(Path),
                "\"data/portcullis.key\"",
                "The file with the sealing key, made at the first start; beside the database unless set (`data/portcullis.key`). Without it what is sealed in the store (second factors, signing keys) is lost: keep a copy, and not beside the backups.",
            ),
            unset(
                "key",
                One(Secret),
                "\"BASE64-OF-32-RANDOM-BYTES\"",
                "The sealing key itself, 32 bytes in base64; wins over `key_file`. Better given as `PORTCULLIS__STORE__KEY` than written here.",
            ),
        ],
        later: &[],
    },
    Section {
        name: "session",
        repeated: false,
        about: "How long a login lasts.",
        keys: &[
            key(
                "idle",
                Duration {
                    least: SECOND,
                    most: 366 * DAY,
                },
                "\"30m\"",
                "Ends a session that nobody used for so long.",
            ),
            key(
                "absolute",
                Duration {
                    least: SECOND,
                    most: 366 * DAY,
                },
                "\"12h\"",
                "Ends every session so long after its login.",
            ),
            key(
                "token",
                Duration {
                    least: SECOND,
                    most: HOUR,
                },
                "\"5m\"",
                "How long a session token is good for without the gateway looking the session up; renewed in passing.",
            ),
            key(
                "bind_address",
                Choice(&["off", "prefix", "exact"]),
                "\"off\"",
                "Whether a session is tied to the address that it began at: not at all, to its /24 or /48, or to exactly it.",
            ),
        ],
        later: &[],
    },
    Section {
        name: "login",
        repeated: false,
        about: "How people prove who they are.",
        keys: &[
            key(
                "password_min",
                Count {
                    least: 8,
                    most: 128,
                },
                "10",
                "The fewest characters of a new password.",
            ),
            key(
                "max_failures",
                Count {
                    least: 1,
                    most: 1000,
                },
                "10",
                "Wrong passwords per user and address prefix before no more are taken; per prefix alone, twenty times as many in an hour.",
            ),
            key(
                "lock",
                Duration {
                    least: SECOND,
                    most: 7 * DAY,
                },
                "\"15m\"",
                "The time in which failures are counted, and how long a lock lasts.",
            ),
            key(
                "argon2_memory_kib",
                Count {
                    least: 8,
                    most: 4 << 20,
                },
                "19456",
                "Memory of one password hash (argon2id), in KiB.",
            ),
            key(
                "argon2_passes",
                Count {
                    least: 1,
                    most: 100,
                },
                "2",
                "Passes of one password hash.",
            ),
            key(
                "hash_workers",
                Count { least: 1, most: 64 },
                "1",
                "How many passwords are hashed at once.",
            ),
            key(
                "hash_queue",
                Count {
                    least: 1,
                    most: 10_000,
                },
                "32",
                "How many may wait for that, a quarter of them from one neighbourhood; the next gets a 503.",
            ),
            key(
                "floor",
                Duration {
                    least: 0,
                    most: 10 * SECOND,
                },
                "\"250ms\"",
                "The least time that a failed login takes.",
            ),
            key(
                "invite",
                Duration {
                    least: MINUTE,
                    most: 30 * DAY,
                },
                "\"24h\"",
                "How long a set-up link works.",
            ),
            unset(
                "breached_passwords",
                One(Path),
                "\"/var/lib/portcullis/breached.txt\"",
                "A list of passwords that leaked, none of which is taken for a new one: their SHA-1 hashes in hex, one a line (`HASH` or `HASH:COUNT`), sorted by hash.",
            ),
        ],
        later: &[
            not_yet("second_factor"),
            not_yet("limits"),
            not_yet("bans"),
            not_yet("passkeys"),
            not_yet("providers"),
        ],
    },
    Section {
        name: "sockets",
        repeated: false,
        about: "WebSockets and Socket.IO.",
        keys: &[
            key(
                "idle",
                Choice(&["absolute", "session"]),
                "\"absolute\"",
                "Whether an open socket counts as use, up to the session's absolute limit (`absolute`), or only what the user sends (`session`).",
            ),
            key(
                "grace",
                Duration {
                    least: 0,
                    most: HOUR,
                },
                "\"60s\"",
                "How long a socket whose session went idle may wait for a new token. A revoked session has none.",
            ),
            key(
                "control_event",
                One(Text),
                "\"uiBuilderControl\"",
                "The Socket.IO event that carries the gateway's own messages.",
            ),
            key(
                "max_message",
                Size {
                    least: KIB,
                    most: GIB,
                },
                "\"1MiB\"",
                "The largest Engine.IO message, either way.",
            ),
            key(
                "max_frame",
                Size {
                    least: KIB,
                    most: GIB,
                },
                "\"16MiB\"",
                "The largest frame of any other WebSocket, either way.",
            ),
            key(
                "per_session",
                Count {
                    least: 0,
                    most: 10_000_000,
                },
                "256",
                "The most sockets that one login has open on one tenant; 0: any number. One more is answered with 429.",
            ),
            key(
                "per_tenant",
                Count {
                    least: 0,
                    most: 10_000_000,
                },
                "5000",
                "The most sockets that one tenant has open; 0: any number. One more is answered with 429.",
            ),
            key(
                "stall_timeout",
                timeout(),
                "\"60s\"",
                "How long a client or a tenant may leave unread what waits for it before its socket is closed.",
            ),
            key(
                "messages_per_second",
                Count {
                    least: 0,
                    most: 10_000_000,
                },
                "1000",
                "The most Socket.IO messages per second that one login sends to one tenant, by all its sockets; 0: any number. What is more is dropped.",
            ),
            key(
                "message_burst",
                Count {
                    least: 1,
                    most: 10_000_000,
                },
                "20000",
                "The most of them at once. A socket that sends as many again in vain is closed.",
            ),
            key(
                "max_polling_packets",
                Count {
                    least: 1,
                    most: 1 << 20,
                },
                "20000",
                "The most packets in one body that a client sends by Engine.IO's polling.",
            ),
            key(
                "max_polling_answer",
                Size {
                    least: 64 * KIB,
                    most: GIB,
                },
                "\"16MiB\"",
                "The largest answer of a tenant to a poll, which holds all that it has queued since the last one.",
            ),
        ],
        later: &[],
    },
    Section {
        name: "limits",
        repeated: false,
        about: "How much and how long.",
        keys: &[
            key(
                "body",
                Size {
                    least: 0,
                    most: 1 << 50,
                },
                "\"100MiB\"",
                "The largest request body; 0: any.",
            ),
            key(
                "head",
                Size {
                    least: 4 * KIB,
                    most: MIB,
                },
                "\"96KiB\"",
                "The largest request head.",
            ),
            key(
                "header",
                Size {
                    least: KIB,
                    most: MIB,
                },
                "\"8KiB\"",
                "The largest single header line.",
            ),
            key(
                "headers",
                Count {
                    least: 16,
                    most: 1000,
                },
                "100",
                "The most header lines.",
            ),
            key(
                "handshake_timeout",
                timeout(),
                "\"10s\"",
                "How long a TLS handshake may take.",
            ),
            key(
                "head_timeout",
                timeout(),
                "\"15s\"",
                "How long a request head may take to arrive.",
            ),
            key(
                "body_timeout",
                timeout(),
                "\"60s\"",
                "How long a request body may stall.",
            ),
            key(
                "connect_timeout",
                timeout(),
                "\"5s\"",
                "How long connecting to a tenant may take.",
            ),
            key(
                "response_timeout",
                timeout(),
                "\"60s\"",
                "How long a tenant may take to begin its answer.",
            ),
            key(
                "stream_timeout",
                timeout(),
                "\"60s\"",
                "How long an answer may stall; server-sent events are exempt.",
            ),
            key(
                "keep_alive",
                timeout(),
                "\"75s\"",
                "How long a connection may be idle between requests.",
            ),
            key(
                "connections",
                Count {
                    least: 1,
                    most: 10_000_000,
                },
                "10000",
                "The most client connections at once, for each worker, with open sockets among them; as many again without TLS.",
            ),
            key(
                "requests_per_address",
                Count {
                    least: 0,
                    most: 1_000_000,
                },
                "0",
                "The most requests per second from one address; 0: any number.",
            ),
            key(
                "drain",
                Duration {
                    least: 0,
                    most: HOUR,
                },
                "\"20s\"",
                "How long a gateway that was told to stop waits for work in hand.",
            ),
        ],
        later: &[
            not_yet("requests_per_tenant"),
            not_yet("requests_per_session"),
        ],
    },
    Section {
        name: "log",
        repeated: false,
        about: "What the gateway tells.",
        keys: &[
            key(
                "level",
                One(Text),
                "\"info\"",
                "What is told: `error`, `warn`, `info`, `debug`, `trace`, or by part: `info,portcullis::discovery=debug`.",
            ),
            key(
                "format",
                Choice(&["text", "json"]),
                "\"text\"",
                "For people or for machines.",
            ),
            key("access", Flag, "true", "Whether each request gets a line."),
        ],
        later: &[not_yet("audit")],
    },
    Section {
        name: "tenant",
        repeated: true,
        about: "A tenant without Docker, or settings for one with.",
        keys: &[
            unset(
                "hosts",
                List(HostPattern),
                "[\"r1.example.com\"]",
                "The hosts that it has, or that the settings are for: a name, `*.example.com` for all names below, or `*`. Needed.",
            ),
            key(
                "upstreams",
                List(Upstream),
                "[]",
                "Where it answers; empty: only settings, its containers are found by Docker.",
            ),
            unset(
                "policy",
                POLICIES,
                "\"two-factor\"",
                "What is asked at least, whatever the rules say.",
            ),
            key(
                "login_api",
                Flag,
                "false",
                "Whether its own pages may take passwords (the login API on its host).",
            ),
            key(
                "allow_origins",
                List(Origin),
                "[]",
                "Origins whose pages may call it with the user's cookies.",
            ),
            key(
                "service_workers",
                Flag,
                "true",
                "Whether it may have service workers.",
            ),
            key(
                "keep_headers",
                List(Header),
                "[]",
                "Headers of the client that are given back to it although they are stripped by default.",
            ),
            unset(
                "socketio",
                Group(&SOCKETIO),
                "{ eio3 = false, namespaces = [] }",
                "How its Socket.IO is judged: `eio3` (whether Engine.IO 3 is let through too, `false`), `namespaces` (which may be opened; empty: all), `annotate` (whether each message to uibuilder is told who sent it in `_auth`, `false`), `mode` (`session`, or `in-band`: each message of a client shows a token).",
            ),
        ],
        later: &[
            only_false("tokens"),
            not_yet("headers"),
            not_yet("timeouts"),
            not_yet("balance"),
        ],
    },
    Section {
        name: "rule",
        repeated: true,
        about: "A row of the policy table. The first that matches decides; where none does, `two-factor` is asked. An empty list matches everything.",
        keys: &[
            key(
                "hosts",
                List(HostPattern),
                "[]",
                "Hosts: a name, `*.example.com` for all names below, or `*`.",
            ),
            key(
                "paths",
                List(PathPattern),
                "[]",
                "Paths: `/admin` is that very path, `/admin/` and `/admin/*` are it and everything below.",
            ),
            key("methods", List(Method), "[]", "Methods."),
            key(
                "users",
                List(Name),
                "[]",
                "Users whom the rule lets in; together with `groups`, either is enough. Others go on to the next rule, and are refused when none is left.",
            ),
            key("groups", List(Name), "[]", "Groups whom the rule lets in."),
            key(
                "networks",
                List(Network),
                "[]",
                "The networks that the client comes from.",
            ),
            key("policy", POLICIES, "\"two-factor\"", "What is asked."),
            unset(
                "pages",
                POLICIES,
                "\"open\"",
                "What pages are asked instead, if not the same.",
            ),
            unset(
                "sockets",
                POLICIES,
                "\"two-factor\"",
                "What sockets are asked instead, if not the same.",
            ),
            unset(
                "max_age",
                Duration {
                    least: SECOND,
                    most: 366 * DAY,
                },
                "\"15m\"",
                "How long ago the factors may have been shown; older ones are asked for again.",
            ),
        ],
        later: &[only_false("tokens")],
    },
];
