storge "memory" {}
listner "tcp" { tls_disable = true }
storage "memory" {}
listener "tcp" {
  adress = "127.0.0.1:8200"
  tlsDisable = true
  tls_disable = true
  banana = 1
}
log-level = "info"
default_lease_tll = "1h"
