//! An authority in a test: a store in memory, a fixed clock, seeded randomness, and requests as clients write
//! them.

use crate::act::{Act, Failure, Undertaking, Yielded};
use crate::audit::{self, Exchange};
use crate::authority::{Admitted, Authority, Due, Outcome};
use crate::context::Effect;
use crate::fields::Fields;
use crate::lease::Completion;
use crate::mounts::{self, Mount};
use crate::outside::{self, Ask, Gathered, Question, Told, ldap};
use crate::refusal::Refusal;
use crate::request::{Media, Operation, Request, Shown, Wrap};
use crate::response::Response;
use crate::seal::{self, Shares, Unsealing};
use crate::settings::Settings;
use keyward_core::{Clock, Fault, Rev, Timestamp, random};
use keyward_crypto::Secret;
use keyward_testkit::fakes::{FixedClock, SeededRandom};
use keyward_testkit::store::MapStore;
use serde_json::Value;
use std::time::Duration;

/// An initialized, unsealed authority.
pub(crate) struct Bench {
    pub(crate) store: MapStore,
    pub(crate) clock: FixedClock,
    pub(crate) random: SeededRandom,
    pub(crate) authority: Authority,
    pub(crate) root: String,
    /// What would have been written to an audit device, if one is enabled.
    pub(crate) records: Vec<String>,
    /// What lies outside and answers what decisions lack; silent, unless a test says otherwise.
    pub(crate) world: Box<dyn Fn(&Ask) -> outside::Answer>,
    /// What does things outside; there is nothing there, unless a test says otherwise.
    pub(crate) deeds: Box<dyn FnMut(&Act) -> Yielded>,
    /// The same for directories.
    pub(crate) directory: Box<dyn Fn(&ldap::Ask) -> ldap::Answer>,
}

/// What came of a request: the status and the body.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The envelope's data.
    pub(crate) fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// The messages of a refusal, joined.
    pub(crate) fn errors(&self) -> String {
        self.body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// The present moment of `bench`.
pub(crate) fn now(bench: &Bench) -> Timestamp {
    bench.clock.now()
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let (mut store, random) = (MapStore::default(), SeededRandom::new(7));
        let clock = FixedClock::at(Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap());
        let shares = Shares { shares: 1, threshold: 1 };
        let made = seal::initialize(&store, shares, clock.now(), &random).unwrap();
        store.commit(made.batch).unwrap();
        let config = seal::config(&store).unwrap().unwrap();
        let key = hex::encode(made.shares[0].expose());
        let opened = Unsealing::default().submit(&config, &key, &Settings::default(), &store, &random);
        let authority = opened.unwrap().unwrap();
        let root = made.root_token.expose().clone();
        let silent = |ask: &Ask| Err(format!("{} does not answer", ask.url));
        let deeds = |_: &Act| Err(Failure { why: "nobody is there".to_owned(), nothing_done: true });
        let (world, deeds) = (Box::new(silent), Box::new(deeds));
        let directory = Box::new(|_: &_| Err("no directory answers".to_owned()));
        Bench { store, clock, random, authority, root, records: Vec::new(), world, directory, deeds }
    }

    /// A request with the root token. `body` is JSON; `""` is none.
    pub(crate) fn root(&mut self, operation: Operation, path: &str, body: &str) -> Answer {
        let token = self.root.clone();
        self.ask(&token, operation, path, body)
    }

    /// A write with the root token that must succeed.
    pub(crate) fn write(&mut self, path: &str, body: &str) -> Answer {
        let answer = self.root(Operation::Update, path, body);
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer
    }

    /// A read with the root token that must succeed.
    pub(crate) fn read(&mut self, path: &str) -> Answer {
        let answer = self.root(Operation::Read, path, "");
        assert!(answer.status < 300, "{path}: {answer:?}");
        answer
    }

    /// A request with `token`; an empty one is none.
    pub(crate) fn ask(&mut self, token: &str, operation: Operation, path: &str, body: &str) -> Answer {
        let request = self.request(token, operation, path, body);
        self.send(&request)
    }

    /// A request with `token` whose answer is to be wrapped.
    pub(crate) fn ask_wrapped(
        &mut self,
        token: &str,
        operation: Operation,
        path: &str,
        body: &str,
    ) -> Answer {
        let mut request = self.request(token, operation, path, body);
        request.wrap = Some(Wrap { ttl: Duration::from_secs(60) });
        self.send(&request)
    }

    /// A request to be changed before it is sent. The path may carry a query.
    pub(crate) fn request(&self, token: &str, operation: Operation, path: &str, body: &str) -> Request {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let fields = match query {
            "" => Fields::parse(body.as_bytes()).unwrap(),
            query => Fields::from_pairs(query.split('&').filter_map(|pair| pair.split_once('='))),
        };
        let slash = if operation == Operation::List && !path.ends_with('/') { "/" } else { "" };
        Request {
            id: random::uuid(&self.random),
            operation,
            path: format!("{path}{slash}"),
            fields,
            token: (!token.is_empty()).then(|| Secret::new(token.to_owned())),
            shown: Shown::default(),
            wrap: None,
            headers: Vec::new(),
            remote: "127.0.0.1:4321".parse().ok(),
            certificates: Default::default(),
            media: if operation == Operation::Patch { Media::MergePatch } else { Media::Json },
            head: false,
            arrived: self.clock.now(),
        }
    }

    /// Admits and carries out `request`, commits, and runs the jobs it asked for.
    pub(crate) fn send(&mut self, request: &Request) -> Answer {
        match self.try_send(request) {
            Ok(response) => {
                let body = response.body(&request.id).unwrap();
                let body = if body.is_empty() {
                    Value::Null
                } else {
                    serde_json::from_slice(&body).unwrap_or(Value::Null)
                };
                Answer { status: response.http_status(), body }
            }
            Err(refusal) => {
                Answer { status: refusal.status(), body: serde_json::json!({ "errors": refusal.messages() }) }
            }
        }
    }

    /// As [`Bench::send`], for answers that are not JSON.
    pub(crate) fn answer(&mut self, request: &Request) -> Result<Response, Refusal> {
        self.try_send(request)
    }

    fn try_send(&mut self, request: &Request) -> Result<Response, Refusal> {
        let now = self.clock.now();
        let auditing = self.authority.auditing(&self.store, &self.random)?;
        let admitted = match self.authority.admit(&self.store, request, now, &self.random) {
            Ok(admitted) => admitted,
            Err(rejected) => {
                let exchange = Exchange::new(&auditing, request, (&*rejected).into());
                self.record(&exchange.request_record(now));
                self.record(&exchange.response_record(Err(&rejected.refusal), now));
                self.store.commit(rejected.claim)?;
                return Err(rejected.refusal);
            }
        };
        let exchange = Exchange::new(&auditing, request, (&*admitted).into());
        self.record(&exchange.request_record(now));
        self.store.commit(admitted.claim.clone())?;
        let outcome = self.carry_out(request, &admitted).and_then(|mut outcome| {
            let rev = self.store.commit(std::mem::take(&mut outcome.batch))?;
            self.undertake_all(request, &mut outcome, rev)?;
            outcome.settled()
        });
        self.record(&exchange.response_record(outcome.as_ref().map(|outcome| &outcome.response), now));
        let outcome = outcome?;
        for effect in outcome.effects {
            if effect == Effect::RunJobs {
                self.work();
            }
        }
        Ok(outcome.response)
    }

    /// Carries out what was admitted, without committing it; asks the world that the test made for what the
    /// decision lacks.
    pub(crate) fn carry_out(&self, request: &Request, admitted: &Admitted) -> Result<Box<Outcome>, Refusal> {
        let (mut gathered, now) = (Gathered::default(), self.clock.now());
        loop {
            let outcome =
                self.authority.carry_out(&self.store, request, admitted, &gathered, now, &self.random);
            match outcome {
                Err(Refusal::Lacks(question)) => {
                    let told = match &*question {
                        Question::Http(ask) => Told::Http((self.world)(ask)),
                        Question::Ldap(ask) => Told::Ldap((self.directory)(ask)),
                        Question::Leisure => Told::Leisure,
                    };
                    gathered = gathered.with(question, told)?;
                }
                outcome => return outcome,
            }
        }
    }

    fn record(&mut self, record: &audit::Record) {
        let form = audit::Form { hmac_accessor: true, elide_lists: false };
        self.records.extend(record.text(form).map(str::to_owned));
    }

    /// Enables an audit device, so that records are kept.
    pub(crate) fn enable_audit(&mut self, options: &[(&str, &str)]) {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let device = audit::Device {
            path: "test/".to_owned(),
            kind: "stdout".to_owned(),
            description: String::new(),
            local: false,
            options,
        };
        let mut txn = self.authority.begin(&self.store, &self.random).unwrap();
        audit::enable(&mut txn, device).unwrap();
        let batch = txn.finish();
        self.store.commit(batch).unwrap();
    }

    /// The last records: of the last request and of its answer.
    pub(crate) fn last_records(&self) -> (Value, Value) {
        let [.., request, response] = &self.records[..] else { panic!("no records") };
        (serde_json::from_str(request).unwrap(), serde_json::from_str(response).unwrap())
    }

    fn undertake_all(&mut self, request: &Request, outcome: &mut Outcome, rev: Rev) -> Result<(), Refusal> {
        let now = self.clock.now();
        for effect in &outcome.effects {
            let Effect::Undertake(undertaking) = effect else { continue };
            if let Some(completion) = self.undertake(undertaking, Some(rev))? {
                outcome.response.complete(completion, now);
                if let Some(Wrap { ttl }) = request.wrap {
                    let response = &outcome.response;
                    let (wrapped, batch) =
                        self.authority.wrap(&self.store, request, response, ttl, now, &self.random)?;
                    self.store.commit(batch)?;
                    outcome.response = wrapped;
                }
            }
        }
        Ok(())
    }

    /// Has `undertaking`, which was recorded at a revision, done by the world that the test made, and records what came of
    /// it, as a server does.
    pub(crate) fn undertake(
        &mut self,
        undertaking: &Undertaking,
        mut recorded: Option<Rev>,
    ) -> Result<Option<Completion>, Refusal> {
        let yielded = (self.deeds)(&undertaking.act);
        loop {
            let (now, known) = (self.clock.now(), recorded.take());
            let about = (&undertaking.about, known);
            let concluded = self.authority.conclude(&self.store, about, &yielded, now, &self.random)?;
            match self.store.commit(concluded.batch) {
                Err(Fault::Conflict(_)) if known.is_some() => {}
                committed => return committed.map_err(Refusal::from).and(concluded.verdict),
            }
        }
    }

    fn do_what_is_due(&mut self, next: impl Fn(&Bench) -> Vec<Due>) {
        loop {
            let chunks = next(self);
            if chunks.is_empty() {
                return;
            }
            let commit = |due: Due| match self.store.commit(due.batch) {
                Ok(_) => due.undertakings,
                // It is among the next.
                Err(Fault::Conflict(_)) => Vec::new(),
                Err(fault) => panic!("{fault:?}"),
            };
            // Together, as a server does it: no chunk knows what those before it changed.
            for undertaking in chunks.into_iter().flat_map(commit).collect::<Vec<_>>() {
                // What failed is due again later.
                let _ = self.undertake(&undertaking, None);
            }
        }
    }

    /// Carries out all stored jobs, and what they make due.
    pub(crate) fn work(&mut self) {
        self.do_what_is_due(|bench| {
            bench.authority.work(&bench.store, bench.clock.now(), &bench.random).unwrap()
        });
    }

    /// Lets time pass, and does what it asks for.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.clock.advance(span);
        self.do_what_is_due(|bench| {
            bench.authority.tick(&bench.store, bench.clock.now(), &bench.random).unwrap()
        });
    }

    /// A token with `policies`.
    pub(crate) fn token(&mut self, policies: &[&str]) -> String {
        let body = serde_json::json!({ "policies": policies }).to_string();
        let answer = self.write("auth/token/create", &body);
        answer.body["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// A token made with the body `body` by `creator`.
    pub(crate) fn created(&mut self, creator: &str, body: &str) -> String {
        let answer = self.ask(creator, Operation::Update, "auth/token/create", body);
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        answer.body["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Stores the policy `name`.
    pub(crate) fn policy(&mut self, name: &str, text: &str) {
        let mut txn = self.authority.begin(&self.store, &self.random).unwrap();
        crate::policies::put(&mut txn, name, text).unwrap();
        let batch = txn.finish();
        self.store.commit(batch).unwrap();
    }

    /// Mounts an auth method of `kind` at `auth/<path>/`.
    pub(crate) fn mount_auth(&mut self, kind: &str, path: &str) -> Mount {
        let mut txn = self.authority.begin(&self.store, &self.random).unwrap();
        let mount = Mount::new(kind, &format!("auth/{path}/"), &self.random);
        mounts::put(&mut txn, &mount).unwrap();
        let batch = txn.finish();
        self.store.commit(batch).unwrap();
        mount
    }

    /// The number of entries below the storage key `prefix`.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.store.entries().filter(|(key, _)| key.starts_with(prefix.as_bytes())).count()
    }
}
