storage "memory" {}
listener "tcp" {
  address = "0.0.0.0:8200"
}
listener "tcp" {
  address = "127.0.0.1:8201"
  tls_cert_file = "/t.crt"
}
listener "tcp" {
  address = "127.0.0.1:8202"
  tls_key_file = "/t.key"
  tls_disable = false
}
