//! The authority over HTTP, beside a bare server of the same library.

mod endings;
mod leases;
mod memory;
pub(crate) mod setup;
mod workloads;

use crate::Failure;
use crate::bare;
use crate::load::Ask;
use crate::measure::{Case, Effort, Sample, figure, in_turn, median, ratio};
use crate::server::Server;
use setup::Keyward;
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program to measure
    #[arg(long, value_name = "FILE")]
    keyward: PathBuf,
    /// Shorter and coarser: done within 50 seconds
    #[arg(long)]
    quick: bool,
}

/// Microseconds a request costs the bare server on the machine that the budgets are meant for. Elsewhere they are
/// scaled by what it costs there.
const BARE: f64 = 8.5;

type Outcome = Result<(), Failure>;

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let effort = effort(arguments);
    memory::raise_descriptors()?;
    let folder = tempfile::tempdir()?;
    let keyward = Keyward::start(&arguments.keyward, &folder.path().join("data"))?;
    let idle = keyward.server.memory_at_rest()?;
    keyward.prepare()?;
    let read = keyward.ask("GET", "secret/data/bench", "");
    let bare = bare(keyward.answer(&read)?.len())?;
    let bench = Bench { keyward: &keyward, bare: &bare, effort };
    bench.read(&read)?;
    bench.audited_read(&read, &folder.path().join("audit.log"))?;
    bench.write()?;
    bench.encrypt()?;
    bench.log_in()?;
    memory::figures(&keyward, &bare, idle, &read)?;
    drop(keyward);
    let leases = if arguments.quick { 100_000 } else { 1_000_000 };
    leases::figure(&arguments.keyward, folder.path(), leases)
}

/// What workloads ask for beyond reading and writing.
pub(crate) fn run_workloads(arguments: &Arguments) -> Outcome {
    let folder = tempfile::tempdir()?;
    workloads::run(&arguments.keyward, folder.path(), effort(arguments), arguments.quick)
}

fn effort(arguments: &Arguments) -> Effort {
    match arguments.quick {
        true => Effort { rounds: 3, span: Duration::from_millis(600) },
        false => Effort { rounds: 7, span: Duration::from_secs(3) },
    }
}

fn bare(body: usize) -> Result<Server, Failure> {
    Server::start(&mut bare::command(body)?)
}

struct Bench<'a> {
    keyward: &'a Keyward,
    bare: &'a Server,
    effort: Effort,
}

impl Bench<'_> {
    fn read(&self, read: &Ask) -> Outcome {
        for connections in [16, 64] {
            let [keyward, bare] = self.beside_bare(read, connections)?;
            let rate = |samples: &[Sample]| median(samples, |sample| sample.rate);
            let behind = format!("{:.0}/s; bare {:.0}/s; wanted 0.50", rate(&keyward), rate(&bare));
            figure(
                &format!("kv-read-rate-{connections}"),
                ratio(&keyward, &bare, |sample| sample.rate),
                behind,
            )?;
            if connections == 16 {
                cpu("kv-read-cpu", &keyward, &bare, 20.0)?;
            }
        }
        Ok(())
    }

    fn audited_read(&self, read: &Ask, log: &std::path::Path) -> Outcome {
        self.keyward.audit_to(log)?;
        let [keyward, bare] = self.beside_bare(read, 16)?;
        cpu("kv-read-audited-cpu", &keyward, &bare, 35.0)?;
        self.keyward.audit_no_more()
    }

    fn write(&self) -> Outcome {
        let write = self.keyward.ask("POST", "secret/data/write/{n}", setup::SECRET);
        let [many, one, bare] = in_turn(
            self.effort,
            [
                Case { server: &self.keyward.server, ask: &write, connections: 64 },
                Case { server: &self.keyward.server, ask: &write, connections: 1 },
                Case { server: self.bare, ask: &write, connections: 64 },
            ],
        )?;
        cpu("kv-write-cpu", &many, &bare, 120.0)?;
        let rate = |samples: &[Sample]| median(samples, |sample| sample.rate);
        let behind = format!("64 writers {:.0}/s; one {:.0}/s; wanted 5 and more", rate(&many), rate(&one));
        figure("group-commit", ratio(&many, &one, |sample| sample.rate), behind)
    }

    fn encrypt(&self) -> Outcome {
        let body = r#"{"plaintext":"c2l4dHkgYnl0ZXMgb2YgcGxhaW50ZXh0LCBtb3JlIG9yIGxlc3MsIGFyZSBlbm91Z2g="}"#;
        let encrypt = self.keyward.ask("POST", "transit/encrypt/bench", body);
        let [keyward, bare] = self.beside_bare(&encrypt, 16)?;
        cpu("transit-encrypt-cpu", &keyward, &bare, 25.0)
    }

    fn log_in(&self) -> Outcome {
        let login = self.keyward.approle()?;
        // A login is a durable write: its cost is shared with those that are committed together with it.
        let [keyward, bare] = self.beside_bare(&login, 64)?;
        cpu("approle-login-cpu", &keyward, &bare, 100.0)?;
        let login = self.keyward.kubernetes()?;
        let [keyward, bare] = self.beside_bare(&login, 16)?;
        cpu("kubernetes-login-cpu", &keyward, &bare, 150.0)
    }

    fn beside_bare(&self, ask: &Ask, connections: usize) -> Result<[Vec<Sample>; 2], Failure> {
        in_turn(
            self.effort,
            [
                Case { server: &self.keyward.server, ask, connections },
                Case { server: self.bare, ask, connections },
            ],
        )
    }
}

/// Processor time for a request, beside the bare server's and the budget.
fn cpu(name: &str, keyward: &[Sample], bare: &[Sample], budget: f64) -> Outcome {
    let of = |sample: &Sample| sample.cpu;
    let ratio = ratio(keyward, bare, of);
    let behind = format!(
        "{:.1} us; bare {:.1} us; {:.2} of the budget of {budget} us where bare takes {BARE}",
        median(keyward, of),
        median(bare, of),
        ratio / (budget / BARE),
    );
    figure(name, ratio, behind)
}
