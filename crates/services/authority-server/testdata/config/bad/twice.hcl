api_addr = "https://a.example"
storage "memory" {}
storage "sqlite" { path = "/data" }
api_addr = "https://b.example"
listener "tcp" {
  tls_disable = true
  TLS_disable = true
}
telemetry {}
telemetry {}
