//! Container images without a registry: a tar of one layer, a configuration and a manifest.

use std::io;

use serde_json::json;
use sha2::{Digest, Sha256};

/// What is at one path of an image. Paths are relative to its root, at most 100 bytes.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A file with its permission bits and content.
    File(u32, Vec<u8>),
    /// A folder with its permission bits.
    Folder(u32),
    /// A symbolic link to this target, at most 100 bytes.
    Link(String),
}

/// An image of one layer for this machine's architecture.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name pods call it by, with a registry's host and a tag: `keyward.test/name:tag`.
    pub name: String,
    /// Its paths, folders before what is in them.
    pub entries: Vec<(String, Entry)>,
    /// What a container runs.
    pub entrypoint: Vec<String>,
}

impl Image {
    /// The image as `docker save` writes it.
    pub(super) fn archive(&self) -> io::Result<Vec<u8>> {
        let mut layer = Tar::default();
        for (path, entry) in &self.entries {
            layer.add(path, entry)?;
        }
        let layer = layer.finish();
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
        });
        let config = config.to_string().into_bytes();
        let config_name = format!("{}.json", digest(&config));
        let manifest = json!([{"Config": config_name, "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        let mut archive = Tar::default();
        archive.add(&config_name, &Entry::File(0o644, config))?;
        archive.add("layer.tar", &Entry::File(0o644, layer))?;
        archive.add("manifest.json", &Entry::File(0o644, manifest.to_string().into_bytes()))?;
        Ok(archive.finish())
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A tar archive in the ustar format of POSIX.1-1988, all its entries root's and without a time.
#[derive(Default)]
struct Tar(Vec<u8>);

const BLOCK: usize = 512;

impl Tar {
    fn add(&mut self, path: &str, entry: &Entry) -> io::Result<()> {
        let (kind, mode, link, content): (u8, u32, &str, &[u8]) = match entry {
            Entry::File(mode, content) => (b'0', *mode, "", content),
            Entry::Link(target) => (b'2', 0o777, target, b""),
            Entry::Folder(mode) => (b'5', *mode, "", b""),
        };
        if path.is_empty() || path.starts_with('/') || path.len() > 100 || link.len() > 100 {
            return Err(io::Error::other(format!("{path:?} -> {link:?} does not fit an image's archive")));
        }
        let mut header = [0u8; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        put(157, link);
        put(257, "ustar");
        put(263, "00");
        header[156] = kind;
        // The checksum counts its own field as spaces.
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Duration;

    fn listing(archive: &[u8], folder: &std::path::Path, arguments: &[&str]) -> String {
        let mut tar = Command::new("tar");
        tar.current_dir(folder).args(arguments);
        let finished = crate::process::run(&mut tar, archive, Duration::from_secs(10)).unwrap();
        assert!(finished.status.success(), "{}", finished.stderr);
        String::from_utf8(finished.stdout).unwrap()
    }

    #[test]
    fn tar_reads_it_back() {
        let image = Image {
            name: "keyward.test/x:1".into(),
            entries: vec![
                ("bin".into(), Entry::Folder(0o755)),
                ("bin/program".into(), Entry::File(0o755, vec![b'x'; 700])),
                ("bin/sh".into(), Entry::Link("program".into())),
            ],
            entrypoint: vec!["/bin/program".into()],
        };
        let folder = tempfile::tempdir().unwrap();
        listing(&image.archive().unwrap(), folder.path(), &["-x"]);
        let layer = std::fs::read(folder.path().join("layer.tar")).unwrap();
        let listed = listing(&layer, folder.path(), &["-tv", "--numeric-owner"]);
        let lines: Vec<_> = listed.lines().collect();
        assert!(lines[0].starts_with("drwxr-xr-x 0/0") && lines[0].ends_with(" bin"), "{listed}");
        assert!(lines[1].starts_with("-rwxr-xr-x 0/0") && lines[1].contains(" 700 "), "{listed}");
        assert!(lines[2].ends_with("bin/sh -> program"), "{listed}");
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        for path in ["", "/absolute", &"long".repeat(26)] {
            assert!(Tar::default().add(path, &Entry::Folder(0o755)).is_err(), "{path:?}");
        }
    }
}
