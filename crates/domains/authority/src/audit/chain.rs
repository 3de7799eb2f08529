//! Binding each line of a log to the one before it.
//!
//! Every line ends in `"chain":{"seq":N,"prev":"H"}}`, where `N` counts from 1 and `H` is the SHA-256 (FIPS
//! 180-4) of the whole line before, without its newline, in hexadecimal; sixty-four zeros before the first
//! line. A line that is changed, removed, inserted or moved no longer fits the one after it. Lines cut off the
//! end are missed only by who knows the head: the last number and hash.

use keyward_crypto::sha256;
use std::fmt;

/// The digits of a hash.
const DIGITS: usize = 64;
const ZEROS: [u8; DIGITS] = [b'0'; DIGITS];
const OPENING: &str = ",\"chain\":{\"seq\":";
const MIDDLE: &str = ",\"prev\":\"";
const CLOSING: &str = "\"}}";

/// The end of a chain: what the next line will be bound to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line; zero before the first.
    pub seq: u64,
    hash: [u8; DIGITS],
}

impl Head {
    /// Before the first line.
    pub const START: Head = Head { seq: 0, hash: ZEROS };

    /// The hash of the last line, in hexadecimal.
    pub fn hash(&self) -> &str {
        std::str::from_utf8(&self.hash).unwrap_or_default()
    }

    /// From a number and a hash as they are shown.
    pub fn new(seq: u64, hash: &str) -> Option<Head> {
        let digits = hash.as_bytes().try_into().ok()?;
        hash.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            .then_some(Head { seq, hash: digits })
    }

    /// Appends `record`, a JSON object on one line, behind `prefix`, bound to this head and ended by a newline,
    /// and answers with the head it makes. A line that could not be written is forgotten by keeping this head.
    pub fn link(&self, prefix: &str, record: &str, out: &mut Vec<u8>) -> Head {
        let (start, seq) = (out.len(), self.seq.saturating_add(1));
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(record.strip_suffix('}').unwrap_or(record).as_bytes());
        out.extend_from_slice(OPENING.as_bytes());
        out.extend_from_slice(seq.to_string().as_bytes());
        out.extend_from_slice(MIDDLE.as_bytes());
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(CLOSING.as_bytes());
        let head = Head { seq, hash: digits(&sha256(&out[start..])) };
        out.push(b'\n');
        head
    }

    /// The head that `line`, without its newline, makes; none when it is not a line of a chain.
    pub fn of_line(line: &[u8]) -> Option<Head> {
        let (seq, _) = read(line)?;
        Some(Head { seq, hash: digits(&sha256(line)) })
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seq, self.hash())
    }
}

fn digits(hash: &[u8; 32]) -> [u8; DIGITS] {
    let mut out = ZEROS;
    // The length is right by its type.
    let _ = hex::encode_to_slice(hash, &mut out);
    out
}

/// The number of a line and the hash it claims of the line before. Strict, from the end of the line, so that
/// nothing inside a record can pass for its binding.
fn read(line: &[u8]) -> Option<(u64, &[u8])> {
    let rest = line.strip_suffix(CLOSING.as_bytes())?;
    let (rest, prev) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let rest = rest.strip_suffix(MIDDLE.as_bytes())?;
    let number = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, number) = rest.split_at_checked(rest.len().checked_sub(number)?)?;
    rest.strip_suffix(OPENING.as_bytes())?;
    let number = std::str::from_utf8(number).ok()?;
    (!number.starts_with('0')).then(|| number.parse().ok().map(|seq| (seq, prev)))?
}

/// Why a log is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The line does not end in a binding.
    Unbound,
    /// Lines are missing before this one, or it was moved here.
    Jump {
        /// The number that should be here.
        expected: u64,
        /// The number that is.
        found: u64,
    },
    /// The line before is not the one this line was bound to: it was changed or replaced.
    Altered,
    /// A chain begins anew here: nothing binds it to the lines before.
    Restart,
    /// The line is not ended by a newline: it was not written whole.
    Torn,
    /// There is nothing to check.
    Empty,
    /// The log ends elsewhere than it is known to.
    Ends {
        /// Where it should end.
        expected: Head,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Unbound => f.write_str("the line carries no chain: it was not written by an audit device"),
            Why::Jump { expected, found } if found > expected => write!(
                f,
                "record {expected} should be here but record {found} is: {} missing",
                match found - expected {
                    1 => "one record is".to_owned(),
                    count => format!("{count} records are"),
                }
            ),
            Why::Jump { expected, found } => {
                write!(f, "record {expected} should be here but record {found} is: it was inserted or moved")
            }
            Why::Altered => f.write_str("the line before is not the one that was written: it was changed"),
            Why::Restart => f.write_str(
                "a new chain begins here: nothing proves that no records are missing before it; check each \
                 chain by itself",
            ),
            Why::Torn => f.write_str("the line is not complete"),
            Why::Empty => f.write_str("there are no records"),
            Why::Ends { expected } => write!(
                f,
                "the log does not end with record {} and its hash {}: records were cut off, or it goes on",
                expected.seq,
                expected.hash()
            ),
        }
    }
}

/// The first place where a log is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The line, counted from 1 over everything checked.
    pub line: u64,
    /// What is wrong there.
    pub why: Why,
}

/// What was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The number of the first record.
    pub first: u64,
    /// The last record.
    pub head: Head,
    /// How many records there are.
    pub records: u64,
}

/// Checks a log line by line; several files of one log are checked by giving their lines in order.
#[derive(Debug, Default)]
pub struct Verifier {
    lines: u64,
    first: u64,
    head: Option<Head>,
}

impl Verifier {
    /// Takes the next line, with its newline.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Break> {
        self.lines += 1;
        let broken = |why| Err(Break { line: self.lines, why });
        let Some(text) = line.strip_suffix(b"\n") else { return broken(Why::Torn) };
        let (Some((seq, prev)), Some(head)) = (read(text), Head::of_line(text)) else {
            return broken(Why::Unbound);
        };
        match self.head {
            None => self.first = seq,
            Some(_) if seq == 1 && prev == ZEROS => return broken(Why::Restart),
            Some(before) if seq != before.seq.saturating_add(1) => {
                return broken(Why::Jump { expected: before.seq.saturating_add(1), found: seq });
            }
            Some(before) if prev != before.hash => return broken(Why::Altered),
            Some(_) => {}
        }
        self.head = Some(head);
        Ok(())
    }

    /// The last line that was good.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// What the lines prove; with `expected`, that the last of them is that one.
    pub fn finish(self, expected: Option<Head>) -> Result<Proved, Break> {
        let Some(head) = self.head else { return Err(Break { line: self.lines, why: Why::Empty }) };
        match expected {
            Some(expected) if expected != head => {
                Err(Break { line: self.lines, why: Why::Ends { expected } })
            }
            _ => Ok(Proved { first: self.first, head, records: self.lines }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(from: Head, count: usize) -> (Vec<Vec<u8>>, Head) {
        let mut head = from;
        let mut line = |at: usize| {
            let mut out = Vec::new();
            head = head.link("", &format!("{{\"type\":\"request\",\"n\":{at}}}"), &mut out);
            out
        };
        let lines = (0..count).map(&mut line).collect();
        (lines, head)
    }

    fn verify(lines: &[Vec<u8>], head: Option<Head>) -> Result<Proved, Break> {
        let mut verifier = Verifier::default();
        for line in lines {
            verifier.line(line)?;
        }
        verifier.finish(head)
    }

    fn broken(lines: &[Vec<u8>]) -> Option<(u64, Why)> {
        verify(lines, None).err().map(|found| (found.line, found.why))
    }

    #[test]
    fn a_line_is_json_and_bound() {
        let mut out = Vec::new();
        let head = Head::START.link("@cee: ", "{\"a\":1}", &mut out);
        let text = String::from_utf8(out.clone()).unwrap();
        let zeros = "0".repeat(64);
        assert_eq!(text, format!("@cee: {{\"a\":1,\"chain\":{{\"seq\":1,\"prev\":\"{zeros}\"}}}}\n"));
        assert_eq!(Head::of_line(&out[..out.len() - 1]), Some(head));
        assert_eq!(Head::new(1, head.hash()), Some(head));
        assert_eq!(head.hash(), hex::encode(sha256(&out[..out.len() - 1])));
        for bad in ["", "{}", "{\"a\":1}", "{\"chain\":{\"seq\":1,\"prev\":\"\"}}"] {
            assert_eq!(Head::of_line(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ten_thousand_lines_are_whole_in_any_number_of_files() {
        let (mut lines, middle) = log(Head::START, 6000);
        let (rest, head) = log(middle, 4000);
        assert_eq!(verify(&rest, None).map(|proved| (proved.first, proved.records)), Ok((6001, 4000)));
        lines.extend(rest);
        assert_eq!(verify(&lines, Some(head)), Ok(Proved { first: 1, head, records: 10_000 }));
    }

    #[test]
    fn every_kind_of_tampering_is_found_at_its_line() {
        let (lines, head) = log(Head::START, 10);
        let edited = |act: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut copy = lines.clone();
            act(&mut copy);
            broken(&copy)
        };
        // Any change to any byte of any line but the last is seen at that line or the next.
        for line in 0..9 {
            for at in 0..lines[line].len() {
                let found = edited(&|lines| lines[line][at] ^= 1);
                let found = found.map(|(at, _)| at as usize).unwrap_or(0);
                assert!(found == line + 1 || found == line + 2, "line {line} byte {at}: {found}");
            }
        }
        assert_eq!(edited(&|l| drop(l.remove(4))), Some((5, Why::Jump { expected: 5, found: 6 })));
        assert_eq!(edited(&|l| l.swap(4, 5)), Some((5, Why::Jump { expected: 5, found: 6 })));
        assert_eq!(edited(&|l| l.insert(4, l[3].clone())), Some((5, Why::Jump { expected: 5, found: 4 })));
        assert_eq!(edited(&|l| l.insert(4, b"{}\n".to_vec())), Some((5, Why::Unbound)));
        assert_eq!(edited(&|l| l.insert(4, l[0].clone())), Some((5, Why::Restart)));
        assert_eq!(edited(&|l| assert_eq!(l[9].pop(), Some(b'\n'))), Some((10, Why::Torn)));
        let forged = |l: &mut Vec<Vec<u8>>| {
            let mut out = Vec::new();
            let before = Head::of_line(&l[3][..l[3].len() - 1]).unwrap();
            before.link("", "{\"forged\":true}", &mut out);
            l[4] = out;
        };
        assert_eq!(edited(&forged), Some((6, Why::Altered)));
        // A cut tail and an altered last line are known only by the head.
        let cut = &lines[..9];
        assert!(verify(cut, None).is_ok());
        assert_eq!(verify(cut, Some(head)).err(), Some(Break { line: 9, why: Why::Ends { expected: head } }));
        assert_eq!(broken(&[]), Some((0, Why::Empty)));
    }

    #[test]
    fn a_binding_inside_a_record_is_not_the_lines() {
        let (lines, head) = log(Head::START, 2);
        let fake = String::from_utf8(lines[1].clone()).unwrap();
        let quoted = serde_json::to_string(fake.trim_end()).unwrap();
        let mut out = Vec::new();
        let next = head.link("", &format!("{{\"path\":{quoted}}}"), &mut out);
        assert_eq!(verify(&[lines[0].clone(), lines[1].clone(), out], Some(next)).map(|p| p.records), Ok(3));
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(line in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Head::of_line(&line);
            let _ = Verifier::default().line(&line);
        }
    }
}
