//! `.keyward.yaml`, and the patterns in it.

use keyward_intent::{Rules, yaml};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = yaml::text(data) else { return };
    if let Ok(rules) = Rules::read(text) {
        assert_eq!(Rules::read(&rules.write().unwrap()).unwrap(), rules);
        let _ = rules.rule_for("apps/shop/db.sealed.yaml");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "apiVersion: keyward.io/v1alpha1\nkind: SealingRules\nrecipients: {a: age1x, b: age1y}\nauthors: {ada: ssh-ed25519 AAAA}\nrules:\n- paths: [\"apps/**/*.y?ml\", \"**\"]\n  clusters: [prod]\n  groups: [{name: x, recipients: [a]}, {name: y, recipients: [b]}]\n  required: 2\n  authors: [ada]\n  scope: namespace\n  phase: steady\n  maxLife: 720h\n  allowMixed: true\n  namespaceSelector: {matchLabels: {env: prod}, matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}]}\n  conditions: [posture.compliant]\n  images: [\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]\n",
    ])
}
