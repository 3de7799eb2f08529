storage "memory" {}
listener "tcp" {
  tls_disable = true
  proxy_protocol_behavior = "use_always"
  chroot_namespace = "team-a/"
  require_request_header = true
  role = "metrics_only"
  telemetry { metrics_only = true }
}
listener "unix" {
  address = "/run/a.sock"
  socket_user = "vault"
  socket_group = "apps"
}
user_lockout "userpass" { lockout_threshold = 3 }
unsafe_allow_api_audit_creation = false
initialize "identity" {
  request "mount" { operation = "update" path = "sys/mounts/kv" }
}
plugin "secret" "aws" { version = "v1" }
