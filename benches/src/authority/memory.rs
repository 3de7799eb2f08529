//! What the authority keeps in memory: idle, after load, and for connections that do nothing.

use super::setup::Keyward;
use crate::Failure;
use crate::load::{self, Ask};
use crate::measure::figure;
use crate::server::Server;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::TcpStream;
use std::time::Duration;

/// Clients that keep a connection open and ask nothing.
const CONNECTIONS: usize = 5_000;

pub(super) fn figures(keyward: &Keyward, bare: &Server, idle: f64, read: &Ask) -> Result<(), Failure> {
    let budget = |name: &str, used: f64, budget: f64| {
        figure(name, used / budget, format!("{used:.1} MB of {budget} MB"))
    };
    budget("memory-idle", idle, 20.0)?;
    let loaded = keyward.server.memory_at_rest()?;
    budget("memory-after-load", loaded, 40.0)?;
    let (ours, theirs) = (connections(&keyward.server)?, connections(bare)?);
    let behind = format!("{ours:.1} kB a connection, {CONNECTIONS} idle; bare {theirs:.1} kB");
    figure("memory-of-a-connection", ours / theirs, behind)?;
    // The connections are closed: what they took must not be lost to the next ones.
    load::run(keyward.server.address, read, 16, Duration::from_millis(200))?;
    let after = keyward.server.memory_at_rest()?;
    figure("memory-after-connections", after / loaded, format!("{after:.1} MB; before {loaded:.1} MB"))
}

/// Memory for one connection that has had one answer and waits, in kB (10^3 bytes).
fn connections(server: &Server) -> Result<f64, Failure> {
    let before = server.memory()?;
    let mut open = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        open.push(TcpStream::connect(server.address)?);
    }
    let ask = Ask::new("GET", "/v1/sys/health", "", "");
    for stream in &mut open {
        load::once_over(stream, &ask)?;
    }
    Ok((server.memory()? - before) * 1e3 / CONNECTIONS as f64)
}

/// Lets this process and those it starts open as many files as the system allows.
pub(crate) fn raise_descriptors() -> Result<(), Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS as u64 + 200;
    if limit.maximum.is_some_and(|most| most < wanted) {
        return Err(format!("{wanted} open files are needed; raise the hard limit (ulimit -Hn)").into());
    }
    limit.current = limit.current.max(Some(wanted));
    Ok(setrlimit(Resource::Nofile, limit)?)
}
