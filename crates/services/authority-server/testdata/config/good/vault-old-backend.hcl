// The way it was written when the block was still called backend.
backend "file" {
  path = "/var/lib/vault"
}

listener "tcp" {
  address = "0.0.0.0:8200"
  tls_disable = 1
}

max_lease_ttl = "720h"
default_lease_ttl = "168h"
disable_mlock = false
