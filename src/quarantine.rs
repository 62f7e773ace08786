//! Messages that crashed the process: known by their digest at the next start, never judged again.
//!
//! A message that makes the loop panic leaves a state that nobody can trust, so the process ends;
//! what was committed is in the journal. Its digest is written here first. When the gateway sends
//! it again, after the next start, it is journaled with its bytes as set aside, and judged by
//! nobody: one bad message cannot keep a centre down.
//!
//! Invariants: the file is synced before the process ends; an ordinary message costs nothing while
//! the list is empty.
//!
//! Limits: [`KNOWN_MAX`] digests; the oldest goes. Only a panic is caught: a message that makes the
//! system kill the process (no memory, a stack that overflows) is not known here.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::journal::Sum;

/// Its name in the data folder. Taking it away has every message judged again.
pub const FILE: &str = "quarantine.txt";

/// Digests that are kept.
const KNOWN_MAX: usize = 64;

/// What crashed the process.
#[derive(Debug)]
pub struct Quarantine {
    file: PathBuf,
    /// Each with whether it has come since the start.
    known: Vec<(Sum, bool)>,
}

impl Quarantine {
    /// The list of a data folder. A line that is no digest is passed over.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let digests = text.lines().filter_map(|line| line.trim().parse().ok());
        let known = digests.map(|digest| (digest, false)).collect();
        Ok(Self { file, known })
    }

    /// Whether no message is in it.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a message, as the journal keeps it, is in it: none if not, `true` when it comes for
    /// the first time since the start.
    pub fn look(&mut self, message: &[u8]) -> Option<bool> {
        let digest = Sum::of(message);
        let (_, came) = self.known.iter_mut().find(|(known, _)| *known == digest)?;
        Some(!std::mem::replace(came, true))
    }

    /// Puts a message in, synced.
    pub fn add(&mut self, message: &[u8]) -> std::io::Result<()> {
        self.known.push((Sum::of(message), true));
        let surplus = self.known.len().saturating_sub(KNOWN_MAX);
        self.known.drain(..surplus);
        let part = self.file.with_extension("part");
        let mut file = File::create(&part)?;
        for (digest, _) in &self.known {
            writeln!(file, "{digest}")?;
        }
        file.sync_all()?;
        fs::rename(&part, &self.file)?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_known_at_the_next_start() -> std::io::Result<()> {
        let folder = tempfile::TempDir::new()?;
        let mut list = Quarantine::open(folder.path())?;
        assert!(list.is_empty());
        assert_eq!(list.look(b"a"), None);
        list.add(b"a")?;
        fs::write(
            folder.path().join(FILE),
            fs::read_to_string(folder.path().join(FILE))? + "rubbish\n",
        )?;
        let mut list = Quarantine::open(folder.path())?;
        assert_eq!(list.look(b"a"), Some(true));
        assert_eq!(list.look(b"a"), Some(false));
        assert_eq!(list.look(b"b"), None);
        for number in 0..KNOWN_MAX {
            list.add(&number.to_be_bytes())?;
        }
        let mut list = Quarantine::open(folder.path())?;
        assert_eq!(list.known.len(), KNOWN_MAX);
        assert_eq!(list.look(b"a"), None, "the oldest has gone");
        Ok(())
    }
}
