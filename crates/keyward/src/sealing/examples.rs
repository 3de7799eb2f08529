//! The examples that close each help text of sealing. A test parses every one of them.

/// Of the program without a network.
#[cfg(not(feature = "authority"))]
pub(crate) const KEYWARD: &str = "\
Examples:
  keyward root init --to shares --for prod      # the root of trust, once
  keyward seal secret.yaml --to db.yaml --sign-with author.key
  keyward lint

This build has no network in it. Exit codes: 0 done; 1 the command line, its input or what was found is wrong.";

pub(crate) const SEAL: &str = "\
Examples:
  keyward seal secret.yaml --to apps/shop/db.yaml --sign-with ~/.ssh/id_ed25519    # by the rules of .keyward.yaml
  keyward seal secret.yaml --cluster prod -r age1pq1... --subject web --sign-with key    # without rules
  keyward seal --phase bootstrap --life 720h --to b.yaml --sign-with key secret.yaml     # until the authority is up
  keyward seal s.yaml --to s.sealed.yaml --sign-with key --subject web --namespace-selector env=prod --condition posture.compliant
  keyward seal --age -r age1pq1... notes.txt            # any file, as age -e -a does
  keyward seal crds                                     # for kubectl apply -f -

A Secret is bound to its cluster, namespace, name, keys, type, phase, times, subjects and what else is demanded of them, which stand \
signed inside each value. \
Values are sealed one by one, so that one can be set by who cannot read the others.";

pub(crate) const OPEN: &str = "\
Examples:
  keyward open -i identity.txt apps/shop/db.yaml                   # as a Secret again
  keyward open -i identity.txt --key password apps/shop/db.yaml    # one value, byte for byte
  keyward open -i ops.txt -i security.txt vault.yaml               # two of the groups it is sealed for
  keyward open --age -i ~/.ssh/id_ed25519 file.age                 # any age file

Without Keyward: each value is an age file, which `age -d` opens; the value stands behind the first empty line.";

pub(crate) const RESEAL: &str = "\
Examples:
  keyward reseal -i old.txt apps/                             # after a change of recipients in .keyward.yaml
  keyward reseal -i old.txt --dry-run -o json apps/           # how many there are
  keyward reseal -i identity.txt --phase bootstrap --sign-with key apps/shop/db.yaml    # narrower";

pub(crate) const LINT: &str = "\
Examples:
  keyward lint                         # everything below this folder
  keyward lint --strict -o json apps/  # for continuous integration
  keyward lint apps/shop/db.yaml       # one file, in a pre-commit hook";

pub(crate) const MERGE: &str = "\
Examples:
  keyward merge base.yaml ours.yaml theirs.yaml --sign-with ~/.ssh/id_ed25519

As a driver of Git, once in each clone, and a line in .gitattributes:
  git config merge.keyward.driver 'keyward merge %O %A %B %P --sign-with ~/.ssh/id_ed25519'
  echo '*.sealed.yaml merge=keyward' >> .gitattributes";

pub(crate) const IMPORT: &str = "\
Examples:
  keyward import secret.yaml --to apps/db.yaml --sign-with key                           # a plain Secret
  keyward import sealed.yaml --private-key controller.pem --to db.yaml --sign-with key   # Bitnami's SealedSecret
  keyward import -i age.txt secret.sops.yaml --to db.yaml --sign-with key                # SOPS with age
  keyward import -i age.txt zenlock.yaml --to db.yaml --sign-with key                    # ZenLock, with its subjects";

pub(crate) const ROOT: &str = "\
Examples:
  keyward root init --shares 5 --required 3 --to shares --paper pages --for prod --for prod/shop
  keyward root verify --share shares/1.txt --share shares/2.txt --share shares/3.txt
  keyward root derive author --share a.txt --share b.txt --share c.txt --to author.key
  keyward root status --tree apps
  keyward root rotate --share a.txt --share b.txt --share c.txt --new-document root-2.yaml --to new-shares
  keyward root retire keyward-root.yaml --new-document root-2.yaml --tree apps

Run it on a machine without a network: a build with only the `seal` feature has none in it.";

#[cfg(feature = "hardware")]
pub(crate) const PKCS11: &str = "\
Examples:
  keyward pkcs11 list --module /usr/lib/softhsm/libsofthsm2.so
  keyward pkcs11 keygen --module /usr/lib/softhsm/libsofthsm2.so --token ada --to ada.txt    # prints the recipient
  keyward pkcs11 identity --module /usr/lib/opensc-pkcs11.so --token piv --id 03 --to piv.txt
  keyward open -i ada.txt apps/shop/db.yaml                                                 # asks for the PIN once

The PIN is asked for on the terminal, or read from the file that KEYWARD_PKCS11_PIN_FILE names. Stock age opens with such \
identities too, where a link named age-plugin-keyward to this program is on the PATH.";
