storage "memory" {}
listener "tcp" {
  tls_disable = true
  x_forwarded_for_authorized_addrs = ["10.0.0.0/33", "proxy.example", "10.0.0.1"]
  x_forwarded_for_hop_skips = -1
  x_forwarded_for_reject_not_present = "sometimes"
}
