storage "memory" {}
listener "tcp" { tls_disable = true }
audit "file" "a" {}
audit "file" "b" { options { file_path = "/a.log" log_raw = true prefix = "x" format = "jsonx" } }
audit "socket" "c" { options { socket_type = "sctp" adress = "127.0.0.1:1" } }
audit "http" "d" { options { uri = "https://a" } }
audit "file" {}
audit "file" "../x" { options { file_path = "/a.log" } }
audit "syslog" "e" { options { facility = ["AUTH"] } filter = "x" }
audit "stdout" "f" { options = "none" }
