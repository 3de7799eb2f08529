ui = false
api_addr = "https://bao-0.example:8200"
cluster_addr = "https://bao-0.example:8201"

storage "raft" {
  path = "/openbao/data"
  node_id = "bao-0"
  max_entry_size = 1048576
  max_transaction_size = 8388608
  retry_join_as_non_voter = false
}

listener "tcp" {
  address = "0.0.0.0:8200"
  tls_cert_file = "/openbao/tls/tls.crt"
  tls_key_file = "/openbao/tls/tls.key"
  tls_acme_ca_directory = ""
  disable_unauthed_rekey_endpoints = true
  max_request_json_memory = 34078720
  max_request_json_strings = 1000
  telemetry {
    unauthenticated_metrics_access = false
    disallow_metrics = true
  }
}

audit "file" "to-stdout" {
  description = "Everything to the container's log."
  options {
    file_path = "stdout"
    log_raw = "false"
    elide_list_responses = true
  }
}

user_lockout "all" {
  disable_lockout = "true"
}

unsafe_allow_api_audit_creation = true
