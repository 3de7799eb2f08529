// Command hcl-oracle answers how github.com/hashicorp/hcl reads documents: one JSON string per line in, one
// JSON object per line out. JSON documents are read by encoding/json instead, because hcl rewrites their
// tree; "accepted" then says what hcl thought of them.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"
	hcljson "github.com/hashicorp/hcl/json/parser"
)

type answer struct {
	Items    any    `json:"items,omitempty"`
	Error    string `json:"error,omitempty"`
	Accepted bool   `json:"accepted"`
}

type item struct {
	Keys  []any `json:"keys"`
	Value any   `json:"value"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var text string
			if err := json.Unmarshal(line, &text); err != nil {
				fmt.Fprintln(os.Stderr, "not a JSON string:", err)
				os.Exit(2)
			}
			if err := encoder.Encode(ask(text)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(2)
			}
		}
		if err != nil {
			break
		}
	}
	if err := out.Flush(); err != nil {
		os.Exit(2)
	}
}

func ask(text string) (reply answer) {
	defer func() {
		if failure := recover(); failure != nil {
			reply = answer{Error: fmt.Sprint("panic: ", failure)}
		}
	}()
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		items, err := readJSON(text)
		if err != nil {
			reply.Error = err.Error()
		}
		reply.Items = items
		_, err = hcljson.Parse([]byte(text))
		reply.Accepted = err == nil
		return reply
	}
	file, err := parser.ParseDontErrorOnDuplicateKeys([]byte(text))
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Items: list(file.Node.(*ast.ObjectList)), Accepted: true}
}

func list(node *ast.ObjectList) []item {
	items := []item{}
	for _, one := range node.Items {
		keys := []any{}
		for _, key := range one.Keys {
			keys = append(keys, []any{key.Token.Value(), key.Token.Pos.Line, key.Token.Pos.Column})
		}
		items = append(items, item{keys, value(one.Val)})
	}
	return items
}

func value(node ast.Node) any {
	switch node := node.(type) {
	case *ast.ObjectType:
		return map[string]any{"object": list(node.List)}
	case *ast.ListType:
		values := []any{}
		for _, one := range node.List {
			values = append(values, value(one))
		}
		return map[string]any{"list": values}
	case *ast.LiteralType:
		switch node.Token.Type {
		case token.NUMBER:
			return map[string]any{"int": fmt.Sprint(node.Token.Value())}
		case token.FLOAT:
			return bits(node.Token.Value().(float64))
		case token.BOOL:
			return map[string]any{"bool": node.Token.Value()}
		default:
			return map[string]any{"string": node.Token.Value()}
		}
	}
	panic(fmt.Sprintf("a node of type %T", node))
}

// bits keeps a float whole on its way through two JSON writers.
func bits(number float64) any {
	return map[string]any{"float": strconv.FormatUint(math.Float64bits(number), 16)}
}

// readJSON keeps the order of keys and their repetitions, which unmarshalling into maps would lose.
func readJSON(text string) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	read, err := readValue(decoder)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the document")
	}
	return read.(map[string]any)["object"], nil
}

func readValue(decoder *json.Decoder) (any, error) {
	found, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch found := found.(type) {
	case json.Delim:
		if found == '{' {
			items := []item{}
			for decoder.More() {
				key, err := decoder.Token()
				if err != nil {
					return nil, err
				}
				one, err := readValue(decoder)
				if err != nil {
					return nil, err
				}
				items = append(items, item{[]any{[]any{key, 0, 0}}, one})
			}
			_, err := decoder.Token()
			return map[string]any{"object": items}, err
		}
		values := []any{}
		for decoder.More() {
			one, err := readValue(decoder)
			if err != nil {
				return nil, err
			}
			values = append(values, one)
		}
		_, err := decoder.Token()
		return map[string]any{"list": values}, err
	case json.Number:
		if whole, err := found.Int64(); err == nil {
			return map[string]any{"int": strconv.FormatInt(whole, 10)}, nil
		}
		number, err := found.Float64()
		return bits(number), err
	case bool:
		return map[string]any{"bool": found}, nil
	case string:
		return map[string]any{"string": found}, nil
	}
	return map[string]any{"string": ""}, nil
}
