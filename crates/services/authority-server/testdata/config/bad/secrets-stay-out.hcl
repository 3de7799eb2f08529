storage "memory" {}
listener "tcp" { tls_disable = "hunter2" }
telemetry { circonus_api_token = ["hunter2"] }
cache_size = "hunter2"
log_level = "hunter2"
