//! Plugins as programs on the `PATH`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use keyward_crypto::age::Error;
#[cfg(feature = "hardware")]
use keyward_crypto::age::Unwrap;
use keyward_crypto::age::plugin::{Host, Name, Session};
use keyward_crypto::secret::SecretString;

use crate::terminal;

/// Starts `age-plugin-NAME`, and lets the person at the terminal answer it.
pub struct Programs;

struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Host for Programs {
    fn start(&self, name: &Name, machine: &'static str) -> Result<Box<dyn Session>, Error> {
        let program = name.program();
        let mut command = Command::new(&program);
        command.arg(format!("--age-plugin={machine}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound if name.as_str() == "keyward" => Error::Plugin(format!(
                "this program is built without tokens, and {program} is not on the PATH: put a link of that name to a keyward \
                 that is built with them there"
            )),
            std::io::ErrorKind::NotFound => {
                Error::Plugin(format!("{program} is not on the PATH: install the plugin that made the key"))
            }
            _ => Error::Plugin(format!("{program} cannot be started: {why}")),
        })?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => {
                Ok(Box::new(Running { child, input, output: BufReader::new(output) }))
            }
            _ => Err(Error::Plugin(format!("{program} cannot be talked to"))),
        }
    }

    /// Identities of tokens are this program's own, where it is built with them: it asks for a PIN once, not for each file.
    #[cfg(feature = "hardware")]
    fn stands_in(&self, name: &Name, identity: &SecretString) -> Option<Box<dyn Unwrap + Send + Sync>> {
        crate::hardware::stands_in(name, identity)
    }
}

impl Session for Running {
    fn output(&mut self) -> &mut dyn BufRead {
        &mut self.output
    }

    fn input(&mut self) -> &mut dyn Write {
        &mut self.input
    }

    fn show(&mut self, message: &str) -> bool {
        terminal::show(message)
    }

    fn ask(&mut self, message: &str, secret: bool) -> Option<SecretString> {
        terminal::ask(message, secret)
    }

    fn confirm(&mut self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let question = match no {
            Some(no) => format!("{message} [y: {yes}, n: {no}]"),
            None => format!("{message} [y: {yes}]"),
        };
        let answer = terminal::ask(&question, false)?;
        Some(answer.expose().trim().eq_ignore_ascii_case("y"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It was told all it needs. Whoever still runs then is of no use.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
