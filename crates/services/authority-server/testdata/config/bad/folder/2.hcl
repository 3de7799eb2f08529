listener "tcp" {
