storage "memory" {}
listener "tcp" { tls_disable = true }
audit "file" "a" {
  options {
    file_path = "relative.log"
    mode      = "0755"
    prefix    = "two words"
    format    = "jsonx"
  }
}
audit "file" "b" { options { file_path = "/var/log/a.log" } }
audit "file" "c" { options { path = "/var/log/a.log" } }
audit "socket" "d" {
  options {
    address       = "127.0.0.1"
    write_timeout = "2h"
  }
}
audit "socket" "e" { options { socket_type = "unix" address = "audit.sock" } }
audit "syslog" "f" { options { facility = "HERE" tag = "a b" } }
