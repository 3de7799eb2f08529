storage "memory" {}
api_addr = "keyward.example:8200"
listener "tcp" { address = "127.0.0.1" tls_disable = true }
listener "tcp" { address = "::1:8200" tls_disable = true }
listener "tcp" { address = "vault.example:8200" tls_disable = true }
listener "tcp" { address = "{{ GetPrivateIP }}:8200" tls_disable = true }
listener "tcp" { address = "https://127.0.0.1:8200" tls_disable = true }
listener "tcp" { address = "127.0.0.1:82000" tls_disable = true }
listener "unix" {}
