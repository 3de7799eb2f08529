//! The KMS plugin through its socket, beside its own `Status`, a call of the same library that does nothing.

use crate::Failure;
use crate::measure::figure;
use crate::server::{descriptors_of, memory_of};
use keyward_kms_plugin::{PluginClient, SealedSeed};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The identity of age's own test suite: known to everybody.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
/// Calls of one kind before it is the other's turn.
const TURN: usize = 1_000;
/// Calls between two new connections, as API servers restart.
const RECONNECT: usize = 500;

/// Microseconds and megabytes that a decryption and the whole process may take.
const P50: f64 = 200.0;
const P99: f64 = 1_000.0;
const MEMORY: f64 = 15.0;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program to measure
    #[arg(long, value_name = "FILE")]
    keyward: PathBuf,
    /// Fewer calls: done within 50 seconds
    #[arg(long)]
    quick: bool,
}

/// Ends with its handle.
struct Plugin {
    child: Child,
    socket: PathBuf,
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let plugin = start(&arguments.keyward, folder.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&plugin, if arguments.quick { 50_000 } else { 1_000_000 }))
}

fn start(program: &Path, folder: &Path) -> Result<Plugin, Failure> {
    let (identity, socket) = (folder.join("identity"), folder.join("kms.sock"));
    fs::write(&identity, IDENTITY)?;
    fs::set_permissions(&identity, Permissions::from_mode(0o600))?;
    let mut command = Command::new(program);
    command.args(["kms", "serve", "--log-level", "error"]).arg("--identity").arg(identity);
    command.arg("--socket").arg(&socket).arg("--state").arg(folder.join("state"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut plugin = Plugin { child, socket };
    while !plugin.socket.exists() {
        if let Some(status) = plugin.child.try_wait()? {
            return Err(format!("the plugin ended with {status}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(plugin)
}

async fn measure(plugin: &Plugin, calls: usize) -> Result<(), Failure> {
    let connect = || PluginClient::connect(&plugin.socket, Duration::from_secs(3));
    let mut client = connect().await?;
    let sealed = client.encrypt("bench", &[7; 32]).await?;
    let pid = plugin.child.id();
    decrypts(&mut client, &sealed, TURN).await?;
    let (memory, descriptors) = (memory_of(pid)?, descriptors_of(pid)?);
    let (mut nothing, mut opened) = (Vec::new(), Vec::with_capacity(calls));
    for _ in 0..calls / TURN {
        nothing.extend(statuses(&mut client, TURN / 10).await?);
        for _ in 0..TURN / RECONNECT {
            opened.extend(decrypts(&mut client, &sealed, RECONNECT).await?);
            connect().await?.status().await?;
        }
    }
    // What was closed is closed at the other end too, a moment later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (memory_after, descriptors_after) = (memory_of(pid)?, descriptors_of(pid)?);
    let (floor, p50, p99) =
        (percentile(&mut nothing, 50), percentile(&mut opened, 50), percentile(&mut opened, 99));
    figure(
        "kms-decrypt-over-status",
        p50 / floor,
        format!("p50 {p50:.0} us; a call that does nothing {floor:.0} us"),
    )?;
    figure("kms-decrypt-p50", p50 / P50, format!("{p50:.0} us of {P50} us"))?;
    let floor_p99 = percentile(&mut nothing, 99);
    // A busy machine shows here first: the call that does nothing tells how busy it is.
    let behind = format!("{p99:.0} us of {P99} us; a call that does nothing {floor_p99:.0} us");
    figure("kms-decrypt-p99", p99 / P99, behind)?;
    figure("kms-memory", memory_after / MEMORY, format!("{memory_after:.1} MB of {MEMORY} MB"))?;
    let behind = format!("{memory_after:.1} MB after {} calls; before {memory:.1} MB", opened.len());
    figure("kms-memory-growth", memory_after / memory, behind)?;
    let behind = format!("{descriptors_after} after {} calls; before {descriptors}", opened.len());
    figure("kms-descriptors-growth", descriptors_after as f64 / descriptors as f64, behind)
}

async fn statuses(client: &mut PluginClient, calls: usize) -> Result<Vec<f64>, Failure> {
    let mut took = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        client.status().await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

async fn decrypts(client: &mut PluginClient, sealed: &SealedSeed, calls: usize) -> Result<Vec<f64>, Failure> {
    let mut took = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        let opened = client.decrypt("bench", sealed).await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
        if opened.expose() != &[7; 32] {
            return Err("another seed came back".into());
        }
    }
    Ok(took)
}

/// The value below which `percent` of a hundred lie, in microseconds.
fn percentile(took: &mut [f64], percent: usize) -> f64 {
    took.sort_unstable_by(f64::total_cmp);
    took.get(took.len() * percent / 100).copied().unwrap_or(f64::NAN)
}
