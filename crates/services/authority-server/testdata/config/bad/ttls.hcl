storage "memory" {}
listener "tcp" {
  tls_disable = true
  http_read_header_timeout = 0
  max_request_size = -1
  max_request_duration = "soon"
}
listener "tcp" {
  address = "127.0.0.1:8201"
  tls_disable = true
  max_request_size = 9999999999
}
default_lease_ttl = "721h"
max_lease_ttl = "720h"
log_level = "loud"
