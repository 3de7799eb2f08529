# A server of one's own, as docs/configuration.md describes it.
api_addr          = "https://keyward.example:8200/"
cluster_name      = "production"
log_level         = "warn"
default_lease_ttl = "1h"
max_lease_ttl     = "30d"
pid_file          = "/run/keyward/keyward.pid"

storage "sqlite" {
  path = "/var/lib/keyward"
}

listener "tcp" {
  address       = "[::]:8200"
  tls_cert_file = "/etc/keyward/tls.crt"
  tls_key_file  = "/etc/keyward/tls.key"

  max_request_size         = 1048576
  max_request_duration     = "30s"
  http_read_header_timeout = 5
}

listener "unix" {
  address     = "/run/keyward/keyward.sock"
  socket_mode = "0660"
}

audit "file" "disk" {
  description = "kept for a year"
  options {
    file_path = "/var/log/keyward/audit.log"
    mode      = 0640
  }
}

audit "stdout" "console" {}

audit "socket" "collector" {
  local = true
  options = {
    address       = "10.0.0.9:9514"
    socket_type   = "tcp"
    write_timeout = "500ms"
  }
}

audit "syslog" "system/log" {
  options { facility = "LOCAL0", tag = "secrets" }
}
