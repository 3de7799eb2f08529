storage "memory" {}
listener "tcp" {
  tls_cert_file = "/t.crt"
  tls_key_file = "/t.key"
  tls_require_and_verify_client_cert = true
}
listener "tcp" {
  address = "127.0.0.1:8201"
  tls_disable = true
  tls_require_and_verify_client_cert = true
  tls_client_ca_file = "/ca.crt"
}
listener "tcp" {
  address = "127.0.0.1:8202"
  tls_cert_file = "/t.crt"
  tls_key_file = "/t.key"
  tls_client_ca_file = "/ca.crt"
  tls_require_and_verify_client_cert = true
  tls_disable_client_certs = true
}
listener "unix" {
  address = "/run/a.sock"
  tls_require_and_verify_client_cert = true
}
