api_addr = "https://vault.internal"
storage "file" { path = "/srv/vault", }
listener "tcp" {
  address = "10.0.0.5:8200"
  tls_cert_file = "/etc/vault/tls.crt", tls_key_file = "/etc/vault/tls.key"
  x_forwarded_for_authorized_addrs = "10.0.0.0/24, 192.168.1.1"
  x_forwarded_for_hop_skips = "1"
  x_forwarded_for_reject_not_authorized = "true"
  x_forwarded_for_reject_not_present = "false"
  custom_response_headers {
    "default" = { "X-Frame-Options" = ["DENY"] },
    "2xx" = { "X-Custom" = ["a", "b"] }
  }
  max_request_size = 33554432
  max_request_duration = 0
}
