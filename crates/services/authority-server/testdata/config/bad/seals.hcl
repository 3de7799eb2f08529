storage "memory" {}
listener "tcp" { tls_disable = true }
seal "awskms" {
  region = "eu-central-1"
  kms_key_id = "alias/vault"
}
seal "transit" { address = "https://other:8200" token = "hvs.secret" }
kms "awskms" { purpose = "seal" }
hsm "pkcs11" {}
entropy "seal" { mode = "augmentation" }
