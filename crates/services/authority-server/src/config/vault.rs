//! Keys of Vault's and OpenBao's configuration that do nothing here, and those that cannot be honoured.
//!
//! A key is refused when ignoring it would weaken what the operator asked for; otherwise it is accepted, with
//! a warning that it has no effect.

use super::keys::used;
use super::schema::{Entry, Fate, Shape, Table};

const fn idle(name: &'static str, shape: Shape, usual: &'static str, about: &'static str) -> Entry {
    Entry { name, shape, fate: Fate::Idle, usual, about }
}

const fn absent(
    name: &'static str,
    shape: Shape,
    usual: &'static str,
    about: &'static str,
    remedy: &'static str,
) -> Entry {
    Entry { name, shape, fate: Fate::Absent(remedy), usual, about }
}

/// A key of a block that has no effect as a whole, which is said once.
const fn inert(name: &'static str, shape: Shape, usual: &'static str) -> Entry {
    Entry { name, shape, fate: Fate::Inert, usual, about: "see the block" }
}

const ALONE: &str = "this server serves alone";
const NO_PLUGINS: &str = "engines and logins are built in, there are no plugins";
const NO_TRACES: &str = "it serves to debug Vault itself";
const NO_NAMESPACES: &str = "there are no namespaces";
const TO_STDERR: &str = "the log goes to standard error, one line an event";
const NO_METRICS: &str = "metrics are not served";
const OWN_LIMITS: &str = "bodies are bounded by max_request_size and by limits of our own";
const NO_CORS: &str = "cross-origin requests are not allowed";
const NO_ACME: &str = "certificates come from tls_cert_file";
const NO_REDACTION: &str = "sys/health, sys/leader and sys/seal-status say it to everyone";
const NO_CERT_LOGIN: &str = "there is no login by certificate";
const NO_ENTERPRISE: &str = "it belongs to Vault Enterprise";

/// The outermost foreign keys.
pub(super) const ROOT: &[Entry] = &[
    idle("adaptive_overload_protection", Shape::Free, "", NO_ENTERPRISE),
    idle("administrative_namespace_path", Shape::Text, "", NO_NAMESPACES),
    idle("allow_audit_log_prefixing", Shape::Flag, "false", "prefixes of one short word are always allowed"),
    idle("allow_unauthenticated_workflows", Shape::Flag, "false", "there are no workflows"),
    idle("cache_size", Shape::Whole, "", "caches are sized by the server"),
    idle("cluster_addr", Shape::Text, "", ALONE),
    idle("cluster_cipher_suites", Shape::Text, "", ALONE),
    idle("detect_deadlocks", Shape::Texts, "", NO_TRACES),
    idle("disable_cache", Shape::Flag, "false", "caches cannot be turned off"),
    idle("disable_clustering", Shape::Flag, "true", ALONE),
    idle("disable_indexing", Shape::Flag, "true", NO_ENTERPRISE),
    idle("disable_mlock", Shape::Flag, "true", "memory is not locked: encrypt swap, or do without"),
    idle("disable_performance_standby", Shape::Flag, "true", ALONE),
    idle("disable_printable_check", Shape::Flag, "false", "paths with control characters are always refused"),
    idle("disable_sealwrap", Shape::Flag, "true", "values are encrypted once, by the barrier"),
    idle("disable_sentinel_trace", Shape::Flag, "true", NO_ENTERPRISE),
    idle("disable_ssct_tokens", Shape::Flag, "true", ALONE),
    idle("disable_standby_reads", Shape::Flag, "true", ALONE),
    idle("enable_multiseal", Shape::Flag, "false", "there is one seal"),
    idle("enable_post_unseal_trace", Shape::Flag, "false", NO_TRACES),
    idle("enable_raw_endpoint", Shape::Flag, "false", "sys/raw is not served"),
    idle("enable_response_header_hostname", Shape::Flag, "false", "answers do not name the host"),
    idle("enable_response_header_raft_node_id", Shape::Flag, "false", ALONE),
    idle(
        "enable_unauthenticated_access",
        Shape::Texts,
        "",
        "generate-root and rekey are not served without a token",
    ),
    absent(
        "entropy",
        Shape::Free,
        "",
        "randomness comes from the operating system alone",
        "remove it, or feed the device into the kernel's generator",
    ),
    idle("experiments", Shape::Texts, "", "there are none"),
    idle("feature_flags", Shape::Free, "", "there are none"),
    idle("ha_backend", Shape::Free, "", ALONE),
    idle("ha_storage", Shape::Free, "", ALONE),
    absent(
        "hsm",
        Shape::Free,
        "",
        "there is no seal but key shares",
        "remove it, and unseal with key shares",
    ),
    idle("imprecise_lease_role_tracking", Shape::Flag, "false", "there are no quotas"),
    absent(
        "initialize",
        Shape::Free,
        "",
        "the server does not initialise itself",
        "remove it, run `keyward operator init`, and make its requests with the root token",
    ),
    idle("introspection_endpoint", Shape::Flag, "false", "sys/internal/inspect is not served"),
    absent(
        "kms",
        Shape::Free,
        "",
        "there is no seal but key shares",
        "remove it, and unseal with key shares",
    ),
    idle("license_path", Shape::Text, "", NO_ENTERPRISE),
    idle("log_file", Shape::Text, "", TO_STDERR),
    idle("log_format", Shape::Text, "standard", TO_STDERR),
    idle("log_requests_level", Shape::Text, "", "requests are recorded by audit devices"),
    idle("log_rotate_bytes", Shape::Whole, "", TO_STDERR),
    idle("log_rotate_duration", Shape::Text, "", TO_STDERR),
    idle("log_rotate_max_files", Shape::Whole, "", TO_STDERR),
    absent(
        "plugin",
        Shape::Free,
        "",
        NO_PLUGINS,
        "remove it if the engine is one of ours; keep it where it is otherwise",
    ),
    idle("plugin_auto_download", Shape::Flag, "false", NO_PLUGINS),
    idle("plugin_auto_register", Shape::Flag, "false", NO_PLUGINS),
    idle("plugin_directory", Shape::Text, "", NO_PLUGINS),
    idle("plugin_download_behavior", Shape::Text, "", NO_PLUGINS),
    idle("plugin_file_permissions", Shape::Text, "", NO_PLUGINS),
    idle("plugin_file_uid", Shape::Whole, "", NO_PLUGINS),
    idle("plugin_oci_auth", Shape::Free, "", NO_PLUGINS),
    idle("plugin_tmpdir", Shape::Text, "", NO_PLUGINS),
    absent(
        "plugins",
        Shape::Free,
        "",
        NO_PLUGINS,
        "remove it if the engines are ours; keep them where they are otherwise",
    ),
    idle("post_unseal_trace_directory", Shape::Text, "", NO_TRACES),
    idle("raw_storage_endpoint", Shape::Flag, "false", "sys/raw is not served"),
    idle("remove_irrevocable_lease_after", Shape::Duration, "", "leases that cannot be revoked are kept"),
    idle("replication", Shape::Free, "", ALONE),
    idle("reporting", Shape::Free, "", "nothing is reported to anyone"),
    idle("request_limiter", Shape::Free, "", NO_ENTERPRISE),
    idle("sentinel", Shape::Free, "", NO_ENTERPRISE),
    idle(
        "service_registration",
        Shape::Free,
        "",
        "the server registers itself nowhere: let probes ask /v1/sys/health",
    ),
    idle("telemetry", Shape::Block(&TELEMETRY), "", NO_METRICS),
    idle("ui", Shape::Flag, "false", "there is no web interface"),
    absent(
        "unsafe_allow_api_audit_creation",
        Shape::Flag,
        "true",
        "tokens with sudo on sys/audit may add audit devices",
        "remove it, and grant sys/audit to nobody",
    ),
    idle("unsafe_cross_namespace_identity", Shape::Flag, "false", NO_NAMESPACES),
];

/// Foreign keys of TCP listeners.
pub(super) const TCP: &[Entry] = &[
    idle("cluster_address", Shape::Text, "", ALONE),
    idle("proxy_protocol_authorized_addrs", Shape::Texts, "", "the PROXY protocol is not spoken"),
    absent(
        "proxy_protocol_behavior",
        Shape::Text,
        "",
        "the PROXY protocol is not spoken",
        "remove it and let the proxy send X-Forwarded-For, with x_forwarded_for_authorized_addrs here",
    ),
    idle("tls_acme_ca_directory", Shape::Text, "", NO_ACME),
    idle("tls_acme_ca_root", Shape::Text, "", NO_ACME),
    idle("tls_acme_cache_path", Shape::Text, "", NO_ACME),
    idle("tls_acme_disable_alpn_challenge", Shape::Flag, "true", NO_ACME),
    idle("tls_acme_disable_http_challenge", Shape::Flag, "true", NO_ACME),
    idle("tls_acme_domains", Shape::Texts, "", NO_ACME),
    idle("tls_acme_eab_key_id", Shape::Text, "", NO_ACME),
    idle("tls_acme_eab_mac_key", Shape::Text, "", NO_ACME),
    idle("tls_acme_email", Shape::Text, "", NO_ACME),
    idle("tls_acme_key_type", Shape::Text, "", NO_ACME),
    idle("tls_acme_test_ca_directory", Shape::Text, "", NO_ACME),
    idle(
        "tls_cipher_suites",
        Shape::Texts,
        "",
        "only suites with forward secrecy and authenticated encryption are offered",
    ),
    idle("tls_prefer_server_cipher_suites", Shape::Flag, "true", "the server's order is always preferred"),
    idle("x_forwarded_for_client_cert_decoders", Shape::Texts, "", NO_CERT_LOGIN),
    idle("x_forwarded_for_client_cert_header", Shape::Text, "", NO_CERT_LOGIN),
    idle("x_forwarded_for_client_cert_header_decoders", Shape::Texts, "", NO_CERT_LOGIN),
    idle("x_forwarded_for_client_cert_keep_not_forwarded", Shape::Flag, "false", NO_CERT_LOGIN),
    idle("x_forwarded_for_client_cert_keep_unauthorized", Shape::Flag, "false", NO_CERT_LOGIN),
];

/// Foreign keys of listeners on Unix sockets.
pub(super) const UNIX: &[Entry] = &[
    absent(
        "socket_group",
        Shape::Text,
        "",
        "the socket belongs to the group the server runs in",
        "remove it, and run the server in that group",
    ),
    absent(
        "socket_user",
        Shape::Text,
        "",
        "the socket belongs to the user the server runs as",
        "remove it, and run the server as that user",
    ),
    idle("tls_cert_file", Shape::Text, "", "a Unix socket carries no TLS"),
    idle("tls_disable", Shape::Flag, "true", "a Unix socket carries no TLS"),
    idle("tls_key_file", Shape::Text, "", "a Unix socket carries no TLS"),
    absent(
        "tls_require_and_verify_client_cert",
        Shape::Flag,
        "false",
        "a Unix socket carries no TLS",
        "remove it, and let socket_mode say who may connect",
    ),
];

/// Foreign keys of every listener.
pub(super) const HTTP: &[Entry] = &[
    idle("agent_api", Shape::Free, "", "it belongs to an agent's listener"),
    absent(
        "chroot_namespace",
        Shape::Text,
        "",
        NO_NAMESPACES,
        "remove it, and confine this listener's clients by their policies",
    ),
    idle("cors_allowed_headers", Shape::Texts, "", NO_CORS),
    idle("cors_allowed_origins", Shape::Texts, "", NO_CORS),
    idle("cors_enabled", Shape::Flag, "false", NO_CORS),
    idle("custom_response_headers", Shape::Free, "", "answers carry the headers of the API and no others"),
    idle("disable_replication_status_endpoints", Shape::Flag, "true", ALONE),
    idle("disable_request_limiter", Shape::Flag, "true", NO_ENTERPRISE),
    idle("disable_unauthed_rekey_endpoints", Shape::Flag, "true", "sys/rekey is not served without a token"),
    idle(
        "http_idle_timeout",
        Shape::Duration,
        "",
        "an idle connection is closed after http_read_header_timeout",
    ),
    idle("http_read_timeout", Shape::Duration, "", "max_request_duration bounds the whole request"),
    idle("http_write_timeout", Shape::Duration, "0", "max_request_duration bounds the whole request"),
    idle(
        "inflight_requests_logging",
        Shape::Block(&LISTENER_IN_FLIGHT),
        "",
        "sys/in-flight-req is not served",
    ),
    idle("max_json_array_element_count", Shape::Whole, "", OWN_LIMITS),
    idle("max_json_depth", Shape::Whole, "", OWN_LIMITS),
    idle("max_json_object_entry_count", Shape::Whole, "", OWN_LIMITS),
    idle("max_json_string_value_length", Shape::Whole, "", OWN_LIMITS),
    idle("max_json_token", Shape::Whole, "", OWN_LIMITS),
    idle("max_request_json_memory", Shape::Whole, "", OWN_LIMITS),
    idle("max_request_json_strings", Shape::Whole, "", OWN_LIMITS),
    idle("max_token_header_size", Shape::Whole, "", "a request's head has 64 KiB at most"),
    idle("profiling", Shape::Block(&LISTENER_PROFILING), "", "sys/pprof is not served"),
    idle("proxy_api", Shape::Free, "", "it belongs to a proxy's listener"),
    idle("purpose", Shape::Texts, "", "it belongs to an agent's listener"),
    idle("redact_addresses", Shape::Flag, "false", NO_REDACTION),
    idle("redact_cluster_name", Shape::Flag, "false", NO_REDACTION),
    idle("redact_version", Shape::Flag, "false", NO_REDACTION),
    absent(
        "require_request_header",
        Shape::Flag,
        "false",
        "requests without X-Vault-Request are served",
        "remove it, or let a proxy demand the header",
    ),
    absent(
        "role",
        Shape::Text,
        "default",
        "every listener serves the whole API",
        "remove the listener; metrics are not served",
    ),
    used("telemetry", Shape::Block(&LISTENER_TELEMETRY), "", "see below"),
];

/// `telemetry` of a listener.
pub(super) const LISTENER_TELEMETRY: Table = Table {
    name: "telemetry of a listener",
    groups: &[&[
        idle("disallow_metrics", Shape::Flag, "true", NO_METRICS),
        absent(
            "metrics_only",
            Shape::Flag,
            "false",
            "every listener serves the whole API",
            "remove the listener; metrics are not served",
        ),
        idle("metrics_path", Shape::Text, "", NO_METRICS),
        idle("unauthenticated_metrics_access", Shape::Flag, "false", NO_METRICS),
    ]],
};

/// `profiling` of a listener.
pub(super) const LISTENER_PROFILING: Table = Table {
    name: "profiling of a listener",
    groups: &[&[
        inert("unauthenticated_in_flight_request_access", Shape::Flag, "false"),
        inert("unauthenticated_pprof_access", Shape::Flag, "false"),
    ]],
};

/// `inflight_requests_logging` of a listener.
pub(super) const LISTENER_IN_FLIGHT: Table = Table {
    name: "inflight_requests_logging of a listener",
    groups: &[&[inert("unauthenticated_in_flight_requests_access", Shape::Flag, "false")]],
};

/// Foreign keys of every storage.
pub(super) const STORAGE: &[Entry] = &[
    idle("advertise_addr", Shape::Text, "", "set api_addr outside the block"),
    idle("cluster_addr", Shape::Text, "", ALONE),
    idle("disable_clustering", Shape::Flag, "true", ALONE),
    idle("redirect_addr", Shape::Text, "", "set api_addr outside the block"),
];

const NO_RAFT: &str = "the database is SQLite in this folder, without replication";

/// Foreign keys of the Raft storage.
pub(super) const RAFT: &[Entry] = &[
    idle("autopilot_reconcile_interval", Shape::Duration, "", NO_RAFT),
    idle("autopilot_redundancy_zone", Shape::Text, "", NO_RAFT),
    idle("autopilot_update_interval", Shape::Duration, "", NO_RAFT),
    idle("autopilot_upgrade_version", Shape::Text, "", NO_RAFT),
    idle("max_entry_size", Shape::Whole, "", NO_RAFT),
    idle("max_mount_and_namespace_table_entry_size", Shape::Whole, "", NO_RAFT),
    idle("max_transaction_size", Shape::Whole, "", NO_RAFT),
    idle("node_id", Shape::Text, "", NO_RAFT),
    idle("performance_multiplier", Shape::Whole, "", NO_RAFT),
    idle("raft_wal", Shape::Flag, "false", NO_RAFT),
    idle("raft_log_verifier_enabled", Shape::Flag, "false", NO_RAFT),
    idle("raft_log_verification_interval", Shape::Duration, "", NO_RAFT),
    idle(
        "retry_join",
        Shape::Free,
        "",
        "no cluster is joined: start one server only, or each has secrets of its own",
    ),
    idle("retry_join_as_non_voter", Shape::Flag, "false", NO_RAFT),
    idle("snapshot_interval", Shape::Duration, "", NO_RAFT),
    idle("snapshot_threshold", Shape::Whole, "", NO_RAFT),
    idle("trailing_logs", Shape::Whole, "", NO_RAFT),
];

/// Foreign options of every audit device.
pub(super) const AUDIT: &[Entry] = &[
    absent("exclude", Shape::Text, "", "records are whole", "remove it"),
    absent("fallback", Shape::Flag, "false", "every device gets every record", "remove it"),
    absent("filter", Shape::Text, "", "every device gets every record", "remove it"),
    absent("log_raw", Shape::Flag, "false", "records never hold secrets", "remove it"),
    idle(
        "skip_test",
        Shape::Flag,
        "true",
        "a device is opened when the server starts, without a test record",
    ),
];

/// Metrics; none of it has an effect.
pub(super) const TELEMETRY: Table = Table {
    name: "telemetry",
    groups: &[&[
        inert("add_lease_metrics_namespace_labels", Shape::Flag, "false"),
        inert("add_mount_point_rollback_metrics", Shape::Flag, "false"),
        inert("circonus_api_app", Shape::Text, ""),
        inert("circonus_api_token", Shape::Text, ""),
        inert("circonus_api_url", Shape::Text, ""),
        inert("circonus_broker_id", Shape::Text, ""),
        inert("circonus_broker_select_tag", Shape::Text, ""),
        inert("circonus_check_display_name", Shape::Text, ""),
        inert("circonus_check_force_metric_activation", Shape::Text, ""),
        inert("circonus_check_id", Shape::Text, ""),
        inert("circonus_check_instance_id", Shape::Text, ""),
        inert("circonus_check_search_tag", Shape::Text, ""),
        inert("circonus_check_tags", Shape::Text, ""),
        inert("circonus_submission_interval", Shape::Text, ""),
        inert("circonus_submission_url", Shape::Text, ""),
        inert("disable_hostname", Shape::Flag, "false"),
        inert("dogstatsd_addr", Shape::Text, ""),
        inert("dogstatsd_tags", Shape::Texts, ""),
        inert("enable_hostname_label", Shape::Flag, "false"),
        inert("filter_default", Shape::Flag, "true"),
        inert("lease_metrics_epsilon", Shape::Text, ""),
        inert("maximum_gauge_cardinality", Shape::Whole, ""),
        inert("metrics_prefix", Shape::Text, ""),
        inert("num_lease_metrics_buckets", Shape::Whole, ""),
        inert("prefix_filter", Shape::Texts, ""),
        inert("prometheus_retention_time", Shape::Duration, ""),
        inert("stackdriver_debug_logs", Shape::Flag, "false"),
        inert("stackdriver_location", Shape::Text, ""),
        inert("stackdriver_namespace", Shape::Text, ""),
        inert("stackdriver_project_id", Shape::Text, ""),
        inert("statsd_address", Shape::Text, ""),
        inert("statsite_address", Shape::Text, ""),
        inert("usage_gauge_period", Shape::Text, ""),
    ]],
};

/// Locking users after failed logins, which is refused unless it is turned off.
pub(super) const USER_LOCKOUT: Table = Table {
    name: "user_lockout",
    groups: &[&[
        used("disable_lockout", Shape::Flag, "false", "`true`: the configuration says nothing of it"),
        inert("lockout_counter_reset", Shape::Duration, ""),
        inert("lockout_duration", Shape::Duration, ""),
        inert("lockout_threshold", Shape::Whole, ""),
    ]],
};

/// Storages of Vault that are not available.
pub(super) const STORAGES: &[&str] = &[
    "aerospike",
    "alicloudoss",
    "azure",
    "cassandra",
    "cockroachdb",
    "consul",
    "couchdb",
    "couchdb_transactional",
    "dynamodb",
    "etcd",
    "foundationdb",
    "gcs",
    "manta",
    "mssql",
    "mysql",
    "oci",
    "pebbledb",
    "postgresql",
    "s3",
    "spanner",
    "swift",
    "ydb",
    "zookeeper",
];

/// Seals of Vault that are not available.
pub(super) const SEALS: &[&str] = &[
    "aead",
    "alicloudkms",
    "awskms",
    "azurekeyvault",
    "gcpckms",
    "kmip",
    "ocikms",
    "okms",
    "ovhcloudkms",
    "pkcs11",
    "static",
    "tcloudpublickms",
    "transit",
];
