/* a throw-away server
   for tests */
listener tcp { address = ":8200" tls_disable = true }   # everywhere
"storage" "inmem" {}
disable_cache = false
raw_storage_endpoint = false
"disable_clustering" = true
API_ADDR = <<-EOT
  http://127.0.0.1:8200
  EOT
