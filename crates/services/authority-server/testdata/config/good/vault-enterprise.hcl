license_path = "/etc/vault/vault.hclic"
disable_performance_standby = true
disable_sealwrap = true
cluster_name = "primary"
cache_size = 131072
raw_storage_endpoint = true
plugin_directory = "/etc/vault/plugins"
log_requests_level = "off"
experiments = ["events.alpha1"]
enable_unauthenticated_access = ["generate-root"]

reporting { license { enabled = false } }
replication { resolver_discover_servers = false }
sentinel { additional_enabled_modules = [] }

storage "raft" {
  path = "/opt/vault", node_id = "a"
  autopilot_redundancy_zone = "eu-1a"
  autopilot_upgrade_version = "1.15.2"
}
seal "awskms" {
  disabled = "true"
  region = "eu-central-1"
  kms_key_id = "alias/vault"
}
listener "tcp" {
  address = "0.0.0.0:8200"
  tls_cert_file = "/etc/vault/tls.crt"
  tls_key_file = "/etc/vault/tls.key"
  redact_version = true
  max_json_depth = 300
  profiling {
    unauthenticated_pprof_access = true
  }
  inflight_requests_logging { unauthenticated_in_flight_requests_access = true }
}
