//! Gathers faults: each with its place, all of them at once, in the order of the files.
//!
//! Readers go on after a fault with a stand-in value, so that one fault never hides another. A
//! stand-in never gets out: with one fault there is no `Config`.

use std::fmt::Display;
use std::sync::Arc;

use super::Fault;

/// Most characters of a file's text that a fault quotes.
const QUOTE_MAX: usize = 80;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, as the person wrote it.
    pub file: Arc<str>,
    /// From 1; 0 for the whole file.
    pub line: u32,
}

impl Place {
    /// A whole file.
    pub(super) fn whole(file: &str) -> Self {
        Self {
            file: Arc::from(file),
            line: 0,
        }
    }
}

/// How many faults there are, in words.
pub fn count(faults: &[Fault]) -> String {
    match faults.len() {
        1 => "1 fault".to_owned(),
        many => format!("{many} faults"),
    }
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes one fault.
    pub fn add(
        &mut self,
        place: &Place,
        what: impl Into<String>,
        found: impl Display,
        allowed: impl Into<String>,
    ) {
        self.0.push(Fault {
            file: place.file.to_string(),
            line: place.line,
            what: what.into(),
            found: found.to_string(),
            allowed: allowed.into(),
        });
    }

    /// Takes over what was found elsewhere.
    pub fn append(&mut self, others: Vec<Fault>) {
        self.0.extend(others);
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them by file and line, each once.
    pub fn sorted(mut self) -> Vec<Fault> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

/// A piece of a file's text for a fault: one line, and not long.
pub fn quote(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(QUOTE_MAX).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    format!("`{short}`")
}

/// Turns byte offsets of a text into lines.
#[derive(Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// The lines of `text`.
    pub fn of(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub fn line(&self, offset: usize) -> u32 {
        let line = self.0.partition_point(|start| *start <= offset);
        u32::try_from(line).unwrap_or(u32::MAX)
    }
}
