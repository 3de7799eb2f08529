//! One authority process: the store, the seal, and the way of a request through both.

use crate::acts::{Acts, Reach};
use crate::audit::Devices;
use crate::company::{Companion, Company};
use crate::log;
use crate::made::{self, Made};
use crate::outside::Outside;
use crate::reply::Reply;
use arc_swap::{ArcSwap, ArcSwapOption};
use keyward_authority::act::{About, Act, Undertaking, Yielded};
use keyward_authority::audit::{Auditing, Device, Exchange, Record, Subject};
use keyward_authority::authority::{Admitted, Authority, Due, Judged, Outcome, Rejected};
use keyward_authority::context::Effect;
use keyward_authority::lease::Completion;
use keyward_authority::outside::{Gathered, Question};
use keyward_authority::refusal::Refusal;
use keyward_authority::request::{Operation, Request, Wrap};
use keyward_authority::response::{Data, Response};
use keyward_authority::seal::{self, Initialized, SealConfig, Shares, Unsealing};
use keyward_authority::settings::Settings;
use keyward_core::{Batch, Clock, Fault, Random, Rev, Timestamp, View};
use keyward_storage::Store;
use parking_lot::Mutex;
use serde_json::{Map, json};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// How long a request waits for what its jobs made due outside.
const JOBS_PATIENCE: Duration = Duration::from_secs(20);

/// How long a request waits for audit devices that neither accept nor refuse.
const AUDIT_PATIENCE: Duration = Duration::from_secs(5);

/// Acts outside that are under way at a time because of what is due: more than the connections to a database, so that
/// one that is slow does not hold up the others.
const HANDS: usize = 128;

/// How often a request is decided anew after another one changed what it relied on.
const ATTEMPTS: usize = 64;

/// After how many times it waits for its turn. Of many who change one entry somebody would lose every time otherwise, and all
/// of them decide in vain meanwhile.
const RIVALRY: usize = 2;

/// See the module. One lock: the shares collected so far, which only unsealing touches.
pub struct Node {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    settings: Settings,
    declared: Vec<Device>,
    /// Known from the first time it is read: it does not change, and health must not wait for the store.
    seal: ArcSwapOption<SealConfig>,
    authority: ArcSwapOption<Authority>,
    unsealing: Mutex<Unsealing>,
    devices: Devices,
    outside: Arc<Outside>,
    acts: Acts,
    /// Who has something done outside.
    company: Arc<Company>,
    made: Made,
    /// Acts that may be under way at a time, requests apart.
    hands: Arc<Semaphore>,
    /// Whose turn it is among requests that others keep coming before.
    turn: Semaphore,
    /// The request headers that records show.
    recorded: ArcSwap<Vec<String>>,
}

type Carried = Result<Box<Outcome>, Refusal>;

/// Challenges have a queue of their own: strangers cannot hold up what leases need.
fn needs_hand(undertaking: &Undertaking) -> bool {
    !matches!(undertaking.act, Act::Challenge(_))
}

/// Whether nothing happened but that something was read.
fn is_only_read(outcome: &Carried) -> bool {
    match outcome {
        Ok(outcome) => outcome.batch.is_empty() && outcome.effects.is_empty(),
        Err(refusal) => !matches!(refusal, Refusal::Lacks(_)),
    }
}

/// What came of the first look at a request.
struct Judgement {
    auditing: Arc<Auditing>,
    decided: Result<Box<Admitted>, Box<Rejected>>,
    /// What carrying it out in the same look came to, where nothing need be recorded or claimed before.
    early: Option<Carried>,
}

/// What anyone may know of the seal.
#[derive(Clone, Debug)]
pub struct SealState {
    /// None before initialization.
    pub config: Option<Arc<SealConfig>>,
    /// No root key in memory.
    pub sealed: bool,
    /// Shares collected.
    pub progress: usize,
    /// Names the attempt to unseal.
    pub nonce: String,
}

impl Node {
    /// A sealed node on `store`.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
    ) -> Node {
        let outside = Arc::new(Outside::new());
        Node {
            company: Company::new(store.clone()),
            store,
            clock,
            random,
            settings,
            declared: Vec::new(),
            seal: ArcSwapOption::empty(),
            authority: ArcSwapOption::empty(),
            unsealing: Mutex::default(),
            devices: Devices::new(Arc::new(|what: &str| log::error(what)), AUDIT_PATIENCE),
            acts: Acts::new(Reach::default(), outside.clone()),
            made: Made::default(),
            outside,
            hands: Arc::new(Semaphore::new(HANDS)),
            turn: Semaphore::new(1),
            recorded: ArcSwap::default(),
        }
    }

    /// With audit devices that the configuration declares: they are enabled before anything is served.
    #[must_use]
    pub fn with_audit(mut self, declared: Vec<Device>) -> Node {
        self.declared = declared;
        self
    }

    /// With challenges of the ACME server that lead as far as the configuration says.
    #[must_use]
    pub fn with_challenges(mut self, reach: Reach) -> Node {
        self.acts = Acts::new(reach, self.outside.clone());
        self
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The node's randomness.
    pub fn random(&self) -> &dyn Random {
        &*self.random
    }

    fn look<R>(&self, mut read: impl FnMut(&dyn View) -> Result<R, Refusal>) -> Result<R, Refusal> {
        let mut found = None;
        self.store.look(&mut |view| match read(view) {
            // A fault of the store is the store's to handle: it may run the closure on another snapshot.
            Err(Refusal::Storage(fault)) => Err(fault),
            outcome => {
                found = Some(outcome);
                Ok(())
            }
        })?;
        found.unwrap_or_else(|| Err(Refusal::Internal("the store did not read".to_owned())))
    }

    /// True when there is no root key in memory.
    pub fn is_sealed(&self) -> bool {
        self.authority.load().is_none()
    }

    /// What anyone may know of the seal.
    pub fn seal_state(&self) -> Result<SealState, Refusal> {
        let config = self.seal_config()?;
        let unsealing = self.unsealing.lock();
        Ok(SealState {
            config,
            sealed: self.is_sealed(),
            progress: unsealing.progress(),
            nonce: unsealing.nonce().to_owned(),
        })
    }

    fn seal_config(&self) -> Result<Option<Arc<SealConfig>>, Refusal> {
        if let Some(known) = self.seal.load_full() {
            return Ok(Some(known));
        }
        let found = self.look(seal::config)?.map(Arc::new);
        if let Some(config) = &found {
            self.seal.store(Some(config.clone()));
        }
        Ok(found)
    }

    /// Why the store refuses everything since a write failed; the process should end.
    pub fn poisoned(&self) -> Option<String> {
        self.store.status().poisoned
    }

    /// Makes a new authority. Whoever comes second of two at the same time is told that it is there already.
    pub async fn initialize(&self, wanted: Shares) -> Result<Initialized, Refusal> {
        let mut made = self.prepare(wanted)?;
        self.install(&mut made).await?;
        Ok(made)
    }

    /// A new authority that nothing knows of yet, for who must keep its keys before there is anything to open.
    pub fn prepare(&self, wanted: Shares) -> Result<Initialized, Refusal> {
        let now = self.now();
        self.look(|view| seal::initialize(view, wanted, now, self.random()))
    }

    /// Stores what [`Node::prepare`] made.
    pub async fn install(&self, made: &mut Initialized) -> Result<(), Refusal> {
        match self.store.commit(std::mem::take(&mut made.batch)).await {
            Ok(_) => Ok(()),
            Err(Fault::Conflict(_)) => Err(Refusal::invalid("Vault is already initialized")),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Takes an unseal share; see [`Unsealing::submit`].
    pub async fn unseal(&self, share: &str) -> Result<(), Refusal> {
        if !self.is_sealed() {
            return Ok(());
        }
        let config = self.seal_config()?.ok_or_else(|| Refusal::invalid("Vault is not initialized"))?;
        let submit = |view: &dyn View| {
            self.unsealing.lock().submit(&config, share, &self.settings, view, self.random())
        };
        let opened = self.look(submit)?;
        if let Some(authority) = opened {
            self.declare_audit(&authority).await?;
            self.authority.store(Some(Arc::new(authority)));
        }
        Ok(())
    }

    async fn declare_audit(&self, authority: &Authority) -> Result<(), Refusal> {
        for device in &self.declared {
            self.devices.probe(device).map_err(Refusal::invalid)?;
        }
        let declare = |view: &dyn View| authority.declare_audit(view, &self.declared, self.random());
        self.drain(declare).await
    }

    /// Forgets the shares collected so far.
    pub fn reset_unsealing(&self) {
        self.unsealing.lock().reset();
    }

    /// Forgets the root key.
    pub fn seal(&self) {
        self.authority.store(None);
    }

    /// The audit devices.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The request headers that records show, by lower-case name.
    pub fn recorded_headers(&self) -> impl Deref<Target = Arc<Vec<String>>> {
        self.recorded.load()
    }

    /// Carries out one request: nothing is changed before its record is written, nothing is sent before its
    /// answer's is.
    pub async fn serve(self: &Arc<Node>, request: Request) -> Reply {
        let request = Arc::new(request);
        match self.try_serve(&request).await.and_then(|response| Reply::of(&response, &request.id)) {
            Ok(reply) => reply,
            Err(refusal) => {
                if let Refusal::Denied { reason } = &refusal {
                    let denied = format!("request {} was denied: {reason}", request.id);
                    // A refused login tells its caller nothing, and there is no token to look up: the operator must
                    // see why without having asked before.
                    if request.token.is_none() { log::warn(&denied) } else { log::debug(&denied) }
                }
                Reply::refused(&refusal)
            }
        }
    }

    async fn try_serve(self: &Arc<Node>, request: &Arc<Request>) -> Result<Response, Refusal> {
        let authority = self.authority.load();
        let authority = authority.as_ref().ok_or(Refusal::Sealed)?;
        let Judgement { auditing, decided, early } = self.judge(authority, request).await?;
        let exchange = (!auditing.devices().is_empty()).then(|| {
            let subject = match &decided {
                Ok(admitted) => Subject::from(&**admitted),
                Err(rejected) => Subject::from(&**rejected),
            };
            Exchange::new(&auditing, request, subject)
        });
        // What was carried out already has changed nothing: one write for both records will do.
        let together = early.is_some();
        if let Some(exchange) = exchange.as_ref().filter(|_| !together) {
            self.record(exchange.request_record(self.now())).await?;
        }
        let outcome = match (decided, early) {
            (Err(rejected), _) => Err(rejected.refusal),
            (Ok(_), Some(done)) if is_only_read(&done) => done.and_then(Outcome::settled),
            // Apart from the rest, which every request carries around with it.
            (Ok(admitted), early) => {
                Box::pin(self.carry_out(authority, request, admitted.into(), early)).await
            }
        };
        if let Some(exchange) = &exchange {
            let response = outcome.as_ref().map(|outcome| &outcome.response);
            let response = exchange.response_record(response, self.now());
            if together {
                let written =
                    self.devices.record_both(exchange.request_record(request.arrived), response).await;
                written.map_err(|why| Refusal::Internal(why.to_string()))?;
            } else {
                self.record(response).await?;
            }
        }
        let mut outcome = outcome?;
        for effect in std::mem::take(&mut outcome.effects) {
            match effect {
                Effect::ShowAuditHeads => outcome.response.data = self.audit_heads()?,
                Effect::Seal => self.seal(),
                Effect::RunJobs => self.run_jobs(authority).await?,
                // Seen to around the commit.
                Effect::ProbeAudit(_) | Effect::Prove(_) | Effect::Undertake(_) => {}
            }
        }
        Ok(outcome.response)
    }

    /// The last record of each audit device.
    fn audit_heads(&self) -> Result<Option<Data>, Refusal> {
        let heads = self.devices.status().into_iter().map(|device| {
            let head = device.head.map(|head| json!({ "seq": head.seq, "hash": head.hash() }));
            (device.path, head.unwrap_or_default())
        });
        Data::of(&json!({ "heads": heads.collect::<Map<_, _>>() })).map(Some)
    }

    async fn record(&self, record: Record) -> Result<(), Refusal> {
        let written = self.devices.record(record).await;
        written.map_err(|why| Refusal::Internal(why.to_string()))
    }

    /// Takes over the devices and headers of a snapshot, if they changed.
    fn follow(&self, auditing: &Auditing) {
        if !auditing.headers().eq(self.recorded.load().iter().map(String::as_str)) {
            self.recorded.store(Arc::new(auditing.headers().map(str::to_owned).collect()));
        }
        self.devices.configure(auditing);
    }

    async fn judge(&self, authority: &Authority, request: &Request) -> Result<Judgement, Refusal> {
        for _ in 0..ATTEMPTS {
            let mut judgement = self.look(|view| self.look_once(view, authority, request))?;
            self.follow(&judgement.auditing);
            let claim = match &mut judgement.decided {
                Ok(admitted) => std::mem::take(&mut admitted.claim),
                Err(rejected) => std::mem::take(&mut rejected.claim),
            };
            match self.commit(claim).await {
                Err(Fault::Conflict(_)) => {}
                Err(fault) => return Err(fault.into()),
                Ok(_) => return Ok(judgement),
            }
        }
        Err(Refusal::Storage(Fault::Conflict(Vec::new())))
    }

    /// Judges a request, and carries it out in the same look where nothing has to come between.
    fn look_once(
        &self,
        view: &dyn View,
        authority: &Authority,
        request: &Request,
    ) -> Result<Judgement, Refusal> {
        let now = self.now();
        let Judged { auditing, decided, txn } = authority.judge(view, request, now, self.random())?;
        let silent = auditing.devices().is_empty();
        let at_once = |admitted: &&Admitted| {
            let reads = matches!(admitted.operation, Operation::Read | Operation::List | Operation::Help);
            (silent || reads) && admitted.claim.is_empty() && !admitted.route.traits.heavy
        };
        let early = decided
            .as_deref()
            .ok()
            .filter(at_once)
            .map(|admitted| authority.carry_out_in(txn, request, admitted, &Gathered::default(), now));
        match early {
            Some(Err(Refusal::Storage(fault))) => Err(fault.into()),
            // It is decided anew once it is recorded.
            Some(outcome) if !silent && !is_only_read(&outcome) => {
                Ok(Judgement { auditing, decided, early: None })
            }
            early => Ok(Judgement { auditing, decided, early }),
        }
    }

    async fn carry_out(
        self: &Arc<Node>,
        authority: &Arc<Authority>,
        request: &Arc<Request>,
        admitted: Arc<Admitted>,
        mut early: Option<Carried>,
    ) -> Carried {
        let mut gathered = Arc::new(Gathered::default());
        let mut aside = admitted.route.traits.heavy;
        let mut conflicts = 0;
        for _ in 0..ATTEMPTS {
            let mut turn = if conflicts < RIVALRY { None } else { self.turn.acquire().await.ok() };
            let decided = if let Some(decided) = early.take() {
                decided
            } else if aside {
                let (node, authority) = (self.clone(), authority.clone());
                let (request, admitted, gathered) = (request.clone(), admitted.clone(), gathered.clone());
                let decide = move || node.decide(&authority, &request, &admitted, &gathered);
                tokio::task::spawn_blocking(decide)
                    .await
                    .map_err(|_| Refusal::Internal("the request's handler failed".to_owned()))?
            } else {
                self.decide(authority, request, &admitted, &gathered)
            };
            let mut outcome = match decided {
                Err(Refusal::Lacks(question)) => {
                    drop(turn);
                    aside |= *question == Question::Leisure;
                    let told = self.outside.answer(&question).await;
                    gathered = Arc::new(gathered.with(question, told)?);
                    continue;
                }
                decided => decided?,
            };
            // Nobody waits for what is done outside.
            turn = turn.filter(|_| outcome.effects.is_empty());
            for effect in &outcome.effects {
                match effect {
                    Effect::ProbeAudit(device) => self.devices.probe(device).map_err(Refusal::invalid)?,
                    Effect::Prove(act) => self.acts.perform(act).await.map(drop).map_err(|failure| {
                        Refusal::invalid(format!("error verifying connection: {}", failure.why))
                    })?,
                    _ => {}
                }
            }
            let acts = outcome.effects.iter().any(|effect| matches!(effect, Effect::Undertake(_)));
            let companion = acts.then(|| self.company.join());
            let committed = self.commit_with(companion.as_ref(), std::mem::take(&mut outcome.batch)).await;
            drop((turn, companion));
            match committed {
                Err(Fault::Conflict(_)) => conflicts += 1,
                Err(fault) => return Err(fault.into()),
                Ok(rev) => {
                    let effects = &mut outcome.effects;
                    if let Some(completion) = self.undertake_all(authority, effects, rev).await? {
                        outcome.response.complete(completion, self.now());
                        self.wrap(authority, request, &mut outcome.response).await?;
                    }
                    return outcome.settled();
                }
            }
        }
        Err(Refusal::Storage(Fault::Conflict(Vec::new())))
    }

    fn decide(
        &self,
        authority: &Authority,
        request: &Request,
        admitted: &Admitted,
        gathered: &Gathered,
    ) -> Carried {
        let now = self.now();
        self.look(|view| authority.carry_out(view, request, admitted, gathered, now, self.random()))
    }

    /// The revision it was committed at; none for a batch without writes.
    async fn commit(&self, batch: Batch) -> Result<Option<Rev>, Fault> {
        self.commit_with(None, batch).await
    }

    /// The same, with others that have something done outside.
    async fn commit_with(&self, companion: Option<&Companion>, batch: Batch) -> Result<Option<Rev>, Fault> {
        match companion {
            _ if batch.is_empty() => Ok(None),
            Some(companion) => companion.commit(batch).await.map(Some),
            None => self.store.commit(batch).await.map(Some),
        }
    }

    /// Does what a request has to have done outside, which was recorded at `rev`. Nothing of it is left half done because the client went away.
    async fn undertake_all(
        self: &Arc<Node>,
        authority: &Arc<Authority>,
        effects: &mut Vec<Effect>,
        rev: Option<Rev>,
    ) -> Result<Option<Completion>, Refusal> {
        let mut completion = None;
        if !effects.iter().any(|effect| matches!(effect, Effect::Undertake(_))) {
            return Ok(completion);
        }
        for effect in std::mem::take(effects) {
            match effect {
                Effect::Undertake(undertaking) => {
                    let (node, authority) = (self.clone(), authority.clone());
                    let doing =
                        tokio::spawn(async move { node.undertake(&authority, undertaking, rev).await });
                    let done = doing.await;
                    completion =
                        done.map_err(|_| Refusal::Internal("an act outside failed".to_owned()))??;
                }
                other => effects.push(other),
            }
        }
        Ok(completion)
    }

    /// Wraps an answer that was finished just now, if that was asked for.
    async fn wrap(
        &self,
        authority: &Authority,
        request: &Request,
        response: &mut Response,
    ) -> Result<(), Refusal> {
        let Some(Wrap { ttl }) = request.wrap else { return Ok(()) };
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let wrap = |view: &dyn View| authority.wrap(view, request, response, ttl, now, self.random());
            let (wrapped, batch) = self.look(wrap)?;
            match self.commit(batch).await {
                Err(Fault::Conflict(_)) => {}
                Err(fault) => return Err(fault.into()),
                Ok(_) => {
                    *response = wrapped;
                    return Ok(());
                }
            }
        }
        Err(Refusal::Storage(Fault::Conflict(Vec::new())))
    }

    /// Does one act; what came of it is to be committed in company.
    async fn perform(&self, act: &Act) -> (Yielded, Companion) {
        let companion = self.company.join();
        let began = Instant::now();
        let yielded = self.acts.perform(act).await;
        companion.took(began.elapsed());
        (yielded, companion)
    }

    /// Does what an answer waits for, and stores what came of it, unless that can wait. Answers with what the answer lacked.
    async fn undertake(
        self: &Arc<Node>,
        authority: &Arc<Authority>,
        Undertaking { act, about }: Undertaking,
        recorded: Option<Rev>,
    ) -> Result<Option<Completion>, Refusal> {
        let (yielded, companion) = self.perform(&act).await;
        match recorded {
            Some(rev) if matches!(yielded, Ok(None)) && about.is_told_first(self.now()) => {
                if self.made.add(about, rev) {
                    tokio::spawn(record_later(self.clone(), authority.clone()));
                }
                Ok(None)
            }
            recorded => self.conclude(authority, &about, &yielded, recorded, Some(&companion)).await,
        }
    }

    /// Records what came of an act.
    async fn conclude(
        &self,
        authority: &Authority,
        about: &About,
        yielded: &Yielded,
        mut recorded: Option<Rev>,
        companion: Option<&Companion>,
    ) -> Result<Option<Completion>, Refusal> {
        for _ in 0..ATTEMPTS {
            let (now, about) = (self.now(), (about, recorded.take()));
            let conclude = |view: &dyn View| authority.conclude(view, about, yielded, now, self.random());
            let concluded = self.look(conclude)?;
            match self.commit_with(companion, concluded.batch).await {
                Err(Fault::Conflict(_)) => {}
                Err(fault) => return Err(fault.into()),
                Ok(_) => return concluded.verdict,
            }
        }
        Err(Refusal::Storage(Fault::Conflict(Vec::new())))
    }

    /// Records which leases were made and handed out. What cannot be recorded counts as made all the same, a minute after it
    /// was begun.
    async fn record_made(&self, authority: &Authority) {
        let _turn = self.made.turn.acquire().await;
        for some in self.made.take().chunks(made::TOGETHER) {
            let together = self.look(|view| authority.conclude_made(view, some, self.now(), self.random()));
            if let Ok(batch) = together
                && self.commit(batch).await.is_ok()
            {
                continue;
            }
            for (about, _) in some {
                // One that was revoked meanwhile is taken back at once.
                if let Err(Refusal::Storage(fault)) =
                    self.conclude(authority, about, &Ok(None), None, None).await
                {
                    log::warn(&format!("it was not recorded that a lease was made: {fault}"));
                }
            }
        }
    }

    /// Carries out stored jobs until there are none, and what they made due. What takes long outside goes on behind
    /// the answer.
    async fn run_jobs(self: &Arc<Node>, authority: &Arc<Authority>) -> Result<(), Refusal> {
        // Nobody takes back what is being made.
        self.record_made(authority).await;
        let doing =
            self.do_due(authority, false, |view| authority.work(view, self.now(), self.random())).await?;
        let _ = tokio::time::timeout(JOBS_PATIENCE, doing.join_all()).await;
        Ok(())
    }

    /// Does what time asks for: expiries, unfinished jobs, key rotation.
    pub async fn tick(self: &Arc<Node>) -> Result<(), Refusal> {
        if let Some(authority) = self.authority.load_full() {
            let next = |view: &dyn View| authority.tick(view, self.now(), self.random());
            // Whatever takes long is waited for by nobody.
            self.do_due(&authority, true, next).await?.detach_all();
        }
        Ok(())
    }

    /// As many as `wanted`; none if they are busy and nobody is to wait.
    async fn take_hands(&self, wanted: u32, waiting: bool) -> Option<OwnedSemaphorePermit> {
        match waiting {
            true => self.hands.clone().acquire_many_owned(wanted).await.ok(),
            false => self.hands.clone().try_acquire_many_owned(wanted).ok(),
        }
    }

    /// Commits what `next` yields until it yields nothing; the acts outside that belong to it are under way then. Unless
    /// it is `waiting` for them, it leaves off when too many others are.
    async fn do_due(
        self: &Arc<Node>,
        authority: &Arc<Authority>,
        waiting: bool,
        next: impl Fn(&dyn View) -> Result<Vec<Due>, Refusal>,
    ) -> Result<JoinSet<()>, Refusal> {
        let mut doing = JoinSet::new();
        loop {
            let mut committing = Vec::new();
            for chunk in self.look(&next)? {
                // Before the commit, after which their time runs. There are always hands for the first: it waits for them.
                let wanted = chunk.undertakings.iter().filter(|undertaking| needs_hand(undertaking)).count();
                let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
                let waits = waiting && committing.is_empty();
                let Some(hands) = self.take_hands(wanted, waits).await else { break };
                let commit = tokio::spawn(self.store.commit(chunk.batch));
                committing.push((commit, chunk.undertakings, hands));
            }
            if committing.is_empty() {
                return Ok(doing);
            }
            let mut failed = None;
            for (commit, undertakings, hands) in committing {
                match commit.await.unwrap_or(Err(Fault::Unknown)) {
                    Ok(_) => self.begin_all(authority, undertakings, hands, &mut doing),
                    // It is among the next.
                    Err(Fault::Conflict(_)) => {}
                    Err(fault) => failed = Some(fault),
                }
            }
            if let Some(fault) = failed {
                return Err(fault.into());
            }
            // What is over takes up memory until it is taken away.
            while doing.try_join_next().is_some() {}
        }
    }

    /// Has `undertakings` done, each by one of `hands`.
    fn begin_all(
        self: &Arc<Node>,
        authority: &Arc<Authority>,
        undertakings: Vec<Undertaking>,
        mut hands: OwnedSemaphorePermit,
        doing: &mut JoinSet<()>,
    ) {
        for undertaking in undertakings {
            let hand = if needs_hand(&undertaking) { hands.split(1) } else { None };
            let (node, authority) = (self.clone(), authority.clone());
            doing.spawn(async move {
                let Undertaking { act, about } = &undertaking;
                let (yielded, companion) = node.perform(act).await;
                let concluded = node.conclude(&authority, about, &yielded, None, Some(&companion)).await;
                if let Err(why) = concluded {
                    log::warn(&format!("{about}: {why}; it is tried again"));
                }
                drop(hand);
            });
        }
    }

    /// Commits what `next` yields until it yields nothing.
    async fn drain(&self, next: impl Fn(&dyn View) -> Result<Batch, Refusal>) -> Result<(), Refusal> {
        loop {
            let batch = self.look(&next)?;
            if batch.is_empty() {
                return Ok(());
            }
            match self.store.commit(batch).await {
                Ok(_) | Err(Fault::Conflict(_)) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }
}

async fn record_later(node: Arc<Node>, authority: Arc<Authority>) {
    tokio::time::sleep(made::MOMENT).await;
    node.record_made(&authority).await;
}
