address = "127.0.0.1:8200"
tls_cert_file = "/t.crt"
file_path = "/var/log/audit.log"
storage "sqlite" {
  path = "/data"
  api_addr = "https://a.example"
}
listener "tcp" {
  tls_disable = true
  cluster_name = "a"
  path = "/run/x.sock"
}
