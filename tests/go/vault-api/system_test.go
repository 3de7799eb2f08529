package vaultapi

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestMounts(t *testing.T) {
	sys := root(t).Sys()
	input := &api.MountInput{
		Type: "kv", Description: "words", Options: map[string]string{"version": "2"},
		Config: api.MountConfigInput{DefaultLeaseTTL: "1h", MaxLeaseTTL: "2h", ListingVisibility: "unauth"},
	}
	check(t, sys.Mount("go-mount/deep", input))
	mounts, err := sys.ListMounts()
	check(t, err)
	mount := mounts["go-mount/deep/"]
	equal(t, mount.Type, "kv")
	equal(t, mount.Description, "words")
	equal(t, mount.Options["version"], "2")
	equal(t, mount.Config.DefaultLeaseTTL, 3600)
	equal(t, mount.Config.MaxLeaseTTL, 7200)
	equal(t, mount.Config.ListingVisibility, "unauth")
	if mount.UUID == "" || !strings.HasPrefix(mount.Accessor, "kv_") {
		t.Fatalf("%+v", mount)
	}
	one, err := sys.GetMount("go-mount/deep")
	check(t, err)
	equal(t, one.Accessor, mount.Accessor)

	words := "tuned"
	check(t, sys.TuneMount("go-mount/deep", api.MountConfigInput{DefaultLeaseTTL: "30m", Description: &words}))
	tuned, err := sys.MountConfig("go-mount/deep")
	check(t, err)
	equal(t, tuned.DefaultLeaseTTL, 1800)

	kv := root(t).KVv2("go-mount/deep")
	_, err = kv.Put(background, "a", object{"x": "1"})
	check(t, err)
	check(t, sys.Remount("go-mount/deep", "go-moved"))
	read, err := root(t).KVv2("go-moved").Get(background, "a")
	check(t, err)
	equal(t, read.Data["x"], any("1"))
	_, err = kv.Get(background, "a")
	if err == nil {
		t.Fatal("it is still where it was")
	}
	check(t, sys.Unmount("go-moved"))
	refused(t, sys.Mount("secret", &api.MountInput{Type: "kv"}), 400, "path is already in use at secret/")
	refused(t, sys.Mount("go-x", &api.MountInput{Type: "nonsense"}), 400, "plugin not found in the catalog")
}

// preflight is what the vault command line, agents and Terraform ask before they touch a key-value path.
func TestPreflight(t *testing.T) {
	client := limited(t, "go-preflight", `path "secret/data/go/pre" { capabilities = ["read"] }`)
	mount, err := client.Logical().Read("sys/internal/ui/mounts/secret/go/pre")
	check(t, err)
	equal(t, mount.Data["path"], any("secret/"))
	equal(t, mount.Data["type"], any("kv"))
	equal(t, fmt.Sprint(mount.Data["options"]), "map[version:2]")
	_, err = client.Logical().Read("sys/internal/ui/mounts/elsewhere/x")
	refused(t, err, 403, "preflight capability check returned 403")
	all, err := client.Logical().Read("sys/internal/ui/mounts")
	check(t, err)
	if _, there := all.Data["secret"].(object)["secret/"]; !there {
		t.Fatalf("%v", all.Data)
	}
}

func TestAuthMethods(t *testing.T) {
	sys := root(t).Sys()
	check(t, sys.EnableAuthWithOptions("go-people", &api.EnableAuthOptions{Type: "userpass", Description: "words"}))
	methods, err := sys.ListAuth()
	check(t, err)
	equal(t, methods["go-people/"].Type, "userpass")
	equal(t, methods["token/"].Type, "token")
	one, err := sys.GetAuth("go-people")
	check(t, err)
	equal(t, one.Description, "words")
	check(t, sys.DisableAuth("go-people"))
	refused(t, sys.EnableAuth("go-x", "nonsense", ""), 400, "")
}

func TestPolicies(t *testing.T) {
	sys := root(t).Sys()
	rules := "# kept with its comment\npath \"secret/data/go/*\" { capabilities = [\"read\", \"list\"] }\n"
	check(t, sys.PutPolicy("go-policy", rules))
	read, err := sys.GetPolicy("go-policy")
	check(t, err)
	equal(t, read, rules)
	names, err := sys.ListPolicies()
	check(t, err)
	for _, name := range []string{"default", "root", "go-policy"} {
		if !slices.Contains(names, name) {
			t.Fatalf("no %s in %v", name, names)
		}
	}
	refused(t, sys.PutPolicy("go-wrong", `path "x" {`), 400, "")
	client := limited(t, "go-policy", rules)
	for path, wanted := range map[string]string{
		"secret/data/go/a": "[list read]", "secret/data/other": "[deny]", "auth/token/lookup-self": "[read]",
	} {
		capabilities, err := client.Sys().CapabilitiesSelf(path)
		check(t, err)
		equal(t, fmt.Sprint(capabilities), wanted)
		capabilities, err = sys.Capabilities(client.Token(), path)
		check(t, err)
		equal(t, fmt.Sprint(capabilities), wanted)
	}
	check(t, sys.DeletePolicy("go-policy"))
	none, err := sys.GetPolicy("go-policy")
	check(t, err)
	equal(t, none, "")
	_, err = client.Logical().Read("secret/data/go/a")
	refused(t, err, 403, "permission denied")
}

func TestAudit(t *testing.T) {
	client := root(t)
	log := filepath.Join(os.Getenv("TEST_FOLDER"), "go-audit.log")
	options := &api.EnableAuditOptions{Type: "file", Description: "words", Options: map[string]string{"file_path": log}}
	check(t, client.Sys().EnableAuditWithOptions("go-file", options))
	devices, err := client.Sys().ListAudit()
	check(t, err)
	equal(t, devices["go-file/"].Type, "file")
	equal(t, devices["go-file/"].Options["file_path"], log)
	hash, err := client.Sys().AuditHash("go-file", "a canary word")
	check(t, err)
	_, err = client.KVv2("secret").Put(background, "go/audited", object{"word": "a canary word"})
	check(t, err)
	check(t, client.Sys().DisableAudit("go-file"))
	lines, err := os.ReadFile(log)
	check(t, err)
	if !bytes.Contains(lines, []byte(hash)) || bytes.Contains(lines, []byte("a canary word")) {
		t.Fatalf("%s in %s", hash, lines)
	}
	refused(t, client.Sys().EnableAuditWithOptions("go-file", &api.EnableAuditOptions{Type: "nonsense"}), 400, "")
}

func TestSealFromTheStart(t *testing.T) {
	client := connected(t, "TEST_SEALED", "")
	sys := client.Sys()
	initialised, err := sys.InitStatus()
	check(t, err)
	equal(t, initialised, false)
	health, err := sys.Health()
	check(t, err)
	equal(t, health.Initialized || !health.Sealed, false)
	made, err := sys.Init(&api.InitRequest{SecretShares: 3, SecretThreshold: 2})
	check(t, err)
	equal(t, len(made.Keys)+len(made.KeysB64), 6)
	_, err = sys.Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	refused(t, err, 400, "already initialized")
	client.SetToken(made.RootToken)
	_, err = client.Logical().Read("sys/policy")
	refused(t, err, 503, "Vault is sealed")
	status, err := sys.Unseal(made.Keys[0])
	check(t, err)
	equal(t, fmt.Sprint(status.Sealed, status.T, status.N, status.Progress), "true 2 3 1")
	status, err = sys.ResetUnsealProcess()
	check(t, err)
	equal(t, status.Progress, 0)
	for _, key := range made.KeysB64[1:] {
		status, err = sys.Unseal(key)
		check(t, err)
	}
	equal(t, status.Sealed, false)
	health, err = sys.Health()
	check(t, err)
	equal(t, health.Sealed || health.Standby || health.ClusterID == "", false)
	if skew := time.Since(time.Unix(health.ServerTimeUTC, 0)).Abs(); skew > time.Minute {
		t.Fatalf("the server's clock is %v away", skew)
	}
	leader, err := sys.Leader()
	check(t, err)
	equal(t, leader.HAEnabled, false)
	before, err := sys.KeyStatus()
	check(t, err)
	check(t, sys.Rotate())
	after, err := sys.KeyStatus()
	check(t, err)
	equal(t, after.Term, before.Term+1)
	check(t, sys.Seal())
	status, err = sys.SealStatus()
	check(t, err)
	equal(t, status.Sealed, true)
}

func TestWrapping(t *testing.T) {
	client := root(t)
	_, err := client.KVv2("secret").Put(background, "go/wrapped", object{"word": "open"})
	check(t, err)
	wrapping, err := client.Clone()
	check(t, err)
	wrapping.SetToken(client.Token())
	wrapping.SetWrappingLookupFunc(func(operation, path string) string { return "2m" })
	wrapped, err := wrapping.Logical().Read("secret/data/go/wrapped")
	check(t, err)
	if wrapped.Data != nil || wrapped.WrapInfo == nil {
		t.Fatalf("%+v", wrapped)
	}
	equal(t, wrapped.WrapInfo.TTL, 120)
	equal(t, wrapped.WrapInfo.CreationPath, "secret/data/go/wrapped")
	if time.Since(wrapped.WrapInfo.CreationTime).Abs() > time.Minute {
		t.Fatalf("%+v", wrapped.WrapInfo)
	}
	opened, err := client.Logical().Unwrap(wrapped.WrapInfo.Token)
	check(t, err)
	equal(t, fmt.Sprint(opened.Data["data"]), "map[word:open]")
	_, err = client.Logical().Unwrap(wrapped.WrapInfo.Token)
	refused(t, err, 400, "wrapping token is not valid or does not exist")

	// Without an argument the client's own token is the wrapping token.
	wrapped, err = wrapping.Logical().Read("secret/data/go/wrapped")
	check(t, err)
	opened, err = as(t, client, wrapped.WrapInfo.Token).Logical().Unwrap("")
	check(t, err)
	equal(t, fmt.Sprint(opened.Data["data"]), "map[word:open]")

	token, err := wrapping.Auth().Token().Create(&api.TokenCreateRequest{TTL: "1h", Policies: []string{"default"}})
	check(t, err)
	if token.Auth != nil || token.WrapInfo.WrappedAccessor == "" {
		t.Fatalf("%+v", token)
	}
	opened, err = client.Logical().Unwrap(token.WrapInfo.Token)
	check(t, err)
	equal(t, opened.Auth.Accessor, token.WrapInfo.WrappedAccessor)
	wrapping.SetToken(opened.Auth.ClientToken)
}

func TestErrors(t *testing.T) {
	client := root(t)
	_, err := as(t, client, "hvs.unknown").Logical().Read("secret/data/go/x")
	refused(t, err, 403, "permission denied")
	_, err = client.Logical().Write("secret/data/go/x", object{"no": "data"})
	refused(t, err, 400, "no data provided")
	_, err = client.Logical().Write("nowhere/x", object{"a": 1})
	refused(t, err, 404, "no handler for route")
	_, err = client.Logical().Delete("secret/config")
	refused(t, err, 405, "unsupported operation")
	_, err = client.Logical().WriteBytes("secret/data/go/x", []byte("{"))
	refused(t, err, 400, "failed to parse JSON input")
}

// A client must not send again what is wrong for good, and must what is not.
func TestRetries(t *testing.T) {
	sent := 0
	counting := func(client *api.Client) *api.Client {
		config := client.CloneConfig()
		config.MaxRetries = 2
		config.MinRetryWait, config.MaxRetryWait = time.Millisecond, time.Millisecond
		transport := config.HttpClient.Transport
		config.HttpClient.Transport = roundTrip(func(request *http.Request) (*http.Response, error) {
			sent++
			return transport.RoundTrip(request)
		})
		counted, err := api.NewClient(config)
		check(t, err)
		counted.SetToken(client.Token())
		return counted
	}
	client := counting(root(t))
	for path, status := range map[string]int{"secret/data/go/x": 400, "nowhere/x": 404} {
		sent = 0
		_, err := client.Logical().Write(path, object{"no": "data"})
		refused(t, err, status, "")
		equal(t, sent, 1)
	}
	large := object{"data": object{"x": strings.Repeat("v", 4<<20)}}
	sent = 0
	_, err := client.Logical().Write("secret/data/go/large", large)
	if err == nil {
		t.Fatal("a value of 4 MiB was taken")
	}
	equal(t, sent, 1)
	sent = 0
	huge := object{"data": object{"x": strings.Repeat("v", 33<<20)}}
	_, err = client.Logical().Write("secret/data/go/large", huge)
	refused(t, err, 413, "")
	equal(t, sent, 1)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
