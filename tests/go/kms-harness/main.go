// Drives a KMS plugin as a kube-apiserver does, with its own code: a JSON request a line on standard input, a
// JSON answer a line on standard output.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	envelopekmsv2 "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
)

type request struct {
	Do string `json:"do"`
	// load: the configuration's file, and the provider's name, for its clock.
	Config   string `json:"config"`
	Provider string `json:"provider"`
	// write, read, put, delete: the etcd key; the bytes written, read back or put.
	Key  string `json:"key"`
	Data []byte `json:"data"`
	// writes: how many.
	Count int `json:"count"`
	// advance: the seconds.
	Seconds int `json:"seconds"`
	// snapshot: the file, the page size, and whether a checksum follows.
	File     string `json:"file"`
	PageSize int    `json:"page_size"`
	Checksum bool   `json:"checksum"`
}

type answer struct {
	Error string `json:"error,omitempty"`
	Data  []byte `json:"data,omitempty"`
	Stale bool   `json:"stale,omitempty"`
	Micro int64  `json:"micro,omitempty"`
}

type change struct {
	key    string
	value  []byte
	remove bool
}

type harness struct {
	stop    context.CancelFunc
	loaded  *encryptionconfig.EncryptionConfiguration
	ahead   time.Duration
	changes []change
}

func main() {
	h := &harness{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var r request
		var a answer
		err := json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			a, err = h.do(r)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			os.Exit(1)
		}
	}
}

func (h *harness) do(r request) (answer, error) {
	switch r.Do {
	case "load":
		return answer{}, h.load(r)
	case "health":
		return answer{}, h.loaded.HealthChecks[0].Check(&http.Request{})
	case "advance":
		h.ahead += time.Duration(r.Seconds) * time.Second
		return answer{}, nil
	case "write":
		data, err := h.transformer().TransformToStorage(context.Background(), r.Data, value.DefaultContext(r.Key))
		return answer{Data: data}, err
	case "writes":
		return h.writes(r)
	case "read":
		data, stale, err := h.transformer().TransformFromStorage(context.Background(), r.Data, value.DefaultContext(r.Key))
		return answer{Data: data, Stale: stale}, err
	case "put":
		h.changes = append(h.changes, change{r.Key, r.Data, false})
		return answer{}, nil
	case "delete":
		h.changes = append(h.changes, change{r.Key, nil, true})
		return answer{}, nil
	case "snapshot":
		return answer{}, h.snapshot(r)
	}
	return answer{}, fmt.Errorf("unknown request %q", r.Do)
}

// load reads the configuration anew, as a restarted API server does: nothing is cached from before.
func (h *harness) load(r request) error {
	if h.stop != nil {
		h.stop()
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.ahead = 0
	envelopekmsv2.SetNowFuncForTests(r.Provider, func() time.Time { return time.Now().Add(h.ahead) })
	loaded, err := encryptionconfig.LoadEncryptionConfig(ctx, r.Config, true, "harness")
	if err == nil {
		h.loaded = loaded
	}
	return err
}

func (h *harness) transformer() value.Transformer {
	return h.loaded.Transformers[schema.GroupResource{Resource: "secrets"}]
}

func (h *harness) writes(r request) (answer, error) {
	start := time.Now()
	for i := range r.Count {
		key := fmt.Sprintf("%s%d", r.Key, i)
		if _, err := h.transformer().TransformToStorage(context.Background(), r.Data, value.DefaultContext(key)); err != nil {
			return answer{}, err
		}
	}
	return answer{Micro: time.Since(start).Microseconds()}, nil
}

// snapshot writes the changes as etcd does: a revision each, in the bucket "key" of a bbolt database.
func (h *harness) snapshot(r request) error {
	db, err := bolt.Open(r.File, 0o600, &bolt.Options{PageSize: r.PageSize})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"alarm", "auth", "lease", "members", "meta"} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		bucket, err := tx.CreateBucketIfNotExists([]byte("key"))
		if err != nil {
			return err
		}
		for at, change := range h.changes {
			revision := binary.BigEndian.AppendUint64(nil, uint64(at+2))
			revision = append(revision, '_')
			revision = binary.BigEndian.AppendUint64(revision, 0)
			kv := mvccpb.KeyValue{Key: []byte(change.key)}
			if change.remove {
				revision = append(revision, 't')
			} else {
				kv.Value, kv.CreateRevision, kv.ModRevision, kv.Version = change.value, int64(at+2), int64(at+2), 1
			}
			raw, err := kv.Marshal()
			if err != nil {
				return err
			}
			if err := bucket.Put(revision, raw); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil || !r.Checksum {
		return err
	}
	raw, err := os.ReadFile(r.File)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	return os.WriteFile(r.File, bytes.Join([][]byte{raw, sum[:]}, nil), 0o600)
}
