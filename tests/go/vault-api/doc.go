// Package vaultapi holds tests of Keyward through Vault's own Go client. TEST_ADDR and TEST_TOKEN name a server
// that is initialised and unsealed, with version 2 key-value secrets at secret/; TEST_SEALED names one that is
// neither, and TEST_FOLDER a folder both may write to.
package vaultapi
