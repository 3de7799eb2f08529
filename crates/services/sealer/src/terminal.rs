//! The person at the terminal, who is asked on `/dev/tty`, so that standard input and output stay free for files.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

use keyward_crypto::Secret;
use keyward_crypto::secret::SecretString;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Puts back how a terminal was.
struct Quiet<'a>(&'a File, Termios);

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> Option<Quiet<'a>> {
        let before = tcgetattr(terminal).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Now, &quiet).ok()?;
        Some(Quiet(terminal, before))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.0, OptionalActions::Now, &self.1);
    }
}

fn terminal() -> Option<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").ok()
}

/// Asks for a line, hidden while it is typed when it is secret; none where there is no terminal.
pub fn ask(question: &str, secret: bool) -> Option<SecretString> {
    let terminal = terminal()?;
    write!(&terminal, "{question} ").ok()?;
    let mut line = String::with_capacity(4096);
    {
        let _quiet = if secret { Some(Quiet::new(&terminal)?) } else { None };
        BufReader::with_capacity(4096, &terminal).read_line(&mut line).ok()?;
    }
    if secret {
        let _ = writeln!(&terminal);
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Some(Secret::new(line))
}

/// Shows a line; whether there was a terminal to show it on. What a plugin says may hold anything, so control characters
/// are left out.
pub fn show(message: &str) -> bool {
    let plain: String = message.chars().filter(|letter| !letter.is_control() || *letter == '\n').collect();
    terminal().is_some_and(|terminal| writeln!(&terminal, "{plain}").is_ok())
}
