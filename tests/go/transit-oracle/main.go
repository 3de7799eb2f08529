// Records what the transit engine of Vault 1.14.0 answers to the requests in steps.txt, one JSON object a line.
// Building it takes minutes and a gigabyte of modules, so its answers are kept with the test that compares them:
//
//	GOFLAGS=-mod=mod go run . < steps.txt > ../../../crates/domains/authority/src/engines/transit/tests/vault-1.14.jsonl
//
// A step is an operation, a path and a body, then what to remember of the answer: "> name=field", read back as $name.
// What differs from run to run is recorded as its kind only: <text> for keys, hashes and plaintexts, <time>,
// and vault:v1:<text> for ciphertexts and signatures.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

type answer struct {
	Step   string `json:"step"`
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"`
	Data   any    `json:"data,omitempty"`
}

var (
	ctx       = context.Background()
	storage   = &logical.InmemStorage{}
	known     = map[string]string{}
	named     = regexp.MustCompile(`\$[a-z]+[0-9]*`)
	versioned = regexp.MustCompile(`^vault:v[0-9]+:`)
	opaque    = map[string]bool{"public_key": true, "publickey": true, "backup": true, "random_bytes": true}
	times     = map[string]bool{"time": true, "creation_time": true}
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// Replaces what differs from run to run.
func settled(name string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, inner := range value {
			inner = settled(key, inner)
			// The versions of a key: a time each, or an object.
			if number, ok := inner.(float64); ok && name == "keys" && number > 1e9 {
				inner = "<time>"
			}
			if _, ok := inner.(string); ok && name == "keys" && inner != "<time>" && inner != "" {
				inner = "<text>"
			}
			out[key] = inner
		}
		return out
	case []any:
		for i := range value {
			value[i] = settled(name, value[i])
		}
		return value
	case string:
		switch {
		case times[name]:
			return "<time>"
		case opaque[name] && value != "":
			return "<text>"
		case versioned.MatchString(value):
			return versioned.FindString(value) + "<text>"
		case name == "plaintext" && len(value) > 20:
			return "<text>"
		}
	}
	return value
}

func main() {
	config := &logical.BackendConfig{StorageView: storage, System: logical.StaticSystemView{}, BackendUUID: "x"}
	backend := must(transit.Backend(ctx, config))
	for _, path := range backend.Paths {
		// The released library insists on what this path lacks.
		if path.Pattern == "cache-config" {
			path.ExistenceCheck = func(context.Context, *logical.Request, *framework.FieldData) (bool, error) {
				return true, nil
			}
		}
	}
	if err := backend.Setup(ctx, config); err != nil {
		panic(err)
	}
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		step, saves, _ := strings.Cut(line, " > ")
		parts := strings.SplitN(step, " ", 3)
		body := "{}"
		if len(parts) == 3 {
			body = named.ReplaceAllStringFunc(parts[2], func(name string) string {
				value, ok := known[name[1:]]
				if !ok {
					panic(name)
				}
				return value
			})
		}
		request := &logical.Request{Operation: logical.Operation(parts[0]), Path: parts[1], Storage: storage, Data: map[string]any{}}
		decoder := json.NewDecoder(strings.NewReader(body))
		decoder.UseNumber()
		if err := decoder.Decode(&request.Data); err != nil {
			panic(line)
		}
		if request.Operation == logical.UpdateOperation {
			found, exists, err := backend.HandleExistenceCheck(ctx, request)
			if err == nil && found && !exists {
				request.Operation = logical.CreateOperation
			}
		}
		response, err := backend.HandleRequest(ctx, request)
		status, failure := logical.RespondErrorCommon(request, response, err)
		out := answer{Step: line, Status: status}
		if failure != nil {
			out.Error = failure.Error()
		} else {
			out.Status = 204
			if response != nil {
				out.Status = 200
				raw := must(json.Marshal(response.Data))
				if code, ok := response.Data[logical.HTTPStatusCode]; ok {
					out.Status = code.(int)
					raw = must(json.Marshal(must(unpacked(response.Data[logical.HTTPRawBody]))["data"]))
				}
				var data any
				if err := json.Unmarshal(raw, &data); err != nil {
					panic(err)
				}
				for _, save := range strings.Fields(saves) {
					name, field, _ := strings.Cut(save, "=")
					value := data
					for _, part := range strings.Split(field, ".") {
						if list, ok := value.([]any); ok {
							value = list[int(part[0]-'0')]
						} else {
							value = value.(map[string]any)[part]
						}
					}
					known[name] = value.(string)
				}
				out.Data = settled("", data)
			}
		}
		if err := answers.Encode(out); err != nil {
			panic(err)
		}
	}
}

func unpacked(body any) (map[string]any, error) {
	out := map[string]any{}
	var raw []byte
	switch body := body.(type) {
	case string:
		raw = []byte(body)
	case []byte:
		raw = body
	}
	return out, json.Unmarshal(raw, &out)
}
