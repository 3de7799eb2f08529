module keyward/acl-oracle

go 1.24

require (
	github.com/hashicorp/vault v1.14.0
	github.com/hashicorp/vault/sdk v0.9.2-0.20230530190758-08ee474850e0
)
