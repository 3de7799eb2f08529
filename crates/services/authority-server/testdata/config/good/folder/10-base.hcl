storage "memory" {}
api_addr = "https://old.example:8200"
log_level = "info"
listener "unix" { address = "/run/keyward.sock" }
audit "stdout" "out" {}
