//! Policies compiled for one subject: one table, asked once per request.

use super::capability::Capabilities;
use super::conditions::{Conditions, Unmet};
use super::expression::Expression;
use super::filter::KeyFilter;
use super::model::{Policy, Rule};
use super::pattern::{Kind, Pattern};
use super::templates::Subject;
use super::trie::Trie;
use super::{Ask, MAX_PATH};
use crate::request::Operation;
use keyward_core::Timestamp;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// What the holder of some policies may do.
///
/// Of all rules that match a path only the most specific one decides: the path itself, else the glob or `+`
/// pattern that comes first in Vault's order. Rules of several policies for the same pattern are one: what they
/// grant is united, and one denial denies.
#[derive(Debug)]
pub struct Acl {
    root: bool,
    /// The most specific first; an index is a rank. Ranks of exact paths mean nothing.
    entries: Vec<Entry>,
    exact: HashMap<Box<str>, u32>,
    globs: Trie,
}

/// What all rules for one path come to, as `sys/internal/ui/resultant-acl` answers it.
#[derive(Debug)]
pub struct Ruled<'a> {
    /// Without the glob's `*`.
    pub path: &'a str,
    /// This path alone, not a glob.
    pub exact: bool,
    /// In alphabetical order.
    pub capabilities: Vec<&'static str>,
}

/// All rules for one pattern.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pattern: Pattern,
    /// What they come to before the first of them expires, conditions aside.
    merged: Merged,
    expiring: Option<Box<Expiring>>,
    /// All of them, if one has a condition: what they come to is another thing for every request.
    conditional: Option<RuleRefs>,
}

/// A policy and the index of its rule, of each.
type RuleRefs = Vec<(Arc<Policy>, usize)>;

/// Rules for one pattern of which some expire. What is left of them is merged when it is asked for.
#[derive(Debug)]
struct Expiring {
    first: Timestamp,
    /// `None` if a rule never expires.
    last: Option<Timestamp>,
    rules: RuleRefs,
}

/// What the rules for one pattern come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
    pub(super) capabilities: Capabilities,
    /// Where it comes from, in the order of the policies.
    pub(super) grants: Vec<Grant>,
    conditions: Option<Box<Conditions>>,
}

/// One rule's part.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) policy: Arc<str>,
    pub(super) line: u32,
    pub(super) capabilities: Capabilities,
    pub(super) expression: Option<Arc<Expression>>,
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub struct Verdict<'a> {
    /// Whether the operation may be done.
    pub allowed: bool,
    /// Whether a root-protected path may be used. Always asked together with `allowed`: the right rule may grant
    /// `sudo` but not the operation. True for `Help`, which is never protected.
    pub sudo: bool,
    /// Why.
    pub reason: Reason,
    /// The rank of what decided, and what it comes to.
    pub(super) decided: Option<(u32, Cow<'a, Merged>)>,
    needed: Capabilities,
}

/// Why a request is allowed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The caller has the `root` policy.
    Root,
    /// Help is for everyone with a token.
    Help,
    /// The rule grants the operation, and its conditions are met.
    Granted,
    /// No rule matches the path.
    NoRule,
    /// The rule denies everything.
    Denied,
    /// The rule does not grant what the operation needs.
    NotGranted,
    /// The rule grants the operation, but not to this request.
    Condition(Unmet),
}

impl Verdict<'_> {
    /// The names of the policies that grant the operation, for audit records; each once.
    pub fn granting_policies(&self) -> impl Iterator<Item = &str> {
        let root = matches!(self.reason, Reason::Root).then_some("root");
        let grants = match &self.decided {
            Some((_, merged)) if self.allowed => merged.grants.as_slice(),
            _ => &[],
        };
        let grants_it = |grant: &Grant| grant.capabilities.has(self.needed);
        let granting = move |(index, grant): (usize, &'_ Grant)| {
            let mut earlier = grants.iter().take(index);
            let again = earlier.any(|other| grants_it(other) && other.policy == grant.policy);
            grants_it(grant) && !again
        };
        let policies =
            grants.iter().enumerate().filter(move |at| granting(*at)).map(|(_, grant)| &*grant.policy);
        root.into_iter().chain(policies)
    }

    /// How many keys a list may answer at most, whatever the request's `limit` says (0 and `max` included).
    pub fn page(&self) -> Option<u64> {
        self.list_conditions()?.page
    }

    /// Decides which keys a list answers; see [`Acl::shows`].
    pub fn filter(&self) -> Option<&KeyFilter> {
        self.list_conditions()?.filter.as_deref()
    }

    fn list_conditions(&self) -> Option<&Conditions> {
        match &self.decided {
            Some((_, merged)) if self.allowed && self.needed == Capabilities::LIST => {
                merged.conditions.as_deref()
            }
            _ => None,
        }
    }
}

impl Acl {
    /// Compiles policies for a subject; `None` is a token without an identity, for whom templated paths do not
    /// exist. Never fails: what cannot be filled in grants nothing.
    ///
    /// The `root` policy counts only alone; beside others it grants nothing.
    pub fn compile(policies: &[Arc<Policy>], subject: Option<&Subject>) -> Acl {
        if let [policy] = policies
            && policy.root
        {
            return Acl::root();
        }
        let mut merged: HashMap<Pattern, RuleRefs> = HashMap::new();
        for policy in policies {
            for (index, rule) in policy.rules.iter().enumerate() {
                // A denial that fails to name anything would be a grant to whoever chose the name.
                let slashes = subject.is_some_and(|subject| subject.slashes)
                    || rule.capabilities.has(Capabilities::DENY);
                if let Some(path) =
                    rule.path.render(subject, slashes).filter(|path| path.text.len() <= MAX_PATH)
                {
                    merged.entry(Pattern::of(&path)).or_default().push((policy.clone(), index));
                }
            }
        }
        let mut entries: Vec<Entry> =
            merged.into_iter().map(|(pattern, rules)| Entry::of(pattern, rules)).collect();
        entries.sort_by(|left, right| left.pattern.specificity(&right.pattern));
        let mut acl = Acl { root: false, entries, exact: HashMap::new(), globs: Trie::new() };
        for (rank, entry) in acl.entries.iter().enumerate() {
            let (rank, pattern) = (rank as u32, &entry.pattern);
            match pattern.kind {
                Kind::Exact => {
                    acl.exact.insert(pattern.text.clone(), rank);
                }
                Kind::Prefix | Kind::Segments(_) => {
                    acl.globs.insert(pattern.parts(), pattern.is_open(), rank);
                }
            }
        }
        acl.globs = acl.globs.finish();
        acl
    }

    /// Every right there is.
    pub fn root() -> Acl {
        Acl { root: true, entries: Vec::new(), exact: HashMap::new(), globs: Trie::new() }
    }

    /// Whether this is [`Acl::root`].
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Decides whether something may be done. Without conditions on the rule nothing is allocated.
    pub fn check<'a>(&'a self, ask: &Ask<'_>) -> Verdict<'a> {
        let needed = Capabilities::needed(ask.operation);
        let verdict = |allowed, sudo, reason, decided| Verdict { allowed, sudo, reason, decided, needed };
        if self.root {
            return verdict(true, true, Reason::Root, None);
        }
        if ask.operation == Operation::Help {
            return verdict(true, true, Reason::Help, None);
        }
        let list = ask.operation == Operation::List;
        let Some((rank, entry)) = self.decide(ask.path, list, ask.now) else {
            return verdict(false, false, Reason::NoRule, None);
        };
        let merged = entry.on(ask);
        let reason = if merged.capabilities.has(Capabilities::DENY) {
            Reason::Denied
        } else if !merged.capabilities.has(needed) {
            entry.unmet(ask, needed).map_or(Reason::NotGranted, Reason::Condition)
        } else {
            let met = merged.conditions.as_ref().map_or(Ok(()), |conditions| conditions.check(ask));
            met.map_or_else(Reason::Condition, |()| Reason::Granted)
        };
        let sudo = merged.capabilities.has(Capabilities::SUDO);
        verdict(reason == Reason::Granted, sudo, reason, Some((rank, merged)))
    }

    /// What may be done at a path, as `sys/capabilities` answers it: names in alphabetical order, or `root`, or
    /// `deny` where nothing is granted. A path that ends in a slash is looked up as a list is. Rules with a condition
    /// count as if it held: what is asked for is nobody's request.
    pub fn capabilities(&self, path: &str, now: Timestamp) -> Vec<&'static str> {
        if self.root {
            return vec!["root"];
        }
        let decided = self.decide(path, true, now).map(|(_, entry)| entry.at(now).capabilities);
        decided.filter(|found| found.grants()).map_or_else(|| vec!["deny"], Capabilities::names)
    }

    /// Every rule, the most specific first. Empty for `root`, whom no rule binds.
    pub fn rules(&self, now: Timestamp) -> impl Iterator<Item = Ruled<'_>> {
        let live = move |entry: &&Entry| entry.is_live(now);
        self.entries.iter().filter(live).map(move |entry| {
            let granted = entry.at(now).capabilities;
            Ruled {
                path: &entry.pattern.text,
                exact: matches!(entry.pattern.kind, Kind::Exact),
                capabilities: if granted.grants() { granted.names() } else { vec!["deny"] },
            }
        })
    }

    /// Whether anything is granted at or below the folder `folder`, which ends in a slash: whether a mount there
    /// is shown.
    pub fn reaches(&self, folder: &str, now: Timestamp) -> bool {
        if self.root {
            return true;
        }
        let grants = |(_, entry): (u32, &Entry)| entry.at(now).capabilities.grants();
        let below = |entry: &&Entry| entry.pattern.reaches(folder) && entry.is_live(now);
        self.decide(folder, true, now).is_some_and(grants)
            || self.best(folder, now, Pattern::is_open).is_some_and(grants)
            || self.entries.iter().filter(below).any(|entry| grants((0, entry)))
    }

    /// Whether the list `list`, which is filtered, shows `key`: whether the path the filter makes of it may be
    /// read, or listed if the key ends in a slash. If that path is root-protected, ask for `sudo` too.
    pub fn shows(&self, filter: &KeyFilter, key: &str, list: &Ask<'_>) -> Verdict<'_> {
        let operation = if key.ends_with('/') { Operation::List } else { Operation::Read };
        let path = filter.path(list.path, key);
        self.check(&Ask { path: &path, operation, parameters: None, wrap_ttl: None, ..*list })
    }

    /// The entry of that rank and what it comes to.
    pub(super) fn entry(&self, rank: u32) -> Option<&Entry> {
        self.entries.get(rank as usize)
    }

    /// All entries that match the path in any of the forms a list has, the most specific first, exact ones
    /// before globs.
    pub(super) fn matching(&self, path: &str, list: bool, now: Timestamp) -> Vec<u32> {
        let path = path.trim_start_matches('/');
        let short = path.strip_suffix('/').filter(|_| list);
        let mut globs = Vec::new();
        for form in [Some(path), short].into_iter().flatten() {
            self.globs.visit(form, &mut |rank| globs.push(rank));
        }
        globs.sort_unstable();
        globs.dedup();
        let exact =
            [Some(path), short].into_iter().flatten().filter_map(|form| self.exact.get(form).copied());
        let live = |rank: &u32| self.entry(*rank).is_some_and(|entry| entry.is_live(now));
        exact.chain(globs).filter(live).collect()
    }

    /// The entry that decides for the path, and its rank.
    fn decide(&self, path: &str, list: bool, now: Timestamp) -> Option<(u32, &Entry)> {
        // Requests have no leading slash; a rule for one must not be missed should one have.
        let path = path.trim_start_matches('/');
        // A list of a folder is also granted by a rule for the folder without the slash, which is what people
        // write.
        let short = path.strip_suffix('/').filter(|_| list);
        let exact = |path: &str| self.live(*self.exact.get(path)?, now);
        if let Some(found) = exact(path).or_else(|| short.and_then(exact)) {
            return Some(found);
        }
        let whole = self.best(path, now, |_| true);
        match short {
            None => whole,
            Some(short) => self.decide_list(path, short, whole, now),
        }
    }

    /// A list's path is `secret/a/`; `secret/a/*` matches only that form and `secret/+` only `secret/a`. The more
    /// specific of both winners decides, unless it neither grants the list nor denies: then the other may grant
    /// it, but not against a denial that is more specific than it.
    fn decide_list<'a>(
        &'a self,
        path: &str,
        short: &str,
        whole: Option<(u32, &'a Entry)>,
        now: Timestamp,
    ) -> Option<(u32, &'a Entry)> {
        let (first, second) = match (whole, self.best(short, now, |_| true)) {
            (Some(left), Some(right)) if left.0 <= right.0 => (left, right),
            (Some(left), Some(right)) => (right, left),
            (found, None) | (None, found) => return found,
        };
        let has = |entry: &Entry, capability| entry.at(now).capabilities.has(capability);
        let settled = has(first.1, Capabilities::LIST) || has(first.1, Capabilities::DENY);
        if settled || !has(second.1, Capabilities::LIST) {
            return Some(first);
        }
        let mut denial = None;
        for form in [path, short] {
            self.globs.visit(form, &mut |rank| {
                let denies = |(_, entry): &(u32, &Entry)| has(entry, Capabilities::DENY);
                denial = denial.or(self.live(rank, now).filter(|_| rank < second.0).filter(denies));
            });
        }
        denial.or(Some(second))
    }

    /// The most specific glob of a kind that matches.
    fn best(&self, path: &str, now: Timestamp, kind: fn(&Pattern) -> bool) -> Option<(u32, &Entry)> {
        let mut best: Option<(u32, &Entry)> = None;
        self.globs.visit(path, &mut |rank| {
            if best.is_none_or(|(known, _)| rank < known) {
                best = self.live(rank, now).filter(|(_, entry)| kind(&entry.pattern)).or(best);
            }
        });
        best
    }

    fn live(&self, rank: u32, now: Timestamp) -> Option<(u32, &Entry)> {
        self.entry(rank).filter(|entry| entry.is_live(now)).map(|entry| (rank, entry))
    }
}

impl Entry {
    fn of(pattern: Pattern, rules: RuleRefs) -> Entry {
        let merged = merge(rules.iter().filter_map(rule));
        let judged = rules.iter().filter_map(rule).any(|(_, rule)| rule.expression.is_some());
        let conditional = judged.then(|| rules.clone());
        let ends: Vec<Option<Timestamp>> =
            rules.iter().filter_map(rule).map(|(_, rule)| rule.expires).collect();
        let expiring = ends.iter().flatten().min().map(|first| {
            let last = if ends.contains(&None) { None } else { ends.iter().copied().max().flatten() };
            Box::new(Expiring { first: *first, last, rules })
        });
        Entry { pattern, merged, expiring, conditional }
    }

    /// Whether a rule has not expired.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        let last = self.expiring.as_ref().and_then(|expiring| expiring.last);
        last.is_none_or(|last| now <= last)
    }

    /// What the rules that count for this request come to.
    pub(super) fn on(&self, ask: &Ask<'_>) -> Cow<'_, Merged> {
        let Some(rules) = &self.conditional else { return self.at(ask.now) };
        let live = |rule: &(&Policy, &Rule)| rule.1.expires.is_none_or(|end| ask.now <= end);
        let counts = |rule: &(&Policy, &Rule)| match rule.1.expression.as_ref().map(|one| one.holds(ask)) {
            None => true,
            Some(Ok(held)) => held,
            // Whether it should deny cannot be told.
            Some(Err(_)) => rule.1.capabilities.has(Capabilities::DENY),
        };
        let counting: Vec<_> = rules.iter().filter_map(rule).filter(live).filter(counts).collect();
        match counting.len() == rules.len() {
            true => Cow::Borrowed(&self.merged),
            false => Cow::Owned(merge(counting.into_iter())),
        }
    }

    /// The first condition but for which the request would have what it needs.
    fn unmet(&self, ask: &Ask<'_>, needed: Capabilities) -> Option<Unmet> {
        let rules = self.conditional.iter().flatten().filter_map(rule);
        let mut granting = rules.filter(|(_, rule)| {
            rule.capabilities.has(needed) && rule.expires.is_none_or(|end| ask.now <= end)
        });
        granting.find_map(|(policy, rule)| match rule.expression.as_ref()?.holds(ask) {
            Ok(true) => None,
            Ok(false) => Some(Unmet::Expression(policy.name.to_string(), rule.line, None)),
            Err(why) => Some(Unmet::Expression(policy.name.to_string(), rule.line, Some(why))),
        })
    }

    /// What the rules that have not expired come to, conditions aside.
    pub(super) fn at(&self, now: Timestamp) -> Cow<'_, Merged> {
        match &self.expiring {
            Some(expiring) if now > expiring.first => {
                let live = |rule: &(&Policy, &Rule)| rule.1.expires.is_none_or(|end| now <= end);
                Cow::Owned(merge(expiring.rules.iter().filter_map(rule).filter(live)))
            }
            _ => Cow::Borrowed(&self.merged),
        }
    }
}

fn rule((policy, index): &(Arc<Policy>, usize)) -> Option<(&Policy, &Rule)> {
    Some((policy, policy.rules.get(*index)?))
}

fn merge<'a>(rules: impl Iterator<Item = (&'a Policy, &'a Rule)>) -> Merged {
    let mut merged = Merged::default();
    let mut conditions = Conditions::default();
    for (policy, rule) in rules {
        merged.capabilities = merged.capabilities.merged(rule.capabilities);
        conditions.merge(&rule.conditions);
        merged.grants.push(Grant {
            policy: policy.name.clone(),
            line: rule.line,
            capabilities: rule.capabilities,
            expression: rule.expression.clone(),
        });
    }
    let counts = merged.capabilities.grants() && conditions != Conditions::default();
    merged.conditions = counts.then(|| Box::new(conditions));
    merged
}
