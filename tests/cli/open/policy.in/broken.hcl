path "secret/data/app/*" {
  capabilities = ["reed"]
}
