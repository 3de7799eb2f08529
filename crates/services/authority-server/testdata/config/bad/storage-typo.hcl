storage "sqlit" { path = "/data" }
listener "tpc" { tls_disable = true }
audit "fiel" "a" {}
seal "shamri" {}
