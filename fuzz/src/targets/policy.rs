//! Policies, whose authors may be anyone with `sys/policies`. What stands before a zero byte is a path to decide.

use keyward_authority::policy::{Acl, Ask, Policy, Subject};
use keyward_authority::request::Operation;
use keyward_core::Timestamp;
use std::sync::Arc;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let (path, text) = text.split_once('\0').unwrap_or(("secret/data/a", text));
    let policy = match Policy::parse("fuzz", text) {
        Ok(policy) => Arc::new(policy),
        Err(why) => return assert!(!why.problems.is_empty() && !why.to_string().is_empty()),
    };
    let now = Timestamp::from_secs(1_700_000_000);
    for subject in [None, Some(&Subject::default())] {
        let acl = Acl::compile(&[policy.clone(), policy.clone()], subject);
        assert!(!acl.is_root());
        let _ = (acl.capabilities(path, now), acl.reaches(path, now), acl.rules(now).count());
        for operation in [Operation::Read, Operation::Update, Operation::List, Operation::Delete] {
            let _ = acl.check(&Ask { path, operation, parameters: None, wrap_ttl: None, now, who: None });
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "secret/data/a/b\0path \"secret/data/+/b\" { capabilities = [\"read\", \"list\"] }\npath \"secret/*\" { policy = \
         \"deny\" }",
        "path \"a/{{identity.entity.metadata.team}}/*\" { capabilities = [\"create\"] required_parameters = [\"x\"] \
         allowed_parameters = { \"a*\" = [\"1\", \"b*\"] } denied_parameters = { \"*\" = [] } min_wrapping_ttl = \"1m\" \
         max_wrapping_ttl = \"1h\" }",
        "{\"path\": {\"sys/*\": {\"capabilities\": [\"sudo\", \"update\"]}}}",
    ])
}
