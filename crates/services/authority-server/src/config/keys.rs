//! The keys that do something, and the tables of all keys.

use super::schema::{Entry, Fate, Shape, Table};
use super::vault;

pub(super) const fn used(
    name: &'static str,
    shape: Shape,
    usual: &'static str,
    about: &'static str,
) -> Entry {
    Entry { name, shape, fate: Fate::Used, usual, about }
}

/// All tables, in the order of the documentation.
pub const TABLES: &[&Table] = &[
    &ROOT,
    &TCP,
    &UNIX,
    &SQLITE,
    &MEMORY,
    &FILE,
    &RAFT,
    &INMEM,
    &AUDIT,
    &AUDIT_FILE,
    &AUDIT_SOCKET,
    &AUDIT_SYSLOG,
    &AUDIT_STDOUT,
    &vault::LISTENER_TELEMETRY,
    &vault::LISTENER_PROFILING,
    &vault::LISTENER_IN_FLIGHT,
    &vault::TELEMETRY,
    &vault::USER_LOCKOUT,
];

/// The outermost keys.
pub const ROOT: Table = Table { name: "the configuration", groups: &[ROOT_KEYS, vault::ROOT] };

const ROOT_KEYS: &[Entry] = &[
    used("acme_http_port", Shape::Whole, "80", "the port that http-01 challenges lead to"),
    used(
        "acme_reachable_networks",
        Shape::Texts,
        "",
        "addresses and networks of this machine or its link (loopback, link-local) that ACME challenges may lead to",
    ),
    used("acme_tls_port", Shape::Whole, "443", "the port that tls-alpn-01 challenges lead to"),
    used(
        "api_addr",
        Shape::Text,
        "",
        "the URL clients reach this server at, such as `https://keyward.example:8200`",
    ),
    used(
        "audit",
        Shape::Labelled(2),
        "",
        "an audit device: `audit \"TYPE\" \"PATH\" { … }`; as many as you like",
    ),
    used("backend", Shape::Labelled(1), "", "the old name of `storage`"),
    used("cluster_name", Shape::Text, "keyward", "the name shown in `sys/health` and `sys/seal-status`"),
    used(
        "default_lease_ttl",
        Shape::Duration,
        "768h",
        "time to live of tokens and leases where nothing else says; not above `max_lease_ttl`",
    ),
    used(
        "default_max_request_duration",
        Shape::Duration,
        "90s",
        "`max_request_duration` of listeners that do not set it",
    ),
    used(
        "listener",
        Shape::Labelled(1),
        "",
        "where to listen: `listener \"tcp\" { … }` or `listener \"unix\" { … }`; at least one",
    ),
    used("log_level", Shape::Text, "info", "`error`, `warn`, `info`, `debug` or `trace`"),
    used(
        "max_lease_ttl",
        Shape::Duration,
        "768h",
        "longest time to live of tokens and leases where nothing else says",
    ),
    used("pid_file", Shape::Text, "", "a file that gets the server's process id"),
    used("seal", Shape::Labelled(1), "shamir", "`seal \"shamir\" {}`: key shares; other seals are refused"),
    used(
        "storage",
        Shape::Labelled(1),
        "",
        "where secrets are kept: `sqlite` or `memory`, or Vault's `file`, `raft`, `inmem`; required",
    ),
    used(
        "user_lockout",
        Shape::Labelled(1),
        "",
        "accepted only with `disable_lockout = true`: each auth mount has its own settings",
    ),
];

/// A TCP listener.
pub const TCP: Table =
    Table { name: "listener \"tcp\"", groups: &[TCP_KEYS, HTTP_KEYS, vault::TCP, vault::HTTP] };

const TCP_KEYS: &[Entry] = &[
    used(
        "address",
        Shape::Text,
        "127.0.0.1:8200",
        "IP address (or `localhost`) and port; `[::]:8200` and `:8200` listen everywhere",
    ),
    used("tls_cert_file", Shape::Text, "", "the certificate chain in PEM, leaf first; read again on SIGHUP"),
    used("tls_key_file", Shape::Text, "", "the certificate's private key in PEM; read again on SIGHUP"),
    used(
        "tls_disable",
        Shape::Flag,
        "false",
        "serve plain HTTP; warned about unless the address is a loopback one",
    ),
    used("tls_min_version", Shape::Text, "tls13", "`tls13`, or `tls12` for old clients; nothing lower"),
    used(
        "tls_max_version",
        Shape::Text,
        "tls13",
        "`tls13`; `tls12` is accepted, but TLS 1.3 is always offered",
    ),
    used(
        "tls_client_ca_file",
        Shape::Text,
        "",
        "authorities in PEM for `tls_require_and_verify_client_cert`",
    ),
    used(
        "tls_require_and_verify_client_cert",
        Shape::Flag,
        "false",
        "refuse clients without a certificate of `tls_client_ca_file`; otherwise any certificate may be shown, and TLS \
         certificate logins decide whether it counts",
    ),
    used("tls_disable_client_certs", Shape::Flag, "false", "do not ask for client certificates"),
    used(
        "x_forwarded_for_authorized_addrs",
        Shape::Texts,
        "",
        "proxies, as addresses or networks, whose `X-Forwarded-For` header says who the client is",
    ),
    used("x_forwarded_for_hop_skips", Shape::Whole, "0", "addresses to skip from the end of that header"),
    used(
        "x_forwarded_for_reject_not_authorized",
        Shape::Flag,
        "true",
        "refuse the header from others; `false` ignores it",
    ),
    used("x_forwarded_for_reject_not_present", Shape::Flag, "true", "refuse requests without the header"),
];

const HTTP_KEYS: &[Entry] = &[
    used(
        "http_read_header_timeout",
        Shape::Duration,
        "10s",
        "for a request's head to arrive; an idle connection is closed after it too",
    ),
    used(
        "max_request_duration",
        Shape::Duration,
        "90s",
        "from the first byte of a request to the last of its answer",
    ),
    used("max_request_size", Shape::Whole, "33554432", "bytes of a request's body, 1 GiB at most"),
];

/// A listener on a Unix socket.
pub const UNIX: Table =
    Table { name: "listener \"unix\"", groups: &[UNIX_KEYS, HTTP_KEYS, vault::UNIX, vault::HTTP] };

const UNIX_KEYS: &[Entry] = &[
    used("address", Shape::Text, "", "the socket's path; required"),
    used("socket_mode", Shape::Mode, "0600", "the socket's permissions"),
];

/// Our own durable storage.
pub const SQLITE: Table = Table { name: "storage \"sqlite\"", groups: &[FOLDER] };
/// Vault's file storage, kept in SQLite.
pub const FILE: Table = Table { name: "storage \"file\"", groups: &[FOLDER, vault::STORAGE] };
/// Vault's Raft storage, kept in SQLite.
pub const RAFT: Table = Table { name: "storage \"raft\"", groups: &[FOLDER, vault::RAFT, vault::STORAGE] };
/// Our own volatile storage.
pub const MEMORY: Table = Table { name: "storage \"memory\"", groups: &[] };
/// Vault's in-memory storage.
pub const INMEM: Table = Table { name: "storage \"inmem\"", groups: &[vault::STORAGE] };

const FOLDER: &[Entry] = &[used("path", Shape::Text, "", "the folder the database is kept in; required")];

/// An audit device.
pub const AUDIT: Table = Table {
    name: "audit",
    groups: &[&[
        used("description", Shape::Text, "", "the operator's words"),
        used("local", Shape::Flag, "false", "kept for clients that read it back"),
        used("options", Shape::Free, "", "by type, see below"),
    ]],
};

/// Options of every device.
const AUDIT_KEYS: &[Entry] = &[
    used(
        "elide_list_responses",
        Shape::Flag,
        "false",
        "record the number of listed keys in place of the keys",
    ),
    used("format", Shape::Text, "json", "`json`"),
    used("hmac_accessor", Shape::Flag, "true", "record accessors of tokens as keyed hashes"),
    used(
        "prefix",
        Shape::Text,
        "",
        "written before each record: one word, then perhaps a colon and a space, such as `@cee: `",
    ),
];

/// Options of a file.
pub const AUDIT_FILE: Table = Table {
    name: "options of audit \"file\"",
    groups: &[
        &[
            used("file_path", Shape::Text, "", "the file, `stdout`, or `discard`; required"),
            used("path", Shape::Text, "", "the old name of `file_path`"),
            used("mode", Shape::Mode, "0600", "the file's permissions; `0000` leaves them alone"),
        ],
        AUDIT_KEYS,
        vault::AUDIT,
    ],
};

/// Options of a socket.
pub const AUDIT_SOCKET: Table = Table {
    name: "options of audit \"socket\"",
    groups: &[
        &[
            used("address", Shape::Text, "", "address and port, or the path of a Unix socket; required"),
            used("socket_type", Shape::Text, "tcp", "`tcp`, `udp` or `unix`"),
            used("write_timeout", Shape::Duration, "2s", "for one record to be taken"),
        ],
        AUDIT_KEYS,
        vault::AUDIT,
    ],
};

/// Options of the system's log.
pub const AUDIT_SYSLOG: Table = Table {
    name: "options of audit \"syslog\"",
    groups: &[
        &[
            used("facility", Shape::Text, "AUTH", "the facility (RFC 5424, section 6.2.1)"),
            used("tag", Shape::Text, "vault", "the program's name in each message"),
        ],
        AUDIT_KEYS,
        vault::AUDIT,
    ],
};

/// Options of standard output.
pub const AUDIT_STDOUT: Table =
    Table { name: "options of audit \"stdout\"", groups: &[AUDIT_KEYS, vault::AUDIT] };
