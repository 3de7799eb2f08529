storage "memory" {}
listener "tcp" { tls_disable = true }
api_adr = "https://a.example"
