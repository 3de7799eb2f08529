storage "raft" { path = "/opt/vault/data" }

listener "tcp" {
  address         = "10.20.30.40:8200"
  tls_cert_file   = "/opt/vault/tls/server.pem"
  tls_key_file    = "/opt/vault/tls/server-key.pem"
  tls_client_ca_file = "/opt/vault/tls/clients.pem"
  tls_require_and_verify_client_cert = "true"
  tls_min_version = "tls12"
  tls_max_version = "tls12"
  tls_cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
  tls_prefer_server_cipher_suites = true
}

listener "tcp" {
  address                  = "127.0.0.1:8202"
  tls_cert_file            = "/opt/vault/tls/server.pem"
  tls_key_file             = "/opt/vault/tls/server-key.pem"
  tls_client_ca_file       = "/opt/vault/tls/clients.pem"
  tls_disable_client_certs = "true"
}

seal "shamir" {}
log_level = "Debug"
log_format = "json"
