package vaultapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

func TestTransit(t *testing.T) {
	client := root(t)
	check(t, client.Sys().Mount("go-transit", &api.MountInput{Type: "transit"}))
	write := func(path string, body object) *api.Secret {
		t.Helper()
		answer, err := client.Logical().Write("go-transit/"+path, body)
		check(t, err)
		return answer
	}
	write("keys/app", nil)
	sealed := write("encrypt/app", object{"plaintext": encoded("a word")}).Data["ciphertext"].(string)
	if !strings.HasPrefix(sealed, "vault:v1:") {
		t.Fatal(sealed)
	}
	opened := write("decrypt/app", object{"ciphertext": sealed})
	equal(t, opened.Data["plaintext"], any(encoded("a word")))
	write("keys/app/rotate", nil)
	rewrapped := write("rewrap/app", object{"ciphertext": sealed}).Data["ciphertext"].(string)
	if !strings.HasPrefix(rewrapped, "vault:v2:") {
		t.Fatal(rewrapped)
	}
	read, err := client.Logical().Read("go-transit/keys/app")
	check(t, err)
	equal(t, fmt.Sprint(read.Data["latest_version"]), "2")
	listed, err := client.Logical().List("go-transit/keys")
	check(t, err)
	equal(t, fmt.Sprint(listed.Data["keys"]), "[app]")
	batch := write("encrypt/app", object{"batch_input": []object{{"plaintext": encoded("1")}, {"plaintext": encoded("2")}}})
	equal(t, len(batch.Data["batch_results"].([]any)), 2)
	write("keys/sign", object{"type": "ecdsa-p256"})
	signature := write("sign/sign/sha2-256", object{"input": encoded("words")}).Data["signature"]
	valid := write("verify/sign/sha2-256", object{"input": encoded("words"), "signature": signature})
	equal(t, valid.Data["valid"], any(true))
	key := write("datakey/plaintext/app", nil)
	equal(t, write("decrypt/app", object{"ciphertext": key.Data["ciphertext"]}).Data["plaintext"], key.Data["plaintext"])
	_, err = client.Logical().Write("go-transit/decrypt/app", object{"ciphertext": "vault:v1:AAAA"})
	refused(t, err, 400, "")
	_, err = client.Logical().Delete("go-transit/keys/app")
	refused(t, err, 400, "deletion is not allowed")
}
