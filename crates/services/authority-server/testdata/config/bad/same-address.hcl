storage "memory" {}
listener "tcp" { address = "127.0.0.1:8200" tls_disable = true }
listener "tcp" { tls_disable = true }
listener "unix" { address = "/run/a.sock" }
listener "unix" { address = "/run/a.sock" socket_mode = "0666" }
audit "stdout" "a" {}
audit "file" "a/" { options { file_path = "discard" } }
