storage "raft" {
  node_id = "a"
  pathh = "/data"
}
listener "tcp" { tls_disable = true }
