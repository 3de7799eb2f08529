package vaultapi

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

const rulesOfAnalysts = `
path "database/creds/*" { capabilities = ["read"] }
path "pki/issue/web" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
`

// code is what an application shows now for what it read from this address (RFC 6238).
func code(t *testing.T, address string) string {
	t.Helper()
	read, err := url.Parse(address)
	check(t, err)
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(read.Query().Get("secret"))
	check(t, err)
	mac := hmac.New(sha1.New, key)
	check(t, binary.Write(mac, binary.BigEndian, uint64(time.Now().Unix()/30)))
	digest := mac.Sum(nil)
	at := digest[len(digest)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(digest[at:])&0x7fffffff%1_000_000)
}

func write(t *testing.T, client *api.Client, path string, data object) *api.Secret {
	t.Helper()
	secret, err := client.Logical().Write(path, data)
	check(t, err)
	return secret
}

// analyst is ann, who is in a group and has a second factor.
func analyst(t *testing.T, client *api.Client) (string, *api.Client) {
	t.Helper()
	check(t, client.Sys().EnableAuthWithOptions("people", &api.EnableAuthOptions{Type: "userpass"}))
	methods, err := client.Sys().ListAuth()
	check(t, err)
	accessor := methods["people/"].Accessor
	write(t, client, "auth/people/users/ann", object{"password": "a good password"})
	ann := write(t, client, "identity/entity", object{"name": "ann"}).Data["id"].(string)
	write(t, client, "identity/entity-alias",
		object{"name": "ann", "canonical_id": ann, "mount_accessor": accessor})
	check(t, client.Sys().PutPolicy("analysts", rulesOfAnalysts))
	write(t, client, "identity/group",
		object{"name": "analysts", "policies": "analysts", "member_entity_ids": ann})
	method := write(t, client, "identity/mfa/method/totp", object{"issuer": "Keyward"}).Data["method_id"].(string)
	write(t, client, "identity/mfa/login-enforcement/people",
		object{"mfa_method_ids": []string{method}, "auth_method_accessors": []string{accessor}})
	made := write(t, client, "identity/mfa/method/totp/admin-generate",
		object{"method_id": method, "entity_id": ann})
	login := write(t, as(t, client, ""), "auth/people/login/ann", object{"password": "a good password"})
	equal(t, login.Auth.ClientToken, "")
	request := login.Auth.MFARequirement.MFARequestID
	_, err = as(t, client, "").Sys().MFAValidate(request, object{method: []string{"000000"}})
	if err == nil {
		t.Fatal("a guessed code let somebody in")
	}
	shown := object{method: []string{code(t, made.Data["url"].(string))}}
	validated, err := as(t, client, "").Sys().MFAValidate(request, shown)
	check(t, err)
	equal(t, validated.Auth.EntityID, ann)
	equal(t, fmt.Sprint(validated.Auth.IdentityPolicies), "[analysts]")
	return ann, as(t, client, validated.Auth.ClientToken)
}

func TestDay(t *testing.T) {
	address := os.Getenv("TEST_POSTGRES")
	if address == "" {
		t.Skip("there is no PostgreSQL")
	}
	client := root(t)
	for _, engine := range []string{"database", "pki"} {
		check(t, client.Sys().Mount(engine, &api.MountInput{Type: engine}))
	}
	write(t, client, "database/config/main", object{
		"plugin_name": "postgresql-database-plugin", "connection_url": address, "allowed_roles": "*",
		"username": "postgres", "password": os.Getenv("TEST_POSTGRES_PASSWORD"),
	})
	creation := `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`
	for name, ttl := range map[string]string{"reports": "1h", "short": "6s"} {
		write(t, client, "database/roles/"+name, object{
			"db_name": "main", "creation_statements": creation, "default_ttl": ttl, "max_ttl": "24h",
		})
	}
	write(t, client, "pki/root/generate/internal", object{"common_name": "Example CA"})
	write(t, client, "pki/roles/web", object{"allowed_domains": "example.com", "allow_subdomains": true, "ttl": "72h"})
	entity, ann := analyst(t, client)

	issued := write(t, ann, "pki/issue/web", object{"common_name": "www.example.com"})
	if !strings.HasPrefix(issued.Data["certificate"].(string), "-----BEGIN CERTIFICATE-----") {
		t.Fatal(issued.Data)
	}
	_, err := ann.Logical().Write("pki/issue/web", object{"common_name": "example.org"})
	refused(t, err, 400, "not allowed")
	write(t, client, "pki/revoke", object{"serial_number": issued.Data["serial_number"]})

	watched(t, ann)
	made, err := ann.Logical().Read("database/creds/reports")
	check(t, err)
	equal(t, made.LeaseDuration, 3600)
	renewed, err := ann.Sys().Renew(made.LeaseID, 7200)
	check(t, err)
	equal(t, renewed.LeaseDuration, 7200)
	refused(t, ann.Sys().Revoke(made.LeaseID), 403, "permission denied")
	found, err := client.Sys().Lookup(made.LeaseID)
	check(t, err)
	equal(t, found.Data["id"].(string), made.LeaseID)
	check(t, client.Sys().Revoke(made.LeaseID))
	_, err = client.Sys().Lookup(made.LeaseID)
	refused(t, err, 400, "invalid lease")
	check(t, client.Sys().RevokePrefix("database/creds"))
	left, err := client.Logical().List("sys/leases/lookup/database/creds")
	check(t, err)
	if left != nil {
		t.Fatal(left.Data)
	}
	_, err = client.Logical().JSONMergePatch(background, "identity/entity/id/"+entity, object{"disabled": true})
	check(t, err)
	_, err = ann.Logical().Read("database/creds/reports")
	refused(t, err, 403, "permission denied")
}

// watched is a lease that the client's own watcher keeps alive.
func watched(t *testing.T, ann *api.Client) {
	t.Helper()
	made, err := ann.Logical().Read("database/creds/short")
	check(t, err)
	equal(t, made.LeaseDuration, 6)
	watcher, err := ann.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: made, Increment: 3600})
	check(t, err)
	go watcher.Start()
	defer watcher.Stop()
	select {
	case renewal := <-watcher.RenewCh():
		equal(t, renewal.Secret.LeaseID, made.LeaseID)
		equal(t, renewal.Secret.LeaseDuration, 3600)
	case err := <-watcher.DoneCh():
		t.Fatal("the watcher gave up: ", err)
	case <-time.After(time.Minute):
		t.Fatal("nothing was renewed")
	}
}
