//! Paths with `{{identity.…}}` in them.
//!
//! What comes from an identity is literal: `*`, `+` and (unless [`Subject::slashes`]) `/` in a name or in
//! metadata never widen a rule, as they did in Vault before 2.0 (CVE-2026-5006) and OpenBao before 2.6
//! (CVE-2026-71543).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Whom a token belongs to, as far as policies may name it. The default is a token without an identity, for
/// whom no templated path exists.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The entity's id.
    pub entity_id: String,
    /// The entity's name.
    pub entity_name: String,
    /// The entity's metadata.
    pub metadata: BTreeMap<String, String>,
    /// What the entity is called at each auth mount.
    pub aliases: Vec<Alias>,
    /// The groups the entity belongs to, also through other groups.
    pub groups: Vec<Group>,
    /// Whether a substituted value may hold a `/` and so span path segments. Vault allows it by default; then
    /// an entity named `a/b` reaches what belongs to `a`.
    pub slashes: bool,
}

/// An entity's name at one auth mount.
#[derive(Clone, Debug, Default)]
pub struct Alias {
    /// The mount's accessor.
    pub accessor: String,
    /// The alias's id.
    pub id: String,
    /// The name there.
    pub name: String,
    /// Set by the auth method at login.
    pub metadata: BTreeMap<String, String>,
    /// Set by operators.
    pub custom_metadata: BTreeMap<String, String>,
}

/// A group of entities.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The group's id.
    pub id: String,
    /// The group's name.
    pub name: String,
    /// The group's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A path, possibly with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Value(Selector),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    Entity(Field),
    Alias { accessor: String, field: Field },
    GroupById { id: String, field: Field },
    GroupByName { name: String, field: Field },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    Metadata(String),
    CustomMetadata(String),
}

/// A path with every place filled in.
pub(super) struct Rendered<'a> {
    /// The path.
    pub(super) text: Cow<'a, str>,
    /// As long as the path; `*` and `+` stand only where the policy's author wrote them.
    pub(super) shape: Cow<'a, str>,
}

/// The templates there are, for error messages.
pub(super) const KNOWN: &str = "use identity.entity.{id,name,metadata.KEY}, \
     identity.entity.aliases.ACCESSOR.{id,name,metadata.KEY,custom_metadata.KEY}, \
     identity.groups.ids.ID.{id,name,metadata.KEY} or identity.groups.names.NAME.{id,name,metadata.KEY}";

impl Template {
    /// Reads a path. The error says what is wrong.
    pub(super) fn parse(path: &str) -> Result<Template, String> {
        let unbalanced =
            || "failed to validate policy templating: unbalanced templating characters".to_owned();
        let mut parts = path.split("{{");
        let first = parts.next().unwrap_or_default();
        if first.contains("}}") {
            return Err(unbalanced());
        }
        let mut pieces = vec![Piece::Literal(first.to_owned())];
        for part in parts {
            let (inside, after) = part.split_once("}}").ok_or_else(unbalanced)?;
            if after.contains("}}") {
                return Err(unbalanced());
            }
            let selector = Selector::parse(inside.trim())
                .ok_or_else(|| format!("there is no template {:?}", inside.trim()))?;
            pieces.push(Piece::Value(selector));
            pieces.push(Piece::Literal(after.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// Whether there is a place to fill in.
    pub(super) fn is_templated(&self) -> bool {
        self.0.len() > 1
    }

    /// Fills every place in. `None` when a value is missing, empty, or holds a `/` that `slashes` forbids.
    pub(super) fn render(&self, subject: Option<&Subject>, slashes: bool) -> Option<Rendered<'_>> {
        if let [Piece::Literal(path)] = self.0.as_slice() {
            return Some(Rendered { text: Cow::Borrowed(path), shape: Cow::Borrowed(path) });
        }
        let subject = subject?;
        let (mut text, mut shape) = (String::new(), String::new());
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => {
                    text.push_str(literal);
                    shape.push_str(literal);
                }
                Piece::Value(selector) => {
                    let value = selector.of(subject).filter(|value| !value.is_empty())?;
                    if value.contains('/') && !slashes {
                        return None;
                    }
                    text.push_str(value);
                    shape.extend(value.chars().map(|c| if matches!(c, '*' | '+') { 'x' } else { c }));
                }
            }
        }
        Some(Rendered { text: Cow::Owned(text), shape: Cow::Owned(shape) })
    }
}

/// `text` with every place filled in by what is known of `subject`; none when that lacks one of them. The error says what
/// is wrong with the text. What is filled in may hold anything, so whoever splits the text does that first.
pub fn fill(text: &str, subject: Option<&Subject>) -> Result<Option<String>, String> {
    let template = Template::parse(text)?;
    Ok(template.render(subject, true).map(|rendered| rendered.text.into_owned()))
}

impl Selector {
    fn parse(text: &str) -> Option<Selector> {
        if let Some(rest) = text.strip_prefix("identity.entity.aliases.") {
            let (accessor, field) = rest.split_once('.')?;
            let field = Field::parse(field)?;
            return Some(Selector::Alias { accessor: accessor.to_owned(), field });
        }
        if let Some(rest) = text.strip_prefix("identity.entity.") {
            return Field::parse(rest).filter(Field::is_general).map(Selector::Entity);
        }
        let (by, rest) = text.strip_prefix("identity.groups.")?.split_once('.')?;
        let (key, field) = rest.split_once('.')?;
        let field = Field::parse(field).filter(Field::is_general)?;
        match by {
            "ids" => Some(Selector::GroupById { id: key.to_owned(), field }),
            "names" => Some(Selector::GroupByName { name: key.to_owned(), field }),
            _ => None,
        }
    }

    fn of<'a>(&self, subject: &'a Subject) -> Option<&'a str> {
        match self {
            Selector::Entity(field) => {
                field.of(&subject.entity_id, &subject.entity_name, &subject.metadata, None)
            }
            Selector::Alias { accessor, field } => {
                let alias = subject.aliases.iter().find(|alias| alias.accessor == *accessor)?;
                field.of(&alias.id, &alias.name, &alias.metadata, Some(&alias.custom_metadata))
            }
            Selector::GroupById { id, field } => {
                let group = subject.groups.iter().find(|group| group.id == *id)?;
                field.of(&group.id, &group.name, &group.metadata, None)
            }
            Selector::GroupByName { name, field } => {
                let group = subject.groups.iter().find(|group| group.name == *name)?;
                field.of(&group.id, &group.name, &group.metadata, None)
            }
        }
    }
}

impl Field {
    fn parse(text: &str) -> Option<Field> {
        match text.split_once('.') {
            None if text == "id" => Some(Field::Id),
            None if text == "name" => Some(Field::Name),
            Some(("metadata", key)) if !key.is_empty() => Some(Field::Metadata(key.to_owned())),
            Some(("custom_metadata", key)) if !key.is_empty() => Some(Field::CustomMetadata(key.to_owned())),
            _ => None,
        }
    }

    /// Custom metadata belongs to aliases alone.
    fn is_general(&self) -> bool {
        !matches!(self, Field::CustomMetadata(_))
    }

    fn of<'a>(
        &self,
        id: &'a str,
        name: &'a str,
        metadata: &'a BTreeMap<String, String>,
        custom: Option<&'a BTreeMap<String, String>>,
    ) -> Option<&'a str> {
        match self {
            Field::Id => Some(id),
            Field::Name => Some(name),
            Field::Metadata(key) => metadata.get(key).map(String::as_str),
            Field::CustomMetadata(key) => custom?.get(key).map(String::as_str),
        }
    }
}
