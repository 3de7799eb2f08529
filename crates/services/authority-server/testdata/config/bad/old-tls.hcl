storage "memory" {}
listener "tcp" {
  tls_cert_file = "/t.crt"
  tls_key_file = "/t.key"
  tls_min_version = "tls10"
}
listener "tcp" {
  address = "127.0.0.1:8201"
  tls_cert_file = "/t.crt"
  tls_key_file = "/t.key"
  tls_min_version = "1.3"
  tls_max_version = "tls11"
}
