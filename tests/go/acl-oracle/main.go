// Records what the ACL of Vault 1.14.0 answers to pseudo-random policies, one JSON object a line. Building it takes
// minutes and a gigabyte of modules, so its answers are kept with the tests that compare them:
//
//	GOFLAGS=-mod=mod go run . > ../../../crates/domains/authority/src/policy/tests/vault-1.14.jsonl
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/vault/helper/namespace"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

// Paths: each policy is a list of "pattern capability,capability"; each answer a path and its capabilities.
type pathsCase struct {
	Policies [][]string          `json:"policies"`
	Answers  map[string][]string `json:"answers"`
}

// Conditions: the rules of one path, and whether the request may pass.
type conditionsCase struct {
	Rules     []map[string]any `json:"rules"`
	Operation string           `json:"operation"`
	Data      map[string]any   `json:"data"`
	Wrap      int              `json:"wrap"`
	Allowed   bool             `json:"allowed"`
}

var (
	random = rand.New(rand.NewSource(7))
	ctx    = namespace.RootContext(context.Background())
)

func pick[T any](from ...T) T { return from[random.Intn(len(from))] }

func pattern() string {
	depth := 1 + random.Intn(4)
	parts := make([]string, depth)
	for i := range parts {
		parts[i] = pick("a", "a", "b", "c", "ab", "abc", "+", "+", "a+", "+b", "")
	}
	text := strings.Join(parts, "/") + pick("", "", "/", "*", "*", "*", "/*", "b*", "/a*")
	if strings.Contains(text, "+*") {
		return pattern()
	}
	return pick("", "", "", "/") + text
}

func path() string {
	depth := 1 + random.Intn(5)
	parts := make([]string, depth)
	for i := range parts {
		parts[i] = pick("a", "a", "b", "c", "ab", "abc", "abcd", "a+", "+b", "+", "")
	}
	if parts[depth-1] == "" {
		parts[depth-1] = "x"
	}
	return strings.Join(parts, "/")
}

func capabilities() string {
	all := []string{"create", "read", "update", "delete", "list", "sudo", "patch", "deny"}
	var some []string
	for _, name := range all {
		if random.Intn(4) == 0 && (name != "deny" || random.Intn(3) == 0) {
			some = append(some, name)
		}
	}
	return strings.Join(some, ",")
}

func compile(texts ...string) *vault.ACL {
	var policies []*vault.Policy
	for i, text := range texts {
		policy, err := vault.ParseACLPolicy(namespace.RootNamespace, text)
		if err != nil {
			panic(text + ": " + err.Error())
		}
		policy.Name = fmt.Sprint("p", i)
		policies = append(policies, policy)
	}
	acl, err := vault.NewACL(ctx, policies)
	if err != nil {
		panic(err)
	}
	return acl
}

func paths() pathsCase {
	found := pathsCase{Answers: map[string][]string{}}
	var texts []string
	for range 1 + random.Intn(2) {
		var rules []string
		text := ""
		for range 3 + random.Intn(5) {
			where, what := pattern(), capabilities()
			rules = append(rules, where+" "+what)
			quoted, _ := json.Marshal(strings.Split(what, ","))
			if what == "" {
				quoted = []byte("[]")
			}
			text += fmt.Sprintf("path %q { capabilities = %s }\n", where, quoted)
		}
		found.Policies = append(found.Policies, rules)
		texts = append(texts, text)
	}
	acl := compile(texts...)
	for range 60 {
		asked := path()
		answer := acl.Capabilities(ctx, asked)
		sort.Strings(answer)
		// Most paths match nothing; a few of those will do.
		if answer[0] != "deny" || random.Intn(12) == 0 {
			found.Answers[asked] = answer
		}
	}
	return found
}

func value() any {
	return pick[any]("x", "y", "xy", "yx", "xyz", "a-x", true, false)
}

func values(globs bool) map[string][]any {
	all := map[string][]any{}
	for range random.Intn(3) {
		name := pick("one", "Two", "three", "*")
		list := []any{}
		if name != "*" {
			for range random.Intn(3) {
				if globs && random.Intn(2) == 0 {
					list = append(list, pick("x*", "*x", "*x*", "**", "x*z"))
				} else {
					list = append(list, value())
				}
			}
		}
		all[name] = list
	}
	return all
}

func conditions() conditionsCase {
	found := conditionsCase{Operation: pick("read", "create", "update", "patch", "delete"), Data: map[string]any{}}
	text := ""
	for range 1 + random.Intn(2) {
		rule := map[string]any{"capabilities": []string{"read", "create", "update", "patch", "delete"}}
		if random.Intn(3) > 0 {
			rule["allowed_parameters"] = values(true)
		}
		if random.Intn(3) == 0 {
			rule["denied_parameters"] = values(true)
		}
		if random.Intn(4) == 0 {
			rule["required_parameters"] = []string{pick("one", "Two", "three")}
		}
		if random.Intn(6) == 0 {
			rule["min_wrapping_ttl"] = pick("10s", "20s")
		}
		if random.Intn(6) == 0 {
			rule["max_wrapping_ttl"] = pick("20s", "1m")
		}
		found.Rules = append(found.Rules, rule)
		body, _ := json.Marshal(map[string]any{"path": map[string]any{"p": rule}})
		text += string(body) + "\n"
	}
	var texts []string
	texts = append(texts, strings.Split(strings.TrimSpace(text), "\n")...)
	for range random.Intn(3) {
		found.Data[pick("one", "two", "Two", "three", "four")] = value()
	}
	request := &logical.Request{Path: "p", Operation: logical.Operation(found.Operation), Data: found.Data}
	if random.Intn(2) == 0 {
		found.Wrap = pick(5, 10, 15, 20, 40, 60, 90)
		request.WrapInfo = &logical.RequestWrapInfo{TTL: time.Duration(found.Wrap) * time.Second}
	}
	found.Allowed = compile(texts...).AllowOperation(ctx, request, false).Allowed
	return found
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for range 120 {
		if err := lines.Encode(paths()); err != nil {
			panic(err)
		}
	}
	for range 300 {
		if err := lines.Encode(conditions()); err != nil {
			panic(err)
		}
	}
}
