ui = "perhaps"
log_level = ["info"]
max_lease_ttl = "two days"
cache_size = 1.5
api_addr { a = 1 }
telemetry = "on"
storage "sqlite" { path = ["/data"] }
listener "unix" {
  address = "/run/a.sock"
  socket_mode = "0999"
  max_request_size = true
  max_request_duration = -5
}
listener "tcp" {
  tls_disable = "yes"
  x_forwarded_for_authorized_addrs = [["10.0.0.1"]]
  telemetry = 7
}
