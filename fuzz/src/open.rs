//! An open authority in memory, whose time stands still and whose randomness repeats.

use keyward_authority::fields::Fields;
use keyward_authority::request::{Media, Operation, Request, Shown};
use keyward_authority::seal::Shares;
use keyward_authority::settings::Settings;
use keyward_authority_server::node::Node;
use keyward_authority_server::reply::Reply;
use keyward_core::{Timestamp, random};
use keyward_crypto::Secret;
use keyward_storage::Memory;
use keyward_testkit::fakes::{FixedClock, SeededRandom};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tokio::runtime::Runtime;

/// What all targets wait by: making one for each run would take longer than most runs.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    RUNTIME.get_or_init(build)
}

/// One authority and who asks it.
pub(crate) struct Open {
    pub(crate) node: Arc<Node>,
    pub(crate) root: String,
}

impl Open {
    /// Initialised and unsealed, with what every authority begins with.
    pub(crate) fn new() -> Open {
        let clock = Arc::new(FixedClock::at(Timestamp::from_secs(1_700_000_000)));
        let random = Arc::new(SeededRandom::new(1));
        let node = Arc::new(Node::new(Arc::new(Memory::new()), clock, random, Settings::default()));
        let root = runtime().block_on(async {
            let mut made = node.prepare(Shares { shares: 1, threshold: 1 }).unwrap();
            let share: String = made.shares[0].expose().iter().map(|byte| format!("{byte:02x}")).collect();
            let root = made.root_token.expose().clone();
            node.install(&mut made).await.unwrap();
            node.unseal(&share).await.unwrap();
            root
        });
        Open { node, root }
    }

    /// The status and body of an answer to `token`.
    pub(crate) fn ask(&self, token: &str, operation: Operation, path: &str, fields: Fields) -> Reply {
        let request = Request {
            id: random::uuid(self.node.random()),
            operation,
            path: path.to_owned(),
            fields,
            token: Some(Secret::new(token.to_owned())),
            shown: Shown::default(),
            wrap: None,
            headers: Vec::new(),
            remote: None,
            certificates: Default::default(),
            media: if operation == Operation::Patch { Media::MergePatch } else { Media::Json },
            head: false,
            arrived: self.node.now(),
        };
        runtime().block_on(self.node.serve(request))
    }

    /// Writes as root what must be accepted.
    pub(crate) fn write(&self, path: &str, body: &Value) -> Value {
        let fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        let reply = self.ask(&self.root, Operation::Update, path, fields);
        assert!(reply.status < 300, "{path}: {}", String::from_utf8_lossy(&reply.body));
        serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
    }
}
