package vaultapi

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

type object = map[string]any

var background = context.Background()

// connected is a client of the named server that reads nothing else from its environment.
func connected(t *testing.T, variable, token string) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address = os.Getenv(variable)
	if config.Address == "" {
		t.Fatalf("%s is not set", variable)
	}
	config.MaxRetries = 0
	client, err := api.NewClient(config)
	check(t, err)
	client.SetToken(token)
	return client
}

func root(t *testing.T) *api.Client {
	t.Helper()
	return connected(t, "TEST_ADDR", os.Getenv("TEST_TOKEN"))
}

// as is the same client with another token.
func as(t *testing.T, client *api.Client, token string) *api.Client {
	t.Helper()
	other, err := client.Clone()
	check(t, err)
	other.SetToken(token)
	return other
}

// limited has a token of a new policy.
func limited(t *testing.T, policy, rules string) *api.Client {
	t.Helper()
	client := root(t)
	check(t, client.Sys().PutPolicy(policy, rules))
	made, err := client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{policy}, TTL: "1h"})
	check(t, err)
	return as(t, client, made.Auth.ClientToken)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants an error of the API with this status and these words.
func refused(t *testing.T, err error, status int, words string) {
	t.Helper()
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		t.Fatalf("wanted a refusal with %d, got %v", status, err)
	}
	if answer.StatusCode != status || answer.RawError || !strings.Contains(strings.Join(answer.Errors, "\n"), words) {
		t.Fatalf("wanted %d with %q, got %v", status, words, answer)
	}
}

func equal[T comparable](t *testing.T, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Fatalf("got %v, wanted %v", got, wanted)
	}
}

func encoded(text string) string {
	return base64.StdEncoding.EncodeToString([]byte(text))
}
