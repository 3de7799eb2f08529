package vaultapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestVersion2IsKeptAndVersioned(t *testing.T) {
	kv := root(t).KVv2("secret")
	made, err := kv.Put(background, "go/kept", object{"word": "open", "big": json.Number("9007199254740993")})
	check(t, err)
	equal(t, made.VersionMetadata.Version, 1)
	read, err := kv.Get(background, "go/kept")
	check(t, err)
	equal(t, read.Data["word"], any("open"))
	equal(t, read.Data["big"], any(json.Number("9007199254740993")))
	equal(t, read.Raw.MountType, "kv")

	_, err = kv.Put(background, "go/kept", object{"n": 2}, api.WithCheckAndSet(1))
	check(t, err)
	_, err = kv.Put(background, "go/kept", object{"n": 3}, api.WithCheckAndSet(1))
	refused(t, err, 400, "check-and-set parameter did not match the current version")
	_, err = kv.Put(background, "go/new", object{}, api.WithCheckAndSet(0))
	check(t, err)
	first, err := kv.GetVersion(background, "go/kept", 1)
	check(t, err)
	equal(t, first.Data["word"], any("open"))
	versions, err := kv.GetVersionsAsList(background, "go/kept")
	check(t, err)
	equal(t, len(versions), 2)
	if age := time.Since(versions[0].CreatedTime); age < 0 || age > time.Hour {
		t.Fatalf("made %v ago", age)
	}
	rolled, err := kv.Rollback(background, "go/kept", 1)
	check(t, err)
	equal(t, rolled.VersionMetadata.Version, 3)
	last, err := kv.Get(background, "go/kept")
	check(t, err)
	equal(t, last.Data["word"], any("open"))
}

func TestVersion2IsPatchedInBothWays(t *testing.T) {
	kv := root(t).KVv2("secret")
	_, err := kv.Patch(background, "go/absent", object{"a": 1})
	if !errors.Is(err, api.ErrSecretNotFound) {
		t.Fatal(err)
	}
	_, err = kv.Put(background, "go/patched", object{"keep": "1", "change": "2", "drop": "3"})
	check(t, err)
	for version, method := range []string{api.KVMergeMethodPatch, api.KVMergeMethodReadWrite} {
		changes := object{"change": method, "drop": nil}
		if method == api.KVMergeMethodReadWrite {
			delete(changes, "drop")
		}
		patched, err := kv.Patch(background, "go/patched", changes, api.WithMergeMethod(method))
		check(t, err)
		equal(t, patched.VersionMetadata.Version, version+2)
		read, err := kv.Get(background, "go/patched")
		check(t, err)
		equal(t, fmt.Sprint(read.Data), fmt.Sprint(object{"keep": "1", "change": method}))
	}
	_, err = kv.Patch(background, "go/patched", object{}, api.WithCheckAndSet(9))
	refused(t, err, 400, "check-and-set")
}

func TestVersion2IsDeletedAndDestroyed(t *testing.T) {
	kv := root(t).KVv2("secret")
	for number := range 3 {
		_, err := kv.Put(background, "go/deleted", object{"n": number})
		check(t, err)
	}
	check(t, kv.Delete(background, "go/deleted"))
	gone, err := kv.Get(background, "go/deleted")
	check(t, err)
	if gone.Data != nil || gone.VersionMetadata.DeletionTime.IsZero() {
		t.Fatalf("%+v", gone)
	}
	check(t, kv.Undelete(background, "go/deleted", []int{3}))
	back, err := kv.Get(background, "go/deleted")
	check(t, err)
	equal(t, back.Data["n"], any(json.Number("2")))
	check(t, kv.DeleteVersions(background, "go/deleted", []int{1}))
	check(t, kv.Destroy(background, "go/deleted", []int{2}))
	destroyed, err := kv.GetVersion(background, "go/deleted", 2)
	check(t, err)
	equal(t, destroyed.VersionMetadata.Destroyed, true)
	check(t, kv.DeleteMetadata(background, "go/deleted"))
	_, err = kv.Get(background, "go/deleted")
	if !errors.Is(err, api.ErrSecretNotFound) {
		t.Fatal(err)
	}
	_, err = kv.GetMetadata(background, "go/deleted")
	if !errors.Is(err, api.ErrSecretNotFound) {
		t.Fatal(err)
	}
}

func TestVersion2HasMetadata(t *testing.T) {
	kv := root(t).KVv2("secret")
	put := api.KVMetadataPutInput{
		CASRequired: true, MaxVersions: 4, DeleteVersionAfter: 90 * time.Minute, CustomMetadata: object{"a": "1", "b": "2"},
	}
	check(t, kv.PutMetadata(background, "go/meta", put))
	_, err := kv.Put(background, "go/meta", object{})
	refused(t, err, 400, "check-and-set parameter required")
	_, err = kv.Put(background, "go/meta", object{}, api.WithCheckAndSet(0))
	check(t, err)
	no := false
	patch := api.KVMetadataPatchInput{CASRequired: &no, CustomMetadata: object{"b": nil, "c": "3"}}
	check(t, kv.PatchMetadata(background, "go/meta", patch))
	read, err := kv.GetMetadata(background, "go/meta")
	check(t, err)
	equal(t, fmt.Sprint(read.CustomMetadata), "map[a:1 c:3]")
	equal(t, read.CASRequired, false)
	equal(t, read.MaxVersions, 4)
	equal(t, read.DeleteVersionAfter, 90*time.Minute)
	equal(t, read.CurrentVersion, 1)
	if read.Versions["1"].DeletionTime.Before(time.Now().Add(time.Hour)) {
		t.Fatalf("%+v", read.Versions["1"])
	}
}

func TestVersion1(t *testing.T) {
	client := root(t)
	check(t, client.Sys().Mount("go-kv1", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
	kv := client.KVv1("go-kv1")
	check(t, kv.Put(background, "a/b", object{"x": "1"}))
	read, err := kv.Get(background, "a/b")
	check(t, err)
	equal(t, read.Data["x"], any("1"))
	equal(t, read.Raw.LeaseDuration, 2764800)
	check(t, kv.Delete(background, "a/b"))
	_, err = kv.Get(background, "a/b")
	if !errors.Is(err, api.ErrSecretNotFound) {
		t.Fatal(err)
	}
}

func TestLogicalPaths(t *testing.T) {
	client := root(t)
	logical := client.Logical()
	for _, name := range []string{"b", "a", "c/d"} {
		made, err := logical.Write("secret/data/go/list/"+name, object{"data": object{"x": 1}})
		check(t, err)
		equal(t, made.Data["version"], any(json.Number("1")))
	}
	listed, err := logical.List("secret/metadata/go/list")
	check(t, err)
	equal(t, fmt.Sprint(listed.Data["keys"]), "[a b c/]")
	none, err := logical.List("secret/metadata/go/none")
	check(t, err)
	if none != nil {
		t.Fatalf("%+v", none)
	}
	absent, err := logical.Read("secret/data/go/none")
	check(t, err)
	if absent != nil {
		t.Fatalf("%+v", absent)
	}
	// A 404 with a body is an answer.
	_, err = logical.Delete("secret/data/go/list/a")
	check(t, err)
	gone, err := logical.Read("secret/data/go/list/a")
	check(t, err)
	if gone == nil || gone.Data["data"] != nil || gone.Data["metadata"] == nil {
		t.Fatalf("%+v", gone)
	}
	first, err := logical.ReadWithData("secret/data/go/list/b", map[string][]string{"version": {"1"}})
	check(t, err)
	equal(t, fmt.Sprint(first.Data["data"]), "map[x:1]")
	// No data at all is sent as null.
	_, err = logical.Write("secret/config", nil)
	check(t, err)
	warned, err := logical.Write("sys/mounts/go-warned", object{"type": "kv", "zebra": 1})
	check(t, err)
	equal(t, fmt.Sprint(warned.Warnings), "[Endpoint ignored these unrecognized parameters: [zebra]]")
	check(t, client.Sys().Unmount("go-warned"))
	raw, err := logical.ReadRaw("secret/data/go/list/b")
	check(t, err)
	equal(t, raw.Header.Get("Cache-Control"), "no-store")
	check(t, raw.Body.Close())
	help, err := client.Help("secret/data/x")
	check(t, err)
	if len(help.Help) < 40 {
		t.Fatalf("%+v", help)
	}
}
