//! Options that several commands have, and what they stand for.

use crate::cli::Failure;
use keyward_core::{Timestamp, parse_duration};
use keyward_crypto::age::{Mixing, Recipient, plugin};
use keyward_intent::{Bounds, LabelSelector, Moment, Phase, Rule, Scope, Subject};
use keyward_sealer::{Keys, Programs, Ruled, SealerError, signer};
use keyward_sealing::{Audience, Signer, lint};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Who opens
#[derive(clap::Args)]
pub(crate) struct IdentityArgs {
    /// File of identities: of age, one a line, or a private key of OpenSSH. Only its owner may read it
    #[arg(long = "identity", short = 'i', value_name = "FILE")]
    pub(super) identities: Vec<PathBuf>,
}

impl IdentityArgs {
    pub(crate) fn read(&self) -> Result<Keys, Failure> {
        if self.identities.is_empty() {
            return Err(Failure::Usage("no identity was given: name a file with --identity".to_owned()));
        }
        Ok(Keys::read(self.identities.iter().map(PathBuf::as_path))?)
    }
}

/// Who signs
#[derive(clap::Args)]
pub(super) struct SignArgs {
    /// File of the author's private SSH key, of the type Ed25519
    #[arg(long, value_name = "FILE", env = "KEYWARD_SIGN_WITH")]
    pub(super) sign_with: Option<PathBuf>,
}

impl SignArgs {
    pub(super) fn read(&self) -> Result<Signer, Failure> {
        match self.optional()? {
            Some(signer) => Ok(signer),
            None => Err(Failure::Usage(
                "nobody signs: name an author's key with --sign-with, or make one with ssh-keygen -t ed25519"
                    .to_owned(),
            )),
        }
    }

    pub(super) fn optional(&self) -> Result<Option<Signer>, Failure> {
        Ok(self.sign_with.as_deref().map(signer).transpose()?)
    }
}

/// Whom to seal for
#[derive(clap::Args)]
pub(super) struct RecipientArgs {
    /// Recipient: age1pq1..., age1..., age1tag1..., age1PLUGIN1... or an SSH public key; in place of those that the rules name
    #[arg(long = "recipient", short = 'r', value_name = "RECIPIENT")]
    pub(super) recipients: Vec<String>,
    /// Rules to seal by; the nearest .keyward.yaml above the file otherwise
    #[arg(long, value_name = "FILE")]
    pub(super) rules: Option<PathBuf>,
    /// Take recipients that a quantum computer could break beside others
    #[arg(long)]
    pub(super) allow_mixed: bool,
}

/// The rules that hold for a file, and whom they name.
pub(super) struct Target {
    pub(super) ruled: Option<Ruled>,
    path: PathBuf,
    pub(super) audience: Audience,
    pub(super) mixing: Mixing,
}

impl Target {
    pub(super) fn rule(&self) -> Result<Option<&Rule>, Failure> {
        match &self.ruled {
            Some(ruled) => Ok(ruled.rule_for(&self.path)?),
            None => Ok(None),
        }
    }

    /// The public keys whose signatures are taken; any where no rule names some.
    pub(super) fn authors(&self) -> Result<Option<Vec<&str>>, Failure> {
        let rule = self.rule()?;
        let authors = rule.zip(self.ruled.as_ref()).map(|(rule, ruled)| ruled.rules.authors_of(rule));
        Ok(authors.filter(|authors| !authors.is_empty()))
    }
}

impl RecipientArgs {
    pub(super) fn ruled(&self, path: &Path) -> Result<Option<Ruled>, Failure> {
        Ok(match &self.rules {
            Some(rules) => Some(Ruled::read(rules)?),
            None => Ruled::above(path)?,
        })
    }

    /// For whom the file at `path` is sealed.
    pub(super) fn target(&self, path: &Path) -> Result<Target, Failure> {
        let ruled = self.ruled(path)?;
        let rule = ruled.as_ref().map(|ruled| ruled.rule_for(path)).transpose()?.flatten();
        let audience = match (&ruled, rule) {
            _ if !self.recipients.is_empty() => Audience::Each(parse(&self.recipients)?),
            (Some(ruled), Some(rule)) => lint::audience(&ruled.rules, rule)?,
            _ => {
                return Err(Failure::Usage(format!(
                    "nobody is named to seal {} for: name a --recipient, or write a rule in .keyward.yaml",
                    path.display()
                )));
            }
        };
        let mixed = self.allow_mixed || rule.is_some_and(|rule| rule.allow_mixed);
        let mixing = if mixed { Mixing::Allow } else { Mixing::Refuse };
        Ok(Target { ruled, path: path.to_owned(), audience: with_plugins(audience), mixing })
    }
}

pub(super) fn parse(recipients: &[String]) -> Result<Vec<Recipient>, Failure> {
    recipients.iter().map(|text| Ok(text.parse()?)).collect()
}

fn with_plugins(audience: Audience) -> Audience {
    let host: Arc<dyn plugin::Host> = Arc::new(Programs);
    let connect = |recipients: Vec<Recipient>| {
        recipients.into_iter().map(|recipient| recipient.with_plugins(&host)).collect::<Vec<_>>()
    };
    match audience {
        Audience::Each(recipients) => Audience::Each(connect(recipients)),
        Audience::Threshold { required, groups } => Audience::Threshold {
            required,
            groups: groups.into_iter().map(|(name, members)| (name, connect(members))).collect(),
        },
    }
}

/// What a Secret is bound to
#[derive(clap::Args)]
#[command(next_help_heading = "Bounds")]
pub(super) struct BoundArgs {
    /// Cluster it may be opened in; those of the rule otherwise
    #[arg(long = "cluster", value_name = "NAME")]
    clusters: Vec<String>,
    /// Where below a cluster it may stand: strict (its name and namespace), namespace or cluster
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    scope: Option<Scope>,
    /// Last phase it may be opened in: git, bootstrap, authority or steady
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    phase: Option<Phase>,
    /// ServiceAccount that may have it in the cluster, as NAME or NAMESPACE/NAME, with @UID for one alone; nobody without one
    #[arg(long = "subject", value_name = "SERVICEACCOUNT")]
    subjects: Vec<String>,
    /// Labels that its namespace must have too, as in env=prod,tier in (gold,silver); those of the rule as well
    #[arg(long, value_name = "SELECTOR", value_parser = selector)]
    namespace_selector: Option<LabelSelector>,
    /// What else must be true of who asks, in CEL, as in posture.compliant; those of the rule as well
    #[arg(long = "condition", value_name = "EXPRESSION")]
    conditions: Vec<String>,
    /// Image that a container of the pod may run, by its digest: sha256:... or NAME@sha256:...; those of the rule otherwise
    #[arg(long = "image", value_name = "DIGEST", value_parser = image)]
    images: Vec<String>,
    /// When it may first be opened, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_before: Option<Moment>,
    /// When it expires
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_after: Option<Moment>,
    /// How long it lives from now on, such as 720h; the rule's maxLife otherwise
    #[arg(long, value_name = "DURATION", conflicts_with = "not_after")]
    life: Option<String>,
}

pub(super) fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|why: keyward_intent::Invalid| why.0)
}

pub(super) fn phase(text: &str) -> Result<Phase, String> {
    text.parse().map_err(|why: keyward_intent::Invalid| why.0)
}

pub(super) fn moment(text: &str) -> Result<Moment, String> {
    text.parse().map_err(|why: keyward_intent::Invalid| why.0)
}

pub(super) fn selector(text: &str) -> Result<LabelSelector, String> {
    text.parse().map_err(|why: keyward_intent::Invalid| why.0)
}

pub(super) fn image(text: &str) -> Result<String, String> {
    keyward_intent::names::image_digest(text).map(str::to_owned).map_err(|why| why.0)
}

/// What both demand of namespaces.
pub(super) fn both(one: Option<LabelSelector>, other: Option<LabelSelector>) -> Option<LabelSelector> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.and(other)),
        (one, other) => one.or(other),
    }
}

impl BoundArgs {
    /// What the options and the rule say together, for an object in `namespace`.
    pub(super) fn bounds(&self, rule: Option<&Rule>, namespace: &str) -> Result<Bounds, Failure> {
        let clusters = match self.clusters.is_empty() {
            false => self.clusters.iter().cloned().collect(),
            true => rule.map(|rule| rule.clusters.clone()).unwrap_or_default(),
        };
        if clusters.is_empty() {
            return Err(Failure::Usage(
                "no cluster is named: use --cluster, or a rule in .keyward.yaml".to_owned(),
            ));
        }
        let life = self.life.as_deref().or(rule.and_then(|rule| rule.max_life.as_deref()));
        let life = life.map(parse_duration).transpose().map_err(|why| Failure::Usage(why.to_string()))?;
        let subjects = self.subjects.iter().map(|text| Subject::parse(text, namespace));
        let mut conditions = rule.map(|rule| rule.conditions.clone()).unwrap_or_default();
        conditions.extend(self.conditions.iter().cloned());
        let bounds = Bounds {
            clusters,
            scope: self.scope.unwrap_or_default(),
            phase: self.phase.or(rule.and_then(|rule| rule.phase)).unwrap_or(Phase::Steady),
            not_before: self.not_before,
            not_after: self.not_after.or(life.map(|life| Moment::of(now().plus(life)))),
            subjects: subjects.collect::<Result<_, _>>()?,
            namespace_selector: both(
                rule.and_then(|rule| rule.namespace_selector.clone()),
                self.namespace_selector.clone(),
            ),
            conditions,
            images: match self.images.is_empty() {
                false => self.images.iter().cloned().collect(),
                true => rule.map(|rule| rule.images.clone()).unwrap_or_default(),
            },
            ..Bounds::in_cluster("unset")
        };
        bounds.check()?;
        Ok(bounds)
    }
}

/// The present moment.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Where a manifest goes.
pub(super) fn write(to: Option<&Path>, text: &str) -> Result<(), Failure> {
    match to {
        None => crate::cli::output::raw(text.as_bytes()),
        Some(path) if path.exists() => Ok(keyward_sealer::files::replace(path, text.as_bytes())?),
        Some(path) => Ok(keyward_sealer::files::create_public(path, text.as_bytes())?),
    }
}

/// About a file.
pub(super) fn at(path: &Path, why: impl std::fmt::Display) -> Failure {
    SealerError::at(path, why).into()
}
