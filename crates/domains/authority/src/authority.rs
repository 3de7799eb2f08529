//! The authority: decides a request from a snapshot.
//!
//! A request goes through two pure steps, with the audit record between them: [`Authority::admit`] finds the
//! mount, the route and the caller, and says whether they may; [`Authority::carry_out`] runs the handler and
//! yields the answer with the batch to commit before it is sent. After [`keyward_core::Fault::Conflict`] both
//! run again on a new snapshot.

use crate::act::{About, Done, Failure, Undertaking, Yielded};
use crate::audit::{Auditing, Device};
use crate::barrier::RootKey;
use crate::context::{Context, Effect};
use crate::engines::{self, system::catalog};
use crate::expiry::{self, AT_ONCE};
use crate::help;
use crate::identity;
use crate::lease::{self, Completion};
use crate::memo::Memo;
use crate::mounts::{self, Mount};
use crate::nonces::Nonces;
use crate::outside::Gathered;
use crate::params::Params;
use crate::policy::{Ask, Parameters, Reason};
use crate::posture::{Seen, Verdicts};
use crate::refusal::Refusal;
use crate::request::{Media, Operation, Request};
use crate::response::{Data, Response};
use crate::rotation::Rotation;
use crate::route::Route;
use crate::settings::Settings;
use crate::token::{self, Caller};
use crate::txn::Txn;
use crate::work;
use crate::wrapping;
use keyward_core::{Batch, Random, Rev, Timestamp, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many built things are kept: tokens in use, compiled rights, transit keys.
const MEMO_ITEMS: usize = 20_000;

/// An unsealed authority. Dropping it seals.
pub struct Authority {
    root: RootKey,
    memo: Memo,
    nonces: Nonces,
    verdicts: Verdicts,
    settings: Settings,
}

/// A request that may be carried out.
pub struct Admitted {
    /// Creation or update, decided.
    pub operation: Operation,
    /// The mount.
    pub mount: Arc<Mount>,
    /// The route.
    pub route: &'static Route,
    /// What its pattern captured.
    pub params: Params,
    /// Who asks; nobody on open routes.
    pub caller: Option<Caller>,
    /// The policies that allow it, by name.
    pub granting: Vec<String>,
    /// Which verdicts conditions looked at; see [`Seen::digests`].
    pub posture: BTreeMap<String, String>,
    /// Claims one use of a token with a limited number; committed before the request is carried out. When that
    /// was done, a conflict calls for [`Authority::carry_out`] alone: admitting again would claim again.
    pub claim: Batch,
}

/// A request that may not, with what is known of the caller for the audit record.
pub struct Rejected {
    /// Why.
    pub refusal: Refusal,
    /// Who asked, if the token was good.
    pub caller: Option<Caller>,
    /// The mount, if there is one at the path.
    pub mount: Option<Arc<Mount>>,
    /// As [`Admitted::posture`].
    pub posture: BTreeMap<String, String>,
    /// As [`Admitted::claim`]: a refused request is a use too, so that nobody tries a token out unnoticed.
    pub claim: Batch,
}

/// What came of judging a request.
pub struct Judged<'v> {
    /// What it is recorded with.
    pub auditing: Arc<Auditing>,
    /// What [`Authority::admit`] says of it.
    pub decided: Result<Box<Admitted>, Box<Rejected>>,
    /// For carrying it out in the same look; relies on nothing that judging has read.
    pub txn: Txn<'v>,
}

/// A request carried out, but for the commit.
pub struct Outcome {
    /// To be sent once the batch is durable.
    pub response: Response,
    /// To be committed; may be empty.
    pub batch: Batch,
    /// What only the server can do.
    pub effects: Vec<Effect>,
}

/// A chunk of what time asks for.
pub struct Due {
    /// To be committed; never empty.
    pub batch: Batch,
    /// To be done outside after that.
    pub undertakings: Vec<Undertaking>,
}

/// Chunks that are yielded at once. More would make the requests that are committed among them wait.
const TOGETHER: usize = 16;

impl Due {
    /// What a transaction came to, if it came to anything.
    fn only(txn: Txn<'_>) -> Vec<Due> {
        let batch = txn.finish();
        if batch.is_empty() { Vec::new() } else { vec![Due { batch, undertakings: Vec::new() }] }
    }
}

/// What came of an act outside.
pub struct Concluded {
    /// To be committed.
    pub batch: Batch,
    /// Whether the answer that waits for the act may be sent, and what it lacked.
    pub verdict: Result<Option<Completion>, Refusal>,
}

impl Outcome {
    /// What the caller is told, once the batch is durable.
    pub fn settled(mut self: Box<Outcome>) -> Result<Box<Outcome>, Refusal> {
        match self.response.refused.take() {
            Some(refusal) => Err(refusal),
            None => Ok(self),
        }
    }
}

impl Authority {
    /// An authority that `root` opens.
    pub fn new(root: RootKey, settings: Settings) -> Authority {
        let (memo, nonces, verdicts) = (Memo::new(MEMO_ITEMS), Nonces::default(), Verdicts::default());
        Authority { root, memo, nonces, verdicts, settings }
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The key that opens the key ring, for operations that wrap it anew.
    pub fn root(&self) -> &RootKey {
        &self.root
    }

    /// A transaction over `view`.
    pub fn begin<'v>(&'v self, view: &'v dyn View, random: &'v dyn Random) -> Result<Txn<'v>, Refusal> {
        Txn::begin(view, &self.memo, random, &self.root)
    }

    /// What the request is recorded with, and what [`Authority::admit`] says of it: in one look.
    pub fn judge<'v>(
        &'v self,
        view: &'v dyn View,
        request: &Request,
        now: Timestamp,
        random: &'v dyn Random,
    ) -> Result<Judged<'v>, Refusal> {
        let mut txn = self.begin(view, random)?;
        let auditing = crate::audit::auditing(&mut txn)?;
        let decided = txn.unrelied(|txn| Ok(self.admit_in(txn, view, request, now, random)))?;
        match decided {
            // Asked again on another snapshot.
            Err(rejected) if matches!(rejected.refusal, Refusal::Storage(_)) => Err(rejected.refusal),
            decided => Ok(Judged { auditing, decided, txn }),
        }
    }

    /// Who asks, for what, and whether they may.
    pub fn admit(
        &self,
        view: &dyn View,
        request: &Request,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Box<Admitted>, Box<Rejected>> {
        match self.begin(view, random) {
            Ok(mut txn) => self.admit_in(&mut txn, view, request, now, random),
            Err(refusal) => Err(Rejected::of(refusal, Known::default(), Batch::default())),
        }
    }

    fn admit_in(
        &self,
        txn: &mut Txn<'_>,
        view: &dyn View,
        request: &Request,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Box<Admitted>, Box<Rejected>> {
        let mut known = Known::default();
        let decided = self.try_admit(txn, request, now, &mut known);
        // A refused request is asked again only if the snapshot was at fault, and claims nothing then.
        let claim = match &decided {
            Err(Refusal::Storage(_)) => Ok(Batch::default()),
            _ => self.claim(view, &known, now, random),
        };
        match (decided, claim) {
            (Ok((operation, mount, route, params)), Ok(claim)) => {
                let Known { caller, granting, posture, .. } = known;
                Ok(Box::new(Admitted { operation, mount, route, params, caller, granting, posture, claim }))
            }
            (Err(refusal), Ok(claim)) => Err(Rejected::of(refusal, known, claim)),
            (_, Err(refusal)) => Err(Rejected::of(refusal, known, Batch::default())),
        }
    }

    fn try_admit(
        &self,
        txn: &mut Txn<'_>,
        request: &Request,
        now: Timestamp,
        known: &mut Known,
    ) -> Result<(Operation, Arc<Mount>, &'static Route, Params), Refusal> {
        let table = mounts::table(txn)?;
        known.mount = table.find(&request.path).cloned();
        let served = known.mount.as_ref().and_then(|mount| {
            let below = request.path.get(mount.path.len()..).unwrap_or("");
            let (route, params) = engines::of(mount)?.find(below, request.operation)?;
            Some((mount.clone(), route, params))
        });
        let open = served.as_ref().is_some_and(|(_, route, _)| route.traits.open);
        if !open {
            known.caller = Some(self.identify(txn, request, now)?);
        }
        let Some((mount, route, params)) = served else {
            // Who may not even ask learns nothing of what is there.
            self.authorize(known, request, request.operation, false, now)?;
            return Err(Refusal::NoRoute(request.path.clone()));
        };
        let operation = self.decide_operation(txn, request, (&mount, route, &params), known, now)?;
        if !open {
            self.authorize(known, request, operation, route.traits.sudo, now)?;
        }
        if mount.upgrading {
            return Err(mounts::is_upgrading());
        }
        if operation != Operation::Help
            && (route.handler(operation).is_none() || request.head && !route.traits.head)
        {
            return Err(Refusal::Unsupported);
        }
        if operation == Operation::Patch && request.media != Media::MergePatch {
            return Err(Refusal::MediaType);
        }
        Ok((operation, mount, route, params))
    }

    fn identify(&self, txn: &mut Txn<'_>, request: &Request, now: Timestamp) -> Result<Caller, Refusal> {
        let in_body = wrapping::shown_in_body(request)?;
        let Some(shown) = request.token.as_ref().or(in_body.as_ref()) else {
            return Err(wrapping::bad_token(request, Refusal::denied("no token was sent")));
        };
        token::caller(txn, shown.expose(), request.remote.map(|remote| remote.ip()), now)
            .map_err(|refusal| wrapping::bad_token(request, refusal))
    }

    fn authorize(
        &self,
        known: &mut Known,
        request: &Request,
        operation: Operation,
        sudo: bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let caller = known.caller.as_ref().ok_or(Refusal::denied("no token was sent"))?;
        let seen = Seen::default();
        let verdict = caller.acl.check(&self.ask(request, caller, &seen, operation, now));
        known.posture = seen.digests();
        if !verdict.allowed {
            return Err(match verdict.reason {
                Reason::Condition(unmet) => Refusal::denied(format!("{unmet}{}", seen.words())),
                _ => Refusal::denied("no policy of the token allows the operation on this path"),
            });
        }
        if sudo && !verdict.sudo {
            return Err(Refusal::denied("the path needs the sudo capability"));
        }
        known.granting = verdict.granting_policies().map(str::to_owned).collect();
        Ok(())
    }

    fn decide_operation(
        &self,
        txn: &mut Txn<'_>,
        request: &Request,
        (mount, route, params): (&Arc<Mount>, &'static Route, &Params),
        known: &Known,
        now: Timestamp,
    ) -> Result<Operation, Refusal> {
        match (request.operation, route.exists) {
            (Operation::Update, Some(exists)) => {
                let mut effects = Vec::new();
                let mut context = Context {
                    txn,
                    request,
                    operation: Operation::Update,
                    mount,
                    params,
                    caller: known.caller.as_ref(),
                    now,
                    root: &self.root,
                    settings: &self.settings,
                    gathered: &Gathered::default(),
                    nonces: &self.nonces,
                    verdicts: &self.verdicts,
                    effects: &mut effects,
                };
                Ok(if exists(&mut context)? { Operation::Update } else { Operation::Create })
            }
            (operation, _) => Ok(operation),
        }
    }

    fn claim(
        &self,
        view: &dyn View,
        known: &Known,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Batch, Refusal> {
        let Some(caller) = known.caller.as_ref().filter(|caller| caller.token.num_uses > 0) else {
            return Ok(Batch::default());
        };
        let mut txn = self.begin(view, random)?;
        token::claim_use(&mut txn, caller, now)?;
        Ok(txn.finish())
    }

    /// Runs the handler, issues the token a login asked for, and wraps the answer if asked to. After
    /// [`Refusal::Lacks`] it runs again with the answer among `gathered`.
    pub fn carry_out(
        &self,
        view: &dyn View,
        request: &Request,
        admitted: &Admitted,
        gathered: &Gathered,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Box<Outcome>, Refusal> {
        self.carry_out_in(self.begin(view, random)?, request, admitted, gathered, now)
    }

    /// As [`Authority::carry_out`], in the look that judged the request.
    pub fn carry_out_in(
        &self,
        mut txn: Txn<'_>,
        request: &Request,
        admitted: &Admitted,
        gathered: &Gathered,
        now: Timestamp,
    ) -> Result<Box<Outcome>, Refusal> {
        if admitted.operation == Operation::Help {
            let about = engines::of(&admitted.mount).map_or("", |backend| backend.about);
            let response = help::describe(&admitted.mount, about, admitted.route)?;
            return Ok(Box::new(Outcome { response, batch: Batch::default(), effects: Vec::new() }));
        }
        let handler = admitted.route.handler(admitted.operation).ok_or(Refusal::Unsupported)?;
        let mut effects = Vec::new();
        let mut response = handler(&mut Context {
            txn: &mut txn,
            request,
            operation: admitted.operation,
            mount: &admitted.mount,
            params: &admitted.params,
            caller: admitted.caller.as_ref(),
            now,
            root: &self.root,
            settings: &self.settings,
            gathered,
            nonces: &self.nonces,
            verdicts: &self.verdicts,
            effects: &mut effects,
        })?;
        if admitted.operation == Operation::List
            && let Some(caller) = &admitted.caller
        {
            self.narrow(&mut response, caller, request, now)?;
        }
        if response.verbatim.is_none() {
            response.mount_type.clone_from(&admitted.mount.kind);
            let Admitted { operation, route, params, .. } = admitted;
            response.warnings.extend(help::unrecognized(&request.fields, *operation, route, params));
        }
        let names_groups = response.login.as_ref().is_some_and(|login| login.groups.is_some());
        if let Some(login) = response.login.take() {
            token::log_in(&mut txn, &self.settings, request, &admitted.mount, *login, now, &mut response)?;
        }
        if let Some(auth) = &mut response.auth {
            identity::complete(&mut txn, auth)?;
        }
        if !txn.is_clean() {
            mounts::rely(&mut txn, &admitted.mount)?;
        }
        let ended = token::end_after_last_use(&mut txn, admitted.caller.as_ref())?;
        // A login that names other groups than the last one leaves a job.
        if (ended || names_groups) && crate::jobs::pending(&mut txn)? {
            effects.push(Effect::RunJobs);
        }
        if let Some(wrap) = request.wrap
            && response.wrap_info.is_none()
            && !response.is_empty()
        {
            response = match response.unfinished {
                true => wrapping::check_ttl(wrap.ttl.as_secs()).map(|()| response)?,
                false => {
                    let wrapped = wrapping::wrap(&mut txn, request, &response, wrap.ttl, now)?;
                    Response { facts: response.facts, ..wrapped }
                }
            };
        }
        Ok(Box::new(Outcome { response, batch: txn.finish(), effects }))
    }

    /// Wraps an answer that was finished after it was carried out.
    pub fn wrap(
        &self,
        view: &dyn View,
        request: &Request,
        response: &Response,
        ttl: Duration,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<(Response, Batch), Refusal> {
        let mut txn = self.begin(view, random)?;
        let wrapped = wrapping::wrap(&mut txn, request, response, ttl, now)?;
        Ok((wrapped, txn.finish()))
    }

    /// What audit records of this snapshot are made with, and where they go.
    pub fn auditing(&self, view: &dyn View, random: &dyn Random) -> Result<Arc<Auditing>, Refusal> {
        crate::audit::auditing(&mut self.begin(view, random)?)
    }

    /// Enables those of `declared` that are not there yet, one at a time; empty when all are.
    pub fn declare_audit(
        &self,
        view: &dyn View,
        declared: &[Device],
        random: &dyn Random,
    ) -> Result<Batch, Refusal> {
        let mut txn = self.begin(view, random)?;
        let known = crate::audit::auditing(&mut txn)?;
        let missing =
            declared.iter().find(|device| known.devices().iter().all(|(there, _)| there != *device));
        if let Some(device) = missing {
            // What the configuration says replaces what was enabled at the same path.
            crate::audit::disable(&mut txn, &device.path)?;
            crate::audit::enable(&mut txn, device.clone())?;
        }
        Ok(txn.finish())
    }

    /// What time and stored jobs ask for: expiries, unfinished jobs, key rotation. Nothing when there is nothing to do; call
    /// again after committing while there is something. Several chunks may be committed at the same time: should one of
    /// them touch what another changes, the store refuses it, and it is among the next.
    pub fn tick(&self, view: &dyn View, now: Timestamp, random: &dyn Random) -> Result<Vec<Due>, Refusal> {
        let mut txn = self.begin(view, random)?;
        if work::step(&mut txn)? {
            return Ok(Due::only(txn));
        }
        let ended = self.end(view, now.nanos(), now, random)?;
        if !ended.is_empty() {
            return Ok(ended);
        }
        if !work::patient_step(&mut txn)? {
            let rotation = Rotation::load(&mut txn)?;
            if rotation.is_due(&txn.keyring().status(txn.rev()), now) {
                txn.rotate_keyring(&self.root, now);
            }
            catalog::note_version(&mut txn, &self.settings.version, now)?;
        }
        Ok(Due::only(txn))
    }

    /// As [`Authority::tick`], what requests wait for: stored jobs, and what is due because of them.
    pub fn work(&self, view: &dyn View, now: Timestamp, random: &dyn Random) -> Result<Vec<Due>, Refusal> {
        let mut txn = self.begin(view, random)?;
        match work::step(&mut txn)? {
            true => Ok(Due::only(txn)),
            false => self.end(view, AT_ONCE, now, random),
        }
    }

    /// Ends what is due until `until`, the first first.
    fn end(
        &self,
        view: &dyn View,
        until: u64,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Vec<Due>, Refusal> {
        let (mut chunks, mut after) = (Vec::new(), String::new());
        while chunks.len() < TOGETHER {
            let mut txn = self.begin(view, random)?;
            let mut undertakings = Vec::new();
            match expiry::step(&mut txn, &mut undertakings, &after, until, now) {
                Ok(Some(last)) => after = last,
                Ok(None) => break,
                Err(Refusal::Storage(fault)) => return Err(fault.into()),
                // What comes before it is done first; then this is told.
                Err(_) if !chunks.is_empty() => break,
                Err(why) => return Err(why),
            }
            chunks.push(Due { batch: txn.finish(), undertakings });
        }
        Ok(chunks)
    }

    /// Records what came of an act outside, and says whether the answer that waits for it may be sent. `recorded` is the
    /// revision that the batch with its record was committed at, where nobody can have changed that since without a
    /// conflict to be noticed; none where it has to be read again.
    pub fn conclude(
        &self,
        view: &dyn View,
        (about, recorded): (&About, Option<Rev>),
        yielded: &Yielded,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Concluded, Refusal> {
        let mut txn = self.begin(view, random)?;
        let (done, completion) = read(about, yielded);
        let mut good = false;
        match about {
            About::Engine { mount, kind, what } => {
                if let Some(journal) = engines::journal(kind) {
                    (journal.conclude)(&mut txn, mount, what, &done, now)?;
                }
            }
            about => {
                let ends = completion.as_ref().and_then(|completion| completion.ends);
                good = lease::conclude(&mut txn, about, recorded, &done, ends, now)?;
            }
        }
        let verdict = match (done, about) {
            (Err(failure), _) => Err(Refusal::Upstream(failure.why)),
            (Ok(()), About::Make(..)) if !good => {
                Err(Refusal::invalid("the lease was revoked, or its time passed, while it was being made"))
            }
            _ => Ok(completion),
        };
        Ok(Concluded { batch: txn.finish(), verdict })
    }

    /// Records that leases were made, in one batch, each of them under its id and recorded at a revision as being made. Where
    /// one was changed since, the batch conflicts, and [`Authority::conclude`] is for each alone.
    pub fn conclude_made(
        &self,
        view: &dyn View,
        made: &[(About, Rev)],
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Batch, Refusal> {
        let mut txn = self.begin(view, random)?;
        for (about, recorded) in made {
            lease::conclude(&mut txn, about, Some(*recorded), &Ok(()), None, now)?;
        }
        Ok(txn.finish())
    }

    /// Leaves of a list what the caller's policies let it show.
    fn narrow(
        &self,
        response: &mut Response,
        caller: &Caller,
        request: &Request,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let seen = Seen::default();
        let ask = self.ask(request, caller, &seen, Operation::List, now);
        let verdict = caller.acl.check(&ask);
        let (page, filter) = (verdict.page(), verdict.filter());
        if let (Some(data), true) = (&response.data, page.is_some() || filter.is_some()) {
            let mut data: serde_json::Value = serde_json::from_str(data.get())
                .map_err(|_| Refusal::Internal("a list could not be read back".to_owned()))?;
            if let Some(keys) = data.get_mut("keys").and_then(serde_json::Value::as_array_mut) {
                if let Some(filter) = filter {
                    let shows = |key: &str| caller.acl.shows(filter, key, &ask).allowed;
                    keys.retain(|key| key.as_str().is_some_and(shows));
                }
                keys.truncate(page.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)));
            }
            if let Some((keys, info)) =
                data.as_object().and_then(|data| data.get("keys").zip(data.get("key_info")))
                && let (Some(keys), Some(info)) = (keys.as_array(), info.as_object())
            {
                let kept = info.iter().filter(|(name, _)| keys.iter().any(|key| key == *name));
                let kept: serde_json::Map<_, _> =
                    kept.map(|(name, info)| (name.clone(), info.clone())).collect();
                data["key_info"] = serde_json::Value::Object(kept);
            }
            response.data = Some(Data::of(&data)?);
        }
        Ok(())
    }

    /// The request as policies look at it.
    fn ask<'a>(
        &'a self,
        request: &'a Request,
        caller: &'a Caller,
        seen: &'a Seen,
        operation: Operation,
        now: Timestamp,
    ) -> Ask<'a> {
        Ask {
            path: &request.path,
            operation,
            parameters: Some(&request.fields as &dyn Parameters),
            wrap_ttl: request.wrap.map(|wrap| wrap.ttl),
            now,
            who: Some(caller.who(request, self.verdicts.attest(seen))),
        }
    }
}

/// Whether an act was done, and what it yielded for the answer that waits for it. What cannot be read is as good as not
/// made.
fn read(about: &About, yielded: &Yielded) -> (Done, Option<Completion>) {
    match (about, yielded) {
        (_, Err(failure)) => (Err(failure.clone()), None),
        (About::Make(_, lease), Ok(Some(yielded))) => match lease.complete(yielded) {
            Ok(completion) => (Ok(()), Some(completion)),
            Err(why) => (Err(Failure { why: why.to_string(), nothing_done: false }), None),
        },
        (_, Ok(_)) => (Ok(()), None),
    }
}

#[derive(Default)]
struct Known {
    caller: Option<Caller>,
    granting: Vec<String>,
    posture: BTreeMap<String, String>,
    mount: Option<Arc<Mount>>,
}

impl Rejected {
    fn of(refusal: Refusal, known: Known, claim: Batch) -> Box<Rejected> {
        let Known { caller, mount, posture, .. } = known;
        Box::new(Rejected { refusal, caller, mount, posture, claim })
    }
}

impl Parameters for crate::fields::Fields {
    fn names(&self) -> Vec<&str> {
        self.names().collect()
    }

    fn value(&self, name: &str) -> Option<serde_json::Value> {
        self.value(name).ok().flatten()
    }
}
