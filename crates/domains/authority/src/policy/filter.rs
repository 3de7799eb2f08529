//! Lists that answer only the keys the caller may use (OpenBao's `list_scan_response_keys_filter_path`).

/// Makes the path that decides whether a listed key is shown, from the list's path and the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFilter(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Path,
    Key,
}

impl KeyFilter {
    /// Reads a template of literal text, `{{ .path }}` and `{{ .key }}`. The error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<KeyFilter, String> {
        let mut parts = text.split("{{");
        let mut pieces = vec![Piece::Literal(parts.next().unwrap_or_default().to_owned())];
        for part in parts {
            let (inside, after) =
                part.split_once("}}").ok_or("unbalanced templating characters in the filter path")?;
            pieces.push(match inside.trim() {
                ".path" => Piece::Path,
                ".key" => Piece::Key,
                other => return Err(format!("the filter path has no template {other:?}")),
            });
            pieces.push(Piece::Literal(after.to_owned()));
        }
        if !pieces.contains(&Piece::Key) {
            return Err(
                "the filter path does not contain {{ .key }}, so all keys would share one path".to_owned()
            );
        }
        Ok(KeyFilter(pieces))
    }

    /// The path for `key`, as answered by a list of `path`.
    pub fn path(&self, path: &str, key: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Path => path.to_owned(),
            Piece::Key => key.to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}
