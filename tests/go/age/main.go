// Command age opens and seals files with the age project's own module, for the tests of interoperability.
//
//	age open IDENTITIES < FILE > PLAINTEXT
//	age seal [-a] RECIPIENT... < PLAINTEXT > FILE
//	age keygen [-pq]
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
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
		return keygen(len(args) > 1)
	}
	return fmt.Errorf("open IDENTITIES, seal [-a] RECIPIENT... or keygen [-pq]")
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
	return age.ParseIdentities(strings.NewReader(string(text)))
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

func keygen(pq bool) error {
	if pq {
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
