log_level = ""
default_max_request_duration = "10s"
audit "file" "disk" { options { file_path = "/var/log/a.log" } }
