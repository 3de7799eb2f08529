package vaultapi

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/userpass"
)

func TestTokens(t *testing.T) {
	client := root(t)
	tokens := client.Auth().Token()
	renewable := true
	made, err := tokens.Create(&api.TokenCreateRequest{
		Policies: []string{"default"}, TTL: "1h", ExplicitMaxTTL: "3h", NumUses: 0, Renewable: &renewable,
		Metadata: map[string]string{"purpose": "test"}, DisplayName: "go",
	})
	check(t, err)
	equal(t, made.Auth.LeaseDuration, 3600)
	equal(t, made.Auth.Renewable, true)
	equal(t, fmt.Sprint(made.Auth.TokenPolicies), "[default]")
	equal(t, fmt.Sprint(made.Auth.Metadata), "map[purpose:test]")
	self := as(t, client, made.Auth.ClientToken).Auth().Token()
	found, err := self.LookupSelf()
	check(t, err)
	id, err := found.TokenID()
	check(t, err)
	equal(t, id, made.Auth.ClientToken)
	ttl, err := found.TokenTTL()
	check(t, err)
	if ttl > time.Hour || ttl < 59*time.Minute {
		t.Fatal(ttl)
	}
	policies, err := found.TokenPolicies()
	check(t, err)
	equal(t, fmt.Sprint(policies), "[default]")
	is, err := found.TokenIsRenewable()
	check(t, err)
	equal(t, is, true)
	renewed, err := self.RenewSelf(7200)
	check(t, err)
	equal(t, renewed.Auth.LeaseDuration, 7200)
	_, err = tokens.RenewAccessor(made.Auth.Accessor, 60)
	check(t, err)
	_, err = tokens.LookupAccessor(made.Auth.Accessor)
	check(t, err)
	child, err := self.Create(&api.TokenCreateRequest{TTL: "5m"})
	refused(t, err, 403, "permission denied")
	if child != nil {
		t.Fatal("made all the same")
	}
	check(t, tokens.RevokeAccessor(made.Auth.Accessor))
	_, err = self.LookupSelf()
	refused(t, err, 403, "permission denied")
	root, err := tokens.LookupSelf()
	check(t, err)
	ttl, err = root.TokenTTL()
	check(t, err)
	equal(t, ttl, 0)
	orphan, err := tokens.CreateOrphan(&api.TokenCreateRequest{TTL: "1h"})
	check(t, err)
	equal(t, orphan.Auth.Orphan, true)
	check(t, as(t, client, orphan.Auth.ClientToken).Auth().Token().RevokeSelf(""))
}

// The first thing Terraform's provider does.
func TestAChildForTerraform(t *testing.T) {
	client := root(t)
	name := api.TokenCreateRequest{DisplayName: "terraform", TTL: "1200s", ExplicitMaxTTL: "2400s", Renewable: new(bool)}
	child, err := client.Auth().Token().Create(&name)
	check(t, err)
	equal(t, child.Auth.LeaseDuration, 1200)
	equal(t, child.Auth.Renewable, false)
	equal(t, fmt.Sprint(child.Auth.Policies), "[root]")
}

func TestATokenIsKeptAlive(t *testing.T) {
	client := root(t)
	made, err := client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "3s"})
	check(t, err)
	client = as(t, client, made.Auth.ClientToken)
	watcher, err := client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: made})
	check(t, err)
	go watcher.Start()
	defer watcher.Stop()
	late := time.After(20 * time.Second)
	for renewals := 0; renewals < 3; {
		select {
		case renewal := <-watcher.RenewCh():
			equal(t, renewal.Secret.Auth.LeaseDuration, 3)
			renewals++
		case err := <-watcher.DoneCh():
			t.Fatalf("given up after %d renewals: %v", renewals, err)
		case <-late:
			t.Fatalf("only %d renewals", renewals)
		}
	}
	_, err = client.Auth().Token().LookupSelf()
	check(t, err)
	check(t, root(t).Auth().Token().RevokeAccessor(made.Auth.Accessor))
	select {
	case <-watcher.DoneCh():
	case <-time.After(20 * time.Second):
		t.Fatal("the watcher did not notice")
	}
}

func TestATokenThatIsNotKeptAliveEnds(t *testing.T) {
	client := root(t)
	made, err := client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "1s"})
	check(t, err)
	time.Sleep(1500 * time.Millisecond)
	_, err = as(t, client, made.Auth.ClientToken).Auth().Token().LookupSelf()
	refused(t, err, 403, "permission denied")
	_, err = client.Auth().Token().LookupAccessor(made.Auth.Accessor)
	if err == nil {
		t.Fatal("its accessor outlives it")
	}
}

func TestAppRole(t *testing.T) {
	client := root(t)
	check(t, client.Sys().EnableAuthWithOptions("go-approle", &api.EnableAuthOptions{Type: "approle"}))
	check(t, client.Sys().PutPolicy("go-app", `path "secret/data/go/app" { capabilities = ["create", "update", "read"] }`))
	role := object{"token_policies": []string{"go-app"}, "token_ttl": "20m", "secret_id_num_uses": 4}
	_, err := client.Logical().Write("auth/go-approle/role/app", role)
	check(t, err)
	read, err := client.Logical().Read("auth/go-approle/role/app/role-id")
	check(t, err)
	roleID := read.Data["role_id"].(string)
	made, err := client.Logical().Write("auth/go-approle/role/app/secret-id", nil)
	check(t, err)
	secretID := made.Data["secret_id"].(string)

	logIn := func(secret *approle.SecretID, options ...approle.LoginOption) (*api.Client, error) {
		options = append(options, approle.WithMountPath("go-approle"))
		method, err := approle.NewAppRoleAuth(roleID, secret, options...)
		check(t, err)
		guest := as(t, client, "")
		login, err := guest.Auth().Login(background, method)
		if err == nil {
			equal(t, login.Auth.LeaseDuration, 1200)
			equal(t, fmt.Sprint(login.Auth.Policies), "[default go-app]")
			equal(t, guest.Token(), login.Auth.ClientToken)
		}
		return guest, err
	}
	app, err := logIn(&approle.SecretID{FromString: secretID})
	check(t, err)
	_, err = app.KVv2("secret").Put(background, "go/app", object{"by": "approle"})
	check(t, err)
	_, err = app.KVv2("secret").Get(background, "go/other")
	refused(t, err, 403, "permission denied")
	_, err = logIn(&approle.SecretID{FromString: "wrong"})
	refused(t, err, 400, "invalid role or secret ID")

	// The secret id as it is usually handed over: wrapped, in a file.
	wrapping, err := client.Clone()
	check(t, err)
	wrapping.SetToken(client.Token())
	wrapping.SetWrappingLookupFunc(func(operation, path string) string { return "5m" })
	wrapped, err := wrapping.Logical().Write("auth/go-approle/role/app/secret-id", nil)
	check(t, err)
	file := filepath.Join(os.Getenv("TEST_FOLDER"), "wrapped-secret-id")
	check(t, os.WriteFile(file, []byte(wrapped.WrapInfo.Token), 0o600))
	_, err = logIn(&approle.SecretID{FromFile: file}, approle.WithWrappingToken())
	check(t, err)
	_, err = logIn(&approle.SecretID{FromFile: file}, approle.WithWrappingToken())
	if err == nil {
		t.Fatal("a wrapping token opened twice")
	}
}

func TestUserpass(t *testing.T) {
	client := root(t)
	check(t, client.Sys().EnableAuthWithOptions("go-userpass", &api.EnableAuthOptions{Type: "userpass"}))
	_, err := client.Logical().Write("auth/go-userpass/users/ada", object{"password": "a good one", "token_policies": "a,b"})
	check(t, err)
	method, err := userpass.NewUserpassAuth("ada", &userpass.Password{FromString: "a good one"}, userpass.WithMountPath("go-userpass"))
	check(t, err)
	guest := as(t, client, "")
	login, err := guest.Auth().Login(background, method)
	check(t, err)
	equal(t, fmt.Sprint(login.Auth.Policies), "[a b default]")
	equal(t, login.Auth.Metadata["username"], "ada")
	_, err = guest.Auth().Token().LookupSelf()
	check(t, err)
	wrong, err := userpass.NewUserpassAuth("ada", &userpass.Password{FromString: "a bad one"}, userpass.WithMountPath("go-userpass"))
	check(t, err)
	_, err = as(t, client, "").Auth().Login(background, wrong)
	refused(t, err, 400, "invalid username or password")
}
