//! `cargo xtask house`: the rules of the house that the compiler does not know.
//!
//! The edges between crates, what a crate may bring in, and budgets: lines of a file and of a function, fields
//! and locks of a struct, `unsafe`.

use crate::setup::root;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 100;
const STRUCT_FIELDS: usize = 20;
const CORE_LINES: usize = 1_500;
/// Beside a struct that exceeds its budget: why it may.
const REASON: &str = "house:";

/// Who may depend on whom. The binary, tests and tools may depend on everything.
const EDGES: &[(&str, &[&str])] = &[
    ("keyward-core", &[]),
    ("keyward-crypto", &["keyward-core"]),
    ("keyward-expressions", &[]),
    ("keyward-admission", &["keyward-core", "keyward-expressions", "keyward-signatures"]),
    (
        "keyward-authority",
        &[
            "keyward-core",
            "keyward-crypto",
            "keyward-envelope",
            "keyward-expressions",
            "keyward-intent",
            "keyward-posture",
        ],
    ),
    ("keyward-envelope", &["keyward-core", "keyward-crypto", "keyward-intent"]),
    ("keyward-intent", &["keyward-core"]),
    ("keyward-posture", &["keyward-core", "keyward-crypto", "keyward-envelope"]),
    ("keyward-consumption", &["keyward-core", "keyward-intent"]),
    (
        "keyward-sealing",
        &["keyward-core", "keyward-crypto", "keyward-envelope", "keyward-expressions", "keyward-intent"],
    ),
    ("keyward-signatures", &["keyward-crypto"]),
    ("keyward-storage", &["keyward-core"]),
    ("keyward-sys", &[]),
    ("keyward-tls", &[]),
    ("keyward-authority-client", &["keyward-core", "keyward-crypto", "keyward-tls"]),
    ("keyward-databases", &["keyward-crypto", "keyward-tls"]),
    ("keyward-https", &["keyward-crypto", "keyward-tls"]),
    ("keyward-keystores", &["keyward-core", "keyward-crypto", "keyward-authority-client"]),
    ("keyward-webhook", &["keyward-core", "keyward-crypto", "keyward-tls"]),
    ("keyward-kubernetes", &[]),
    ("keyward-registry", &["keyward-crypto", "keyward-https", "keyward-tls"]),
    ("keyward-log", &["keyward-core"]),
    (
        "keyward-authority-server",
        &[
            "keyward-core",
            "keyward-crypto",
            "keyward-authority",
            "keyward-storage",
            "keyward-databases",
            "keyward-https",
            "keyward-sys",
            "keyward-tls",
        ],
    ),
    ("keyward-kms-plugin", &["keyward-core", "keyward-crypto", "keyward-keystores", "keyward-log"]),
    (
        "keyward-admission-server",
        &[
            "keyward-core",
            "keyward-crypto",
            "keyward-admission",
            "keyward-authority-client",
            "keyward-https",
            "keyward-kubernetes",
            "keyward-posture",
            "keyward-registry",
            "keyward-signatures",
            "keyward-tls",
            "keyward-webhook",
        ],
    ),
    ("keyward-policy-files", &["keyward-core", "keyward-admission"]),
    (
        "keyward-agent",
        &[
            "keyward-core",
            "keyward-crypto",
            "keyward-consumption",
            "keyward-authority-client",
            "keyward-kubernetes",
            "keyward-log",
        ],
    ),
    (
        "keyward-injector",
        &[
            "keyward-core",
            "keyward-consumption",
            "keyward-kubernetes",
            "keyward-log",
            "keyward-tls",
            "keyward-webhook",
        ],
    ),
    (
        "keyward-seal-controller",
        &["keyward-core", "keyward-authority-client", "keyward-kubernetes", "keyward-log"],
    ),
    ("keyward-pkcs11", &["keyward-crypto"]),
    (
        "keyward-sealer",
        &["keyward-core", "keyward-crypto", "keyward-intent", "keyward-pkcs11", "keyward-sealing"],
    ),
    ("keyward-testkit", &["keyward-core"]),
];

/// The crate that may have unsafe code, and therefore lints of its own.
const UNSAFE: &str = "keyward-sys";

/// Crates at the top, which may depend on everything.
const TOPS: &[&str] = &["keyward", "keyward-tests", "keyward-benches", "keyward-fuzz", "xtask"];

/// What a pure crate must not bring in.
const IMPURE: &[&str] = &["tokio", "hyper", "rusqlite", "rustix", "kube", "tonic", "rustls", "mio"];

/// What the sealer for a machine without a network must not bring in.
const NETWORK: &[&str] = &["tokio", "hyper", "kube", "rustls", "tonic", "mio", "h2", "rusqlite"];

/// What only the feature `hardware` brings in: it loads libraries, which a static program cannot.
const LOADER: &str = "libloading";

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let mut broken = Vec::new();
    let (mut files, mut lines) = (0, 0);
    for package in &metadata.packages {
        check_edges(package, &mut broken);
        let folder =
            package.manifest_path.parent().map(|folder| folder.as_std_path().to_owned()).unwrap_or_default();
        check_lints(package, &folder, &mut broken)?;
        let mut counted = Counted::default();
        for file in sources(&folder)? {
            check_file(&file, &mut counted, &mut broken)?;
        }
        files += counted.files;
        lines += counted.lines;
        if package.name.as_str() == "keyward-core" && counted.lines > CORE_LINES {
            broken.push(format!("keyward-core has {} lines of {CORE_LINES}", counted.lines));
        }
    }
    check_sealer("seal", &mut broken)?;
    check_sealer("hardware", &mut broken)?;
    println!("house: {} crates, {files} files, {lines} lines", metadata.packages.len());
    if broken.is_empty() {
        println!("house: ok");
        return Ok(());
    }
    for line in &broken {
        println!("house: {line}");
    }
    Err(format!("{} rules of the house are broken; ARCHITECTURE.md explains them", broken.len()).into())
}

/// The programs for a machine without a network, `--no-default-features` with `--features seal` or `hardware`, have none in
/// their tree.
fn check_sealer(feature: &str, broken: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "-p", "keyward", "--no-default-features", "--features", feature]);
    cargo.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]).current_dir(root());
    let listed = cargo.output()?;
    if !listed.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&listed.stderr)).into());
    }
    let listed = String::from_utf8(listed.stdout)?;
    let names = || listed.lines().filter_map(|line| line.split(' ').next());
    if !names().any(|name| name == "keyward-sealing") {
        broken.push(format!("the build with only the {feature} feature does not seal"));
    }
    for network in NETWORK {
        if names().any(|name| name == *network) {
            broken.push(format!("the build with only the {feature} feature must not bring in {network}"));
        }
    }
    if names().any(|name| name == LOADER) != (feature == "hardware") {
        broken.push(format!("{LOADER} belongs to the feature hardware, and to no other"));
    }
    Ok(())
}

fn check_edges(package: &Package, broken: &mut Vec<String>) {
    let name = package.name.as_str();
    if TOPS.contains(&name) {
        return;
    }
    let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
        broken.push(format!("{name} is not in the table of edges: say what it forbids, and add it"));
        return;
    };
    let pure = package.manifest_path.as_str().contains("/crates/domains/") || name == "keyward-core";
    for dependency in
        package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal)
    {
        let on = dependency.name.as_str();
        if dependency.path.is_some() && !allowed.contains(&on) {
            broken.push(format!("{name} must not depend on {on}"));
        }
        if pure && IMPURE.contains(&on) {
            broken.push(format!("{name} is pure and must not depend on {on}"));
        }
    }
}

fn check_lints(package: &Package, folder: &Path, broken: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml"))?;
    if package.name.as_str() != UNSAFE && !manifest.contains("[lints]\nworkspace = true") {
        broken.push(format!("{} does not inherit the workspace's lints", package.name));
    }
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut folders =
        vec![folder.join("src"), folder.join("tests"), folder.join("examples"), folder.join("build.rs")];
    while let Some(next) = folders.pop() {
        if next.is_dir() {
            folders.extend(fs::read_dir(&next)?.filter_map(|entry| entry.ok().map(|entry| entry.path())));
        } else if next.extension().is_some_and(|extension| extension == "rs") && next.exists() {
            found.push(next);
        }
    }
    found.sort();
    Ok(found)
}

#[derive(Default)]
struct Counted {
    files: usize,
    lines: usize,
}

fn check_file(path: &Path, counted: &mut Counted, broken: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let shown = path.strip_prefix(root()).unwrap_or(path).display().to_string();
    let count = text.lines().count();
    counted.files += 1;
    counted.lines += count;
    if count > FILE_LINES {
        broken.push(format!("{shown} has {count} lines of {FILE_LINES}"));
    }
    let file = syn::parse_file(&text).map_err(|why| format!("{shown}: {why}"))?;
    let mut inspector = Inspector { shown: &shown, text: &text, broken };
    inspector.visit_file(&file);
    Ok(())
}

struct Inspector<'a> {
    shown: &'a str,
    text: &'a str,
    broken: &'a mut Vec<String>,
}

impl Inspector<'_> {
    fn function(&mut self, name: &syn::Ident, block: &syn::Block) {
        let span = block.span();
        let lines = span.end().line.saturating_sub(span.start().line) + 1;
        if lines > FUNCTION_LINES {
            self.broken.push(format!(
                "{}:{} {name} has {lines} lines of {FUNCTION_LINES}",
                self.shown,
                span.start().line
            ));
        }
    }

    /// Whether the lines just above `line` give a reason.
    fn has_reason(&self, line: usize) -> bool {
        let above = self.text.lines().take(line).skip(line.saturating_sub(12));
        above.into_iter().any(|line| line.trim_start().starts_with("//") && line.contains(REASON))
    }
}

impl<'ast> Visit<'ast> for Inspector<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        let line = item.ident.span().start().line;
        let locks = item.fields.iter().filter(|field| is_lock(&field.ty)).count();
        let derives_clap = item.attrs.iter().any(|attribute| attribute.path().is_ident("command"));
        let shipped = !self.shown.contains("/tests/");
        if (item.fields.len() > STRUCT_FIELDS || locks > 1)
            && shipped
            && !derives_clap
            && !self.has_reason(line)
        {
            self.broken.push(format!(
                "{}:{line} {} has {} fields and {locks} locks: divide it, or write `// {REASON} why` beside it",
                self.shown,
                item.ident,
                item.fields.len()
            ));
        }
        visit::visit_item_struct(self, item);
    }
}

fn is_lock(kind: &syn::Type) -> bool {
    struct Finder(bool);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
            self.0 |= segment.ident == "Mutex" || segment.ident == "RwLock";
            visit::visit_path_segment(self, segment);
        }
    }
    let mut finder = Finder(false);
    finder.visit_type(kind);
    finder.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn inspect(text: &str) -> Vec<String> {
        let mut broken = Vec::new();
        let file = syn::parse_file(text).unwrap();
        Inspector { shown: "x.rs", text, broken: &mut broken }.visit_file(&file);
        broken
    }

    #[test]
    fn long_functions_and_wide_structs_are_found() {
        let long = format!("fn f() {{\n{}}}\n", "    let _ = 1;\n".repeat(FUNCTION_LINES));
        assert_eq!(inspect(&long).len(), 1);
        let wide: BTreeMap<usize, String> =
            (0..=STRUCT_FIELDS).map(|at| (at, format!("f{at}: u8,"))).collect();
        let wide = wide.into_values().collect::<String>();
        assert_eq!(inspect(&format!("struct S {{ {wide} }}")).len(), 1);
        assert!(inspect(&format!("// house: the wire has them\nstruct S {{ {wide} }}")).is_empty());
        assert_eq!(inspect("struct S { a: Mutex<u8>, b: Arc<RwLock<u8>> }").len(), 1);
        assert!(inspect("struct S { a: Mutex<u8>, b: u8 }").is_empty());
    }
}
