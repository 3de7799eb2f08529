//! What a policy engine signs of workloads: whoever may report has a key of their own, and signs what they like.

use keyward_core::Timestamp;
use keyward_posture::{Finding, Images, NodeState, Record, Ruling, Said, Subject, Tier, Verdict};

pub(crate) fn run(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else { return };
    if let Said::Verdict(verdict) = &record.said {
        assert!(verdict.compliant() == (verdict.critical().count() == 0));
        let _ = (verdict.policies(), verdict.violations().count(), verdict.exceptions().count());
        let _ = verdict.state.as_deref().map(NodeState::healthy);
    }
    // What was read is signed as it is read.
    let text = serde_json::to_string(&record).unwrap_or_else(|why| panic!("{record:?}: {why}"));
    assert_eq!(serde_json::from_str::<Record>(&text).ok(), Some(record));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let subject =
        Subject::Pod { namespace: "shop".to_owned(), name: "api-1".to_owned(), uid: "u1".to_owned() };
    let ruling = Ruling {
        policy: "no-root".to_owned(),
        result: Finding::Fail,
        tier: Some(Tier::Critical),
        critical: true,
        rules: vec!["non-root".to_owned()],
        exceptions: vec!["shop/for-now".to_owned()],
    };
    let at = Timestamp::from_secs(1_800_000_000);
    let images = Images { digests: [format!("sha256:{}", "a".repeat(64))].into(), unpinned: 1 };
    let node = Some("n1".to_owned());
    let verdict = Verdict { images: Some(images), node, ..Verdict::new(subject.clone(), at, &[ruling]) };
    let object = serde_json::json!({"metadata": {"labels": {"pool": "a"}}, "spec": {"taints": [{"key": "t"}]},
        "status": {"conditions": [{"type": "DiskPressure", "status": "True"}], "nodeInfo": {"osImage": "x"}}});
    let machine = Subject::Node { name: "n1".to_owned(), uid: "u2".to_owned() };
    let of_node =
        Verdict { state: Some(Box::new(NodeState::of(&object))), ..Verdict::new(machine.clone(), at, []) };
    let record = |said| Record { session: "s".to_owned(), cluster: "c".to_owned(), sequence: 1, at, said };
    let seed = |said| serde_json::to_vec(&record(said)).unwrap();
    vec![
        seed(Said::Verdict(verdict)),
        seed(Said::Verdict(of_node)),
        seed(Said::Gone(subject)),
        seed(Said::Gone(machine)),
        seed(Said::Holds),
    ]
}
