//! Debian packages that tests need, installed where they are missing.

use crate::process::run;
use crate::say;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A package, and a file of it that tells that it is installed: a program's name, or a whole path.
pub type Package = (&'static str, &'static str);

/// The directory server that logins by LDAP are tested against.
pub const SLAPD: &[Package] = &[("slapd", "/usr/sbin/slapd")];
/// The server and the client that judge SSH certificates.
pub const OPENSSH: &[Package] = &[("openssh-server", "/usr/sbin/sshd"), ("openssh-client", "ssh-keygen")];

/// What makes one-time passwords, to hold ours against.
pub const OATHTOOL: &[Package] = &[("oathtool", "oathtool")];
/// The databases whose users are made on demand, with their clients.
pub const POSTGRESQL: &[Package] = &[("postgresql", "psql")];
/// See [`POSTGRESQL`].
pub const MARIADB: &[Package] = &[("mariadb-server", "mariadbd"), ("mariadb-client", "mariadb")];
/// See [`POSTGRESQL`].
pub const REDIS: &[Package] = &[("redis-server", "redis-server"), ("redis-tools", "redis-cli")];

/// The registry that images are kept in.
pub const REGISTRY: &[Package] = &[("docker-registry", "docker-registry")];

/// What tests of PKCS#11 set tokens up with.
const OPENSC: Package = ("opensc", "pkcs11-tool");
/// A token in software.
pub const SOFTHSM: &[Package] = &[("softhsm2", "/usr/lib/softhsm/libsofthsm2.so"), OPENSC];
/// A TPM in software, and the PKCS#11 module that makes a token of a TPM.
pub const TPM: &[Package] = &[
    ("swtpm", "swtpm"),
    ("libtpm2-pkcs11-1", "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1"),
    ("libtss2-tcti-swtpm0", "/usr/lib/x86_64-linux-gnu/libtss2-tcti-swtpm.so.0"),
    OPENSC,
];

/// The runtime of the JavaScript client, and what installs its modules.
pub const NODE: &[Package] = &[("nodejs", "node"), ("npm", "npm")];

/// Fetching and unpacking, on a loaded machine with a slow line.
const LIMIT: Duration = Duration::from_secs(600);

/// Installs those of `wanted` that are missing, aloud, and starts nothing that is in them. Only root can; else, or when
/// that fails, the error says what to install.
pub fn install(wanted: &[Package]) -> Result<(), String> {
    let missing =
        || wanted.iter().filter(|(_, file)| !installed(file)).map(|(name, _)| *name).collect::<Vec<_>>();
    let names = missing();
    if names.is_empty() {
        return Ok(());
    }
    say(format_args!("installing Debian packages: {}", names.join(" ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            // In the runlevel of a single user no service is started.
            .env("RUNLEVEL", "1")
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(arguments);
        let finished = run(&mut command, b"", LIMIT).map_err(|why| why.to_string())?;
        if finished.status.success() { Ok(()) } else { Err(finished.stderr) }
    };
    let install = [&["install", "--yes", "--no-install-recommends"], names.as_slice()].concat();
    // A machine that has never asked for the lists of packages knows none.
    match apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install))) {
        Ok(()) if missing().is_empty() => Ok(()),
        Ok(()) => Err(format!("still missing after apt-get: {}", missing().join(" "))),
        Err(why) => Err(format!("install {} first: {why}", names.join(", "))),
    }
}

fn installed(file: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Path::new(file).is_absolute() && Path::new(file).exists()
        || std::env::split_paths(&path).any(|folder| folder.join(file).is_file())
}
