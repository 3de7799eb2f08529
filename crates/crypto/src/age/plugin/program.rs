//! The plugin's end of the protocol: what a program named `age-plugin-NAME` answers on its standard input and output.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use keyward_core::Random;

use super::super::format::{Lines, Stanza};
use super::super::{Error, FileKey, Recipient, Wrap};
use crate::secret::{Secret, SecretString};

/// As many stanzas are taken before a client is given up.
const MOST_STANZAS: usize = 10_000;

/// Asks the person in front of the client for a secret; none when nobody can be asked.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> Option<SecretString>;

/// What a plugin knows of its identities, given as they are written.
pub trait Program {
    /// Who to seal for.
    fn recipient(&self, identity: &str) -> Result<Recipient, Error>;

    /// The file key; none when no stanza is for the identity.
    fn unwrap(&self, identity: &str, stanzas: &[Stanza], ask: Ask<'_>) -> Result<Option<FileKey>, Error>;
}

/// Runs a state machine by its name, to its end. What `program` fails with is told to the client; an error here means that there is
/// no client any more, or that it does not speak the protocol.
pub fn serve(
    program: &dyn Program,
    machine: &str,
    random: &dyn Random,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let mut client = Client { input, output };
    match machine {
        "identity-v1" => client.identities(program),
        "recipient-v1" => client.recipients(program, random),
        _ => Err(Error::Plugin("the state machines are identity-v1 and recipient-v1".to_owned())),
    }
}

struct Client<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

impl Client<'_> {
    fn read(&mut self) -> Result<Stanza, Error> {
        let mut lines = Lines::new(self.input);
        let line = lines.next()?;
        let arguments =
            line.strip_prefix(b"-> ").ok_or_else(|| strange("something that is no stanza was sent"))?;
        Stanza::read(arguments, &mut lines)
    }

    fn write(&mut self, stanza: &Stanza) -> Result<(), Error> {
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        stanza.write(&mut bytes);
        self.output.write_all(&bytes).and_then(|()| self.output.flush()).map_err(Error::from)
    }

    /// What the client has to say, up to `done`.
    fn told(&mut self) -> Result<Vec<Stanza>, Error> {
        let mut told = Vec::new();
        while told.len() < MOST_STANZAS {
            let stanza = self.read()?;
            if stanza.tag() == "done" {
                return Ok(told);
            }
            told.push(stanza);
        }
        Err(strange("the client does not come to an end"))
    }

    /// Sends a command, and yields the answer.
    fn command(&mut self, stanza: &Stanza) -> Result<Stanza, Error> {
        self.write(stanza)?;
        self.read()
    }

    fn ask(&mut self, question: &str) -> Option<SecretString> {
        let asked = Stanza::new("request-secret", &[], question.as_bytes().to_vec());
        let mut answer = self.command(&asked).ok().filter(|answer| answer.tag() == "ok")?;
        String::from_utf8(std::mem::take(&mut answer.body)).ok().map(Secret::new)
    }

    /// Says that identity number `at` is of no use, and why.
    fn refuse(&mut self, at: usize, why: &Error) -> Result<(), Error> {
        let body = why.to_string().into_bytes();
        self.command(&Stanza::new("error", &["identity", &at.to_string()], body)).map(drop)
    }

    fn done(&mut self) -> Result<(), Error> {
        self.write(&Stanza::new("done", &[], Vec::new()))
    }

    /// `identity-v1`: the key of each file, by the first identity that has it.
    fn identities(&mut self, program: &dyn Program) -> Result<(), Error> {
        let mut identities = Vec::new();
        let mut files: BTreeMap<usize, Vec<Stanza>> = BTreeMap::new();
        for mut stanza in self.told()? {
            match stanza.arguments.as_slice() {
                [tag, identity] if tag == "add-identity" => identities.push(identity.clone()),
                [tag, file, _, ..] if tag == "recipient-stanza" => {
                    let file = file.parse().map_err(|_| strange("a file has no number"))?;
                    let arguments = stanza.arguments.split_off(2);
                    files.entry(file).or_default().push(Stanza { arguments, body: stanza.body });
                }
                // What later versions of the protocol add may be passed over.
                _ => {}
            }
        }
        let mut refused = vec![false; identities.len()];
        for (file, stanzas) in &files {
            for ((at, identity), refused) in identities.iter().enumerate().zip(&mut refused) {
                if *refused {
                    continue;
                }
                match program.unwrap(identity, stanzas, &mut |question| self.ask(question)) {
                    Ok(None) => {}
                    Ok(Some(file_key)) => {
                        let body = file_key.expose().to_vec();
                        self.command(&Stanza::new("file-key", &[&file.to_string()], body))?;
                        break;
                    }
                    // Asked again it would fail again, and a wrong PIN twice is closer to a locked token.
                    Err(why) => {
                        *refused = true;
                        self.refuse(at, &why)?;
                    }
                }
            }
        }
        self.done()
    }

    /// `recipient-v1`: stanzas for each identity. Recipients are known to every client, and are not the plugin's.
    fn recipients(&mut self, program: &dyn Program, random: &dyn Random) -> Result<(), Error> {
        let mut identities = Vec::new();
        let mut keys: Vec<FileKey> = Vec::new();
        for mut stanza in self.told()? {
            match stanza.arguments.as_slice() {
                [tag, identity] if tag == "add-identity" => identities.push(identity.clone()),
                [tag, recipient] if tag == "add-recipient" => {
                    let why = format!(
                        "{recipient} is no recipient of a plugin: clients since age 1.3 know it themselves"
                    );
                    self.command(&Stanza::new("error", &["recipient", "0"], why.into_bytes()))?;
                    return self.done();
                }
                [tag] if tag == "wrap-file-key" => {
                    let body = Secret::new(std::mem::take(&mut stanza.body));
                    let key = body.expose().as_slice().try_into();
                    keys.push(Secret::new(key.map_err(|_| strange("a file key has not 16 bytes"))?));
                }
                _ => {}
            }
        }
        for (at, identity) in identities.iter().enumerate() {
            for (file, key) in keys.iter().enumerate() {
                let wrapped = program.recipient(identity).and_then(|to| to.wrap(key, random));
                let stanzas = match wrapped {
                    Ok(stanzas) => stanzas,
                    Err(why) => {
                        self.refuse(at, &why)?;
                        return self.done();
                    }
                };
                for stanza in stanzas {
                    let file = file.to_string();
                    let arguments = ["recipient-stanza".to_owned(), file].into_iter();
                    let arguments = arguments.chain(stanza.arguments).collect();
                    self.command(&Stanza { arguments, body: stanza.body })?;
                }
            }
        }
        self.done()
    }
}

fn strange(why: &str) -> Error {
    Error::Plugin(format!("the client does not speak the plugins' protocol: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;
    use crate::age::plugin::{Host, Name, Session};
    use crate::age::{self, Identity, Mixing, Unwrap, x25519};
    use std::io::{BufReader, Cursor};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    /// Knows one key, and hands it out for the PIN 1234.
    struct Locked(x25519::Identity);

    impl Program for Locked {
        fn recipient(&self, _: &str) -> Result<Recipient, Error> {
            Ok(Recipient::X25519(self.0.recipient()))
        }

        fn unwrap(&self, _: &str, stanzas: &[Stanza], ask: Ask<'_>) -> Result<Option<FileKey>, Error> {
            match ask("PIN?") {
                Some(pin) if pin.expose() == "1234" => self.0.unwrap(stanzas),
                Some(_) => Err(Error::Plugin("wrong PIN".to_owned())),
                None => Err(Error::Plugin("nobody to ask".to_owned())),
            }
        }
    }

    /// Runs it in a thread, and answers for the person.
    struct Threads(Arc<Locked>, Option<&'static str>);

    struct Talk(BufReader<UnixStream>, UnixStream, Option<&'static str>);

    impl Host for Threads {
        fn start(&self, _: &Name, machine: &'static str) -> Result<Box<dyn Session>, Error> {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let program = Arc::clone(&self.0);
            std::thread::spawn(move || {
                let mut input = BufReader::new(theirs.try_clone().unwrap());
                serve(program.as_ref(), machine, &SystemRandom, &mut input, &mut &theirs)
            });
            Ok(Box::new(Talk(BufReader::new(ours.try_clone().unwrap()), ours, self.1)))
        }
    }

    impl Session for Talk {
        fn output(&mut self) -> &mut dyn BufRead {
            &mut self.0
        }

        fn input(&mut self) -> &mut dyn Write {
            &mut self.1
        }

        fn show(&mut self, _: &str) -> bool {
            false
        }

        fn ask(&mut self, message: &str, secret: bool) -> Option<SecretString> {
            assert!(message == "PIN?" && secret);
            self.2.map(|pin| Secret::new(pin.to_owned()))
        }

        fn confirm(&mut self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
            None
        }
    }

    fn identity(program: &Arc<Locked>, pin: Option<&'static str>) -> Identity {
        let host: Arc<dyn Host> = Arc::new(Threads(Arc::clone(program), pin));
        let text = crate::bech32::encode_upper("age-plugin-test-", b"any");
        text.expose().parse::<Identity>().unwrap().with_plugins(&host)
    }

    #[test]
    fn a_client_of_ours_understands_it() {
        let program = Arc::new(Locked(x25519::Identity::generate(&SystemRandom)));
        let sealed = age::seal(&[&program.0.recipient()], Mixing::Refuse, &SystemRandom, b"hush").unwrap();
        let open = |pin| age::open(&sealed, &[&identity(&program, pin)], 100);
        assert_eq!(open(Some("1234")).unwrap().expose(), b"hush");
        let why = |pin| open(pin).unwrap_err().to_string();
        assert_eq!(why(Some("9")), "age-plugin-test: wrong PIN");
        assert_eq!(why(None), "age-plugin-test: nobody to ask");
        let other = x25519::Identity::generate(&SystemRandom).recipient();
        let sealed = age::seal(&[&other], Mixing::Refuse, &SystemRandom, b"hush").unwrap();
        let missed = age::open(&sealed, &[&identity(&program, Some("1234"))], 100);
        assert_eq!(missed.unwrap_err(), Error::NoMatch);
    }

    fn answer(machine: &str, said: &str) -> (Result<(), Error>, String) {
        let program = Locked(x25519::Identity::generate(&SystemRandom));
        let mut out = Vec::new();
        let mut input = Cursor::new(said.as_bytes());
        let done = serve(&program, machine, &SystemRandom, &mut input, &mut out);
        (done, String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_identity_can_be_sealed_for() {
        let said = "-> add-identity X\n\n-> extension-labels\n\n-> wrap-file-key\nAAAAAAAAAAAAAAAAAAAAAA\n-> done\n\n-> ok\n\n";
        let (done, out) = answer("recipient-v1", said);
        assert!(done.is_ok() && out.starts_with("-> recipient-stanza 0 X25519 "), "{out}");
        assert!(out.ends_with("-> done\n\n"), "{out}");
        let (done, out) = answer("recipient-v1", "-> add-recipient age1keyward1x\n\n-> done\n\n-> ok\n\n");
        assert!(done.is_ok() && out.starts_with("-> error recipient 0\n"), "{out}");
    }

    #[test]
    fn what_is_no_protocol_ends_it() {
        for said in [
            "",
            "GET / HTTP/1.1\n",
            "-> add-identity X\n\n",
            "-> wrap-file-key\nAAAA\n-> done\n\n",
            "-> \n\n",
        ] {
            let (done, out) = answer("recipient-v1", said);
            assert!(done.is_err() && out.is_empty(), "{said:?}: {out}");
        }
        let (done, _) = answer("identity-v1", "-> recipient-stanza x X25519 y\n\n-> done\n\n");
        assert!(done.is_err());
        assert!(answer("identity-v2", "").0.is_err());
    }
}
