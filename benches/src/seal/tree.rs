//! A tree of sealed objects, sealed anew as a whole.

use super::World;
use crate::Failure;
use crate::measure::figure;
use crate::server::peak_of;
use keyward_crypto::SystemRandom;
use keyward_crypto::age::pq;
use keyward_sealing::object;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Megabytes that a tree may take to be sealed anew, however large it is.
const MEMORY: f64 = 64.0;

pub(super) fn figures(world: &World, program: &Path, objects: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let sealer = world.sealer()?;
    for at in 0..objects {
        let below = folder.path().join("tree").join(format!("app-{}", at / 100));
        fs::create_dir_all(&below)?;
        let text = world.seal(&format!("db-{at}"), &sealer)?.write()?;
        fs::write(below.join(format!("db-{at}.yaml")), text)?;
    }
    let identity = folder.path().join("identity");
    fs::write(&identity, world.identity.text().expose())?;
    fs::set_permissions(&identity, Permissions::from_mode(0o600))?;
    let recipient = pq::Identity::generate(&SystemRandom).recipient().to_string();
    let mut command = Command::new(program);
    command.arg("reseal").arg(folder.path().join("tree")).arg("-i").arg(&identity).args(["-r", &recipient]);
    let began = Instant::now();
    let mut child = command.args(["--threads", "2"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut peak = 0f64;
    let status = loop {
        if let Ok(memory) = peak_of(child.id()) {
            peak = peak.max(memory);
        }
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if !status.success() {
        return Err(format!("reseal ended with {status}").into());
    }
    let took = began.elapsed().as_secs_f64();
    let rate = objects as f64 / took;
    figure("reseal-memory", peak / MEMORY, format!("{peak:.1} MB of {MEMORY} MB, for {objects} objects"))?;
    // One object after the other, opened and sealed by the library alone, is the floor of one core.
    let sealed = world.seal("db", &sealer)?;
    let began = Instant::now();
    for _ in 0..200 {
        object::reseal(&sealed, None, &[&world.identity], &sealer, None, &SystemRandom)?;
    }
    let alone = 200.0 / began.elapsed().as_secs_f64();
    figure(
        "reseal-over-one-core",
        rate / alone,
        format!("{rate:.0} files a second, {took:.1} s in all; without files on one core {alone:.0}"),
    )
}
