//! Messages that crashed the process: known by their number at the next start, never judged again.
//!
//! A message that makes the loop panic leaves a state that nobody can trust, so the process ends;
//! what was committed is in the journal. It is noted here first. When the gateway sends it again,
//! after the next start, it is journaled with its bytes as set aside, and judged by nobody: one bad
//! message cannot keep a centre down. So is one from which more follows than the journal takes.
//!
//! A gateway says a message again in other bytes (in a bundle, with another time and `seq`), so a
//! numbered one is known by its gateway, run and sequence; by its digest only one without a number.
//!
//! Invariants: the file is synced before the process ends; an ordinary message costs nothing while
//! the list is empty.
//!
//! Limits: [`KNOWN_MAX`] messages; the oldest goes, counted in the file: it is judged again when it
//! comes again. Only a panic is caught: a message that makes the
//! system kill the process (no memory, a stack that overflows) is not known here.

use std::fs::{self, File};
use std::io::Write as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use davy_core::delivery::MessageNumber;
use davy_core::sparkplug::{Topic, walk};

use crate::entry;
use crate::journal::Sum;

/// Its name in the data folder. Taking it away has every message judged again.
pub const FILE: &str = "quarantine.txt";

/// Messages that are kept.
const KNOWN_MAX: usize = 64;

/// How the line begins that says how many have gone.
const FORGOTTEN: &str = "forgotten ";

/// What a message is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// Its gateway and the number that it gave it.
    Numbered(String, MessageNumber),
    /// Its bytes, as the journal keeps them.
    Digest(Sum),
}

impl Name {
    fn of(topic: &str, payload: &[u8]) -> Self {
        let node = match Topic::parse(topic) {
            Ok(Topic::Node { node, .. } | Topic::Device { node, .. }) => Some(node),
            _ => None,
        };
        match node.zip(number_of(payload)) {
            Some((node, number)) => Self::Numbered(node.to_owned(), number),
            None => Self::Digest(Sum::of(&entry::encode_message(topic, payload))),
        }
    }

    /// A line of the file; none when it is no name. The node stands last: it may hold spaces.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.trim().splitn(3, ' ');
        let (first, second, node) = (words.next()?, words.next(), words.next());
        match second.zip(node) {
            None => Some(Self::Digest(first.parse().ok()?)),
            Some((sequence, node)) => {
                let (run, sequence) = (first.parse().ok()?, sequence.parse().ok()?);
                let number = MessageNumber { run, sequence };
                Some(Self::Numbered(node.to_owned(), number))
            }
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Numbered(node, MessageNumber { run, sequence }) => {
                write!(f, "{run} {sequence} {node}")
            }
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// The number that its gateway gave a message, if it has one. It may be the reading of the number
/// that panics: then it has none.
pub fn number_of(payload: &[u8]) -> Option<MessageNumber> {
    let number = catch_unwind(|| walk(payload).and_then(|walk| walk.number()));
    number.ok()?.ok()?
}

/// What crashed the process.
#[derive(Debug)]
pub struct Quarantine {
    file: PathBuf,
    /// Each with whether it has come since the start.
    known: Vec<(Name, bool)>,
    forgotten: u64,
}

impl Quarantine {
    /// The list of a data folder. A line that is no message's name is passed over.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let known = text.lines().filter_map(Name::read);
        let known = known.map(|name| (name, false)).collect();
        let forgotten = text.lines().find_map(|line| line.strip_prefix(FORGOTTEN));
        let forgotten = forgotten.and_then(|count| count.trim().parse().ok());
        Ok(Self {
            file,
            known,
            forgotten: forgotten.unwrap_or(0),
        })
    }

    /// Messages that had to go from the list since it was made.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether no message is in it.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a message is in it: none if not, `true` when it comes for the first time since the
    /// start.
    pub fn look(&mut self, topic: &str, payload: &[u8]) -> Option<bool> {
        let name = Name::of(topic, payload);
        let (_, came) = self.known.iter_mut().find(|(known, _)| *known == name)?;
        Some(!std::mem::replace(came, true))
    }

    /// Puts a message in, synced.
    pub fn add(&mut self, topic: &str, payload: &[u8]) -> std::io::Result<()> {
        self.known.push((Name::of(topic, payload), true));
        let surplus = self.known.len().saturating_sub(KNOWN_MAX);
        self.known.drain(..surplus);
        self.forgotten = self.forgotten.saturating_add(surplus as u64);
        let part = self.file.with_extension("part");
        let mut file = File::create(&part)?;
        if self.forgotten > 0 {
            writeln!(file, "{FORGOTTEN}{}", self.forgotten)?;
        }
        for (name, _) in &self.known {
            writeln!(file, "{name}")?;
        }
        file.sync_all()?;
        fs::rename(&part, &self.file)?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use davy_core::reading::Timestamp;
    use davy_core::sparkplug::{encode_data, finish};

    use super::*;

    #[test]
    fn what_was_put_in_is_known_at_the_next_start() -> std::io::Result<()> {
        let folder = tempfile::TempDir::new()?;
        let mut list = Quarantine::open(folder.path())?;
        assert!(list.is_empty());
        assert_eq!(list.look("t", b"a"), None);
        list.add("t", b"a")?;
        fs::write(
            folder.path().join(FILE),
            fs::read_to_string(folder.path().join(FILE))? + "rubbish\n",
        )?;
        let mut list = Quarantine::open(folder.path())?;
        assert_eq!(list.look("t", b"a"), Some(true));
        assert_eq!(list.look("t", b"a"), Some(false));
        assert_eq!(list.look("t", b"b"), None);
        for number in 0..KNOWN_MAX {
            list.add("t", &number.to_be_bytes())?;
        }
        let mut list = Quarantine::open(folder.path())?;
        assert_eq!(list.known.len(), KNOWN_MAX);
        assert_eq!(list.look("t", b"a"), None, "the oldest has gone");
        assert_eq!(list.forgotten(), 1);
        list.add("t", b"one more")?;
        assert_eq!(Quarantine::open(folder.path())?.forgotten(), 2);
        Ok(())
    }

    #[test]
    fn a_numbered_message_is_known_in_whatever_bytes_it_comes() -> std::io::Result<()> {
        let topic = "spBv1.0/works/DDATA/a gateway/gas";
        let number = MessageNumber {
            run: 3,
            sequence: 7,
        };
        let said = |at: i64, number: MessageNumber| {
            let (mut stored, mut payload) = (Vec::new(), Vec::new());
            let (at, nothing) = (Timestamp(at), std::iter::empty());
            encode_data(&mut stored, at, Some(number), nothing);
            finish(&stored, at, at.0 as u8, true, &mut payload).unwrap();
            payload
        };
        let folder = tempfile::TempDir::new()?;
        Quarantine::open(folder.path())?.add(topic, &said(1, number))?;
        let mut list = Quarantine::open(folder.path())?;
        let next = MessageNumber {
            sequence: 8,
            ..number
        };
        assert_eq!(list.look(topic, &said(1, next)), None);
        let elsewhere = "spBv1.0/works/DDATA/b/gas";
        assert_eq!(list.look(elsewhere, &said(1, number)), None);
        assert_ne!(said(1, number), said(2, number));
        assert_eq!(list.look(topic, &said(2, number)), Some(true));
        Ok(())
    }
}
