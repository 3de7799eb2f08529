//! Tokens to keep keys in: one in software, and one that is a TPM. Each has the label `ada` and the PIN 1234.

use keyward_testkit::packages::{self, SOFTHSM, TPM};
use keyward_testkit::process::{Process, run, wait_for};
use keyward_testkit::require;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the token is called.
pub const LABEL: &str = "ada";
/// What its owner types.
pub const PIN: &str = "1234";
const OFFICER: &str = "567890";

/// A token, and what a program needs in its environment to find it.
pub struct Device {
    /// The PKCS#11 module.
    pub module: &'static str,
    environment: Vec<(&'static str, PathBuf)>,
    /// Ends with the device.
    _process: Option<Process>,
}

impl Device {
    /// SoftHSM, with its objects in `folder`; none where the test is to be skipped.
    pub fn soft_hsm(folder: &Path) -> Option<Device> {
        if !require(packages::install(SOFTHSM)) {
            return None;
        }
        let objects = folder.join("objects");
        std::fs::create_dir_all(&objects).unwrap();
        let config = folder.join("softhsm2.conf");
        std::fs::write(&config, format!("directories.tokendir = {}\nlog.level = ERROR\n", objects.display()))
            .unwrap();
        let device = Device {
            module: "/usr/lib/softhsm/libsofthsm2.so",
            environment: vec![("SOFTHSM2_CONF", config)],
            _process: None,
        };
        device.initialize("--slot-index=0");
        Some(device)
    }

    /// A TPM in software, behind tpm2-pkcs11; none where the test is to be skipped.
    pub fn tpm(folder: &Path) -> Option<Device> {
        if !require(packages::install(TPM)) {
            return None;
        }
        let (state, store) = (folder.join("state"), folder.join("store"));
        std::fs::create_dir_all(&state).unwrap();
        std::fs::create_dir_all(&store).unwrap();
        // The names that its client looks for: the one of commands, and beside it the one of control.
        let (socket, control) = (folder.join("tpm"), folder.join("tpm.ctrl"));
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", state.display()));
        command.arg("--server").arg(format!("type=unixio,path={}", socket.display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", control.display()));
        let process = Process::spawn(&mut command, &folder.join("swtpm.log")).unwrap();
        wait_for("the TPM", Duration::from_secs(30), || (socket.exists() && control.exists()).then_some(()))
            .unwrap();
        let device = Device {
            module: "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1",
            environment: vec![
                ("TPM2_PKCS11_TCTI", format!("swtpm:path={}", socket.display()).into()),
                ("TPM2_PKCS11_STORE", store),
            ],
            _process: Some(process),
        };
        device.initialize("--slot=1");
        Some(device)
    }

    fn initialize(&self, slot: &str) {
        self.tool(&["--init-token", slot, "--label", LABEL, "--so-pin", OFFICER]);
        self.as_officer(&["--init-pin", "--pin", PIN]);
    }

    /// What the token's security officer does with OpenSC's tool.
    pub fn as_officer(&self, arguments: &[&str]) -> String {
        let officer = ["--token-label", LABEL, "--login", "--login-type", "so", "--so-pin", OFFICER];
        self.tool(&[&officer[..], arguments].concat())
    }

    /// What the token's owner does with OpenSC's tool.
    pub fn as_owner(&self, arguments: &[&str]) -> String {
        self.tool(&[&["--token-label", LABEL, "--login", "--pin", PIN][..], arguments].concat())
    }

    fn tool(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("pkcs11-tool");
        command.args(["--module", self.module]).args(arguments);
        let done = run(self.found_by(&mut command), b"", Duration::from_secs(120)).unwrap();
        assert!(done.status.success(), "pkcs11-tool {arguments:?}: {}", done.stderr);
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// A command that finds the token.
    pub fn found_by<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }
}
