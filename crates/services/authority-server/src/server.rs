//! One server: listeners, the ticking of time, signals.

use crate::lanes::Lanes;
use crate::listener::{Listener, stopped};
use crate::log;
use crate::node::Node;
use keyward_sys::{Quiet, processor_time};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often time is looked at: the most a lease outlives its end in the store. Tokens are refused at their end
/// whether or not it has come round.
const TICK: Duration = Duration::from_secs(1);

/// How long audit devices may take to write what they have taken.
const FLUSH: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, or until a write failed in a way after which nothing the store says can be
/// relied on. SIGHUP reads certificates again and has audit devices
/// open their files anew.
pub async fn run(node: Arc<Node>, listeners: Vec<Listener>) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let listeners: Vec<Arc<Listener>> = listeners.into_iter().map(Arc::new).collect();
    let lanes = Arc::new(Lanes::start()?);
    let serve = |listener: &Arc<Listener>| {
        tokio::spawn(listener.clone().serve(node.clone(), lanes.clone(), stopped.clone()))
    };
    let serving: Vec<_> = listeners.iter().map(serve).collect();
    let mut ticking = tokio::spawn(tick(node.clone(), stopped));
    let mut ended = None;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            broken = &mut ticking => {
                ended = broken.ok().flatten();
                break;
            }
            _ = hang_up.recv() => {
                node.devices().reopen();
                for listener in &listeners {
                    match listener.reload() {
                        Ok(()) => log::info(&format!("certificates read again: {}", listener.address())),
                        Err(why) => log::error(&format!("the old certificates stay: {why}")),
                    }
                }
            }
        }
    }
    log::info("stopping: running requests may finish");
    let _ = stop.send(true);
    for task in serving {
        let _ = task.await;
    }
    if !ticking.is_finished() {
        let _ = ticking.await;
    }
    node.seal();
    if !node.devices().finish(FLUSH) {
        log::error("an audit device did not write its last records in time");
    }
    match ended {
        Some(why) => Err(io::Error::other(format!("the store failed and must be opened anew: {why}"))),
        None => Ok(()),
    }
}

/// Ends when told to, or with the reason why the store cannot be used any more.
async fn tick(node: Arc<Node>, mut stop: watch::Receiver<bool>) -> Option<String> {
    let mut quiet = Quiet::after(processor_time());
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return None,
            () = tokio::time::sleep(TICK) => {
                if let Err(why) = node.tick().await {
                    log::error(&format!("expiries and stored jobs have to wait: {why}"));
                }
                if let Some(why) = node.poisoned() {
                    return Some(why);
                }
                if quiet.look(processor_time()) {
                    let _ = tokio::task::spawn_blocking(release_memory).await;
                }
            }
        }
    }
}

fn release_memory() {
    keyward_sys::release_free_memory();
    if let Err(error) = keyward_sys::release_program_pages() {
        log::debug(&format!("memory of the program's file is not given back: {error}"));
    }
}
