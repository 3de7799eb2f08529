//! The examples that close each help text. A test parses every one of them.

pub(crate) const KEYWARD: &str = "\
Examples:
  keyward dev                                   # to try things on; prints what to export
  keyward kv put secret/hello greeting=world    # keep a secret
  keyward kv get secret/hello                   # read it back
  keyward kv get --help                         # every option

The authority is at VAULT_ADDR, the token is VAULT_TOKEN or what `keyward login` left in ~/.vault-token. KEYWARD_ADDR, \
KEYWARD_TOKEN and so on come before the names with VAULT_.

Exit codes: 0 done; 1 the command line or its input is wrong; 2 the authority refused, is sealed or cannot be \
reached. `status` answers 0 unsealed, 2 sealed, and 1 where nobody can be asked.
Options may be written with one dash or two, as Vault's command line has them.";

pub(crate) const INJECT: &str = "\
Examples:
  keyward inject serve --image registry.example.org/keyward:1 --name keyward-injector.keyward.svc

A pod asks with annotations: keyward.io/inject: NAME[,NAME...], and if it likes keyward.io/mount-path, keyward.io/containers, \
keyward.io/refresh (follow or never) and keyward.io/role. Those of zen-lock are understood too. Its values stand in \
/keyward/secrets/NAME/KEY.";

pub(crate) const AGENT: &str = "\
Examples:
  keyward agent --object db --of-namespace shop --role workload --to /dev/shm/db --once    # by hand
  keyward agent --check --state /run/keyward-agent --wait 5s                               # a startup probe";

pub(crate) const KV: &str = "\
Examples:
  keyward kv put secret/app user=app password=@password.txt    # kept out of the process list
  keyward kv get --field password secret/app                   # one value, for a script
  keyward kv get -o json --version 2 secret/app                # an old version, whole
  keyward kv patch secret/app user=other                       # change one value, keep the others
  keyward kv put --cas 3 secret/app user=app                   # unless changed since version 3
  keyward kv undelete --versions 2,3 secret/app";

pub(crate) const TRANSIT: &str = "\
Examples:
  keyward secrets enable transit                                   # once
  keyward transit create orders
  keyward transit encrypt orders @invoice.pdf                      # prints vault:v1:...
  keyward transit decrypt orders @invoice.sealed
  keyward transit create signing --type ed25519
  keyward transit sign signing @release.tar";

pub(crate) const POLICY: &str = "\
Examples:
  keyward policy write app app.hcl
  keyward policy read app
  keyward token create --policy app        # a token that has it
  keyward policy explain --policy app read secret/data/app/db      # by which rule
  keyward policy test policies/                                    # suites of admission policies
  keyward policy apply policies/ --resource app.yaml               # what they would say
  keyward policy explain policies/ --resource app.yaml             # and rule by rule why
  keyward policy rollout policies/                                 # what enforcing would refuse
  keyward policy crds | kubectl apply -f -                         # once a cluster
  keyward policy serve                                             # in a pod: webhooks and reports
  keyward policy serve --posture-cluster prod --role policy        # and verdicts for the authority

ACL rules grant capabilities on paths: path \"secret/data/app/*\" { capabilities = [\"read\", \"list\"] }";

pub(crate) const TOKEN: &str = "\
Examples:
  keyward token create --policy app --ttl 1h
  keyward token create --policy app --period 24h --orphan --field token    # renewed for ever
  keyward token lookup                                                     # the session's own
  keyward token capabilities secret/data/app                               # what it may do there
  keyward token revoke --accessor ACCESSOR";

pub(crate) const INVENTORY: &str = "\
Examples:
  keyward inventory
  keyward inventory shop -o json    # of one namespace, for a script";

#[cfg(feature = "seal")]
pub(crate) const BUNDLE: &str = "\
Examples:
  keyward bundle create token=@token.txt --recipient age1pq1... --purpose agent --to agent.bundle
  keyward bundle open agent.bundle -i agent.key --cluster prod --purpose agent --to enrolled
  keyward bundle status ID    # was it redeemed, when and from where?";

pub(crate) const LEASE: &str = "\
Examples:
  keyward lease lookup auth/token/create/h4f0
  keyward lease renew --increment 1h auth/token/create/h4f0
  keyward lease revoke --prefix auth/userpass/login/mona";

pub(crate) const POSTURE: &str = "\
Examples:
  keyward posture list --violating               # pods that are refused where posture.compliant is demanded
  keyward posture list --namespaces
  keyward posture list --nodes                   # with what is wrong with them
  keyward posture get shop/api-7d9f              # policy by policy
  keyward posture get --node worker-1
  keyward posture publishers";

pub(crate) const SECRETS: &str = "\
Examples:
  keyward secrets list
  keyward secrets enable --path team --version 2 kv     # key-value secrets with versions, at team/
  keyward secrets tune --max-lease-ttl 24h team
  keyward secrets disable team                          # and everything kept there is gone";

pub(crate) const AUTH: &str = "\
Examples:
  keyward auth enable userpass
  keyward write auth/userpass/users/mona password=@password.txt token_policies=app
  keyward login --method userpass username=mona
  keyward auth list --detailed";

pub(crate) const AUDIT: &str = "\
Examples:
  keyward audit enable file file_path=/var/log/keyward-audit.log
  keyward audit verify /var/log/keyward-audit.log.1 /var/log/keyward-audit.log   # oldest first
  keyward audit search --path secret/web /var/log/keyward-audit.log   # who read this secret
  keyward audit disable file";

pub(crate) const AUDIT_SEARCH: &str = "\
Examples:
  keyward audit search --path secret/web --operation read audit.log   # who read this secret
  keyward audit search --pod prod/web-7d9c audit.log.1 audit.log      # what did this pod ever see
  keyward audit search --pod prod/web-7d9c --alive audit.log          # what it holds that is alive
  keyward audit search --denied --since 24h audit.log                 # what was denied in a day
  keyward audit search --lease database/creds/app -o json audit.log   # every user of this role";

pub(crate) const OPERATOR: &str = "\
Examples:
  keyward operator init --key-shares 5 --key-threshold 3    # prints the keys this once
  keyward operator unseal                                   # asks for one key; again until there are enough
  keyward operator init --status
  keyward operator seal";

pub(crate) const KMS: &str = "\
Examples:
  keyward kms serve --key kubernetes --token-file /etc/keyward/kms-token
  keyward kms doctor --encryption-config /etc/kubernetes/encryption.yaml
  keyward kms inspect --snapshot etcd.db --all-under kw1-4f1c
  keyward kms rotate --epoch 2

docs/kms.md has the whole way, from a key in the authority to an API server that uses it.";
