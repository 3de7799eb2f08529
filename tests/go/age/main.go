// Command age opens and seals files with the age project's own module, for the tests of interoperability.
//
//	age open IDENTITIES < FILE > PLAINTEXT
//	age seal [-a] RECIPIENT... < PLAINTEXT > FILE
//	age keygen [-pq | -tag]
//
// There is no identity of tagged recipients in the module, for they are held in hardware. Here it is a line
// "tag:" with the private key in hexadecimal, opened with the packages that the module itself is built on.
package main

import (
	"bufio"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"filippo.io/age/tag"
	"filippo.io/hpke"
	"filippo.io/nistec"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "open":
		return open(args[1])
	case len(args) > 1 && args[0] == "seal":
		return seal(args[1:])
	case len(args) > 0 && args[0] == "keygen":
		return keygen(args[1:])
	}
	return fmt.Errorf("open IDENTITIES, seal [-a] RECIPIENT... or keygen [-pq | -tag]")
}

func open(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	identities, err := parse(text)
	if err != nil {
		return err
	}
	var in io.Reader = bufio.NewReader(os.Stdin)
	if start, _ := in.(*bufio.Reader).Peek(len(armor.Header)); string(start) == armor.Header {
		in = armor.NewReader(in)
	}
	out, err := age.Decrypt(in, identities...)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, out)
	return err
}

func parse(text []byte) ([]age.Identity, error) {
	if strings.HasPrefix(string(text), "-----BEGIN") {
		identity, err := agessh.ParseIdentity(text)
		return []age.Identity{identity}, err
	}
	if rest, found := strings.CutPrefix(strings.TrimSpace(string(text)), "tag:"); found {
		number, err := hex.DecodeString(rest)
		if err != nil {
			return nil, err
		}
		key, err := ecdh.P256().NewPrivateKey(number)
		return []age.Identity{&tagged{key}}, err
	}
	return age.ParseIdentities(strings.NewReader(string(text)))
}

// tagged is the identity of an age1tag1 recipient.
type tagged struct{ key *ecdh.PrivateKey }

func (t *tagged) recipient() (*tag.Recipient, error) {
	point, err := nistec.NewP256Point().SetBytes(t.key.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	return tag.NewClassicRecipient(point.BytesCompressed())
}

func (t *tagged) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	recipient, err := t.recipient()
	if err != nil {
		return nil, err
	}
	key, err := hpke.NewDHKEMPrivateKey(t.key)
	if err != nil {
		return nil, err
	}
	for _, stanza := range stanzas {
		if stanza.Type != "p256tag" || len(stanza.Args) != 2 {
			continue
		}
		sender, err := base64.RawStdEncoding.DecodeString(stanza.Args[1])
		if err != nil {
			return nil, err
		}
		own, err := recipient.Tag(sender)
		if err != nil {
			return nil, err
		}
		if stanza.Args[0] != base64.RawStdEncoding.EncodeToString(own) {
			continue
		}
		info := []byte("age-encryption.org/p256tag")
		opener, err := hpke.NewRecipient(sender, key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
		if err != nil {
			return nil, err
		}
		opened, err := opener.Open(nil, stanza.Body)
		if err != nil {
			return nil, err
		}
		return opened, nil
	}
	return nil, age.ErrIncorrectIdentity
}

func seal(args []string) error {
	var out io.WriteCloser = os.Stdout
	if args[0] == "-a" {
		out, args = armor.NewWriter(os.Stdout), args[1:]
	}
	var recipients []age.Recipient
	for _, text := range args {
		var recipient age.Recipient
		var err error
		if strings.HasPrefix(text, "ssh-") {
			recipient, err = agessh.ParseRecipient(text)
		} else if strings.HasPrefix(text, "age1tag1") {
			recipient, err = tag.ParseRecipient(text)
		} else {
			var parsed []age.Recipient
			parsed, err = age.ParseRecipients(strings.NewReader(text))
			if err == nil {
				recipient = parsed[0]
			}
		}
		if err != nil {
			return err
		}
		recipients = append(recipients, recipient)
	}
	in, err := age.Encrypt(out, recipients...)
	if err != nil {
		return err
	}
	if _, err := io.Copy(in, os.Stdin); err != nil {
		return err
	}
	if err := in.Close(); err != nil {
		return err
	}
	return out.Close()
}

func keygen(kind []string) error {
	if len(kind) == 1 && kind[0] == "-tag" {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		recipient, err := (&tagged{key}).recipient()
		if err != nil {
			return err
		}
		fmt.Printf("tag:%x\n%s\n", key.Bytes(), recipient)
		return nil
	}
	if len(kind) == 1 && kind[0] == "-pq" {
		identity, err := age.GenerateHybridIdentity()
		if err != nil {
			return err
		}
		fmt.Printf("%s\n%s\n", identity, identity.Recipient())
		return nil
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s\n", identity, identity.Recipient())
	return nil
}
