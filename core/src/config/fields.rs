//! Reads TOML tables field by field, so that every fault of a table is found, each with its line.
//!
//! Each reader takes one key and gives its value, or a stand-in after noting a fault.
//! `Fields::finish` refuses every key that nobody asked for. The shells read their own files with it
//! too. A number that is not finite is a fault
//! here, so that no comparison further on meets NaN.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SourceFile;
use super::duration;
use super::fault::{Faults, Lines, Place, quote};
use crate::point::Text;

/// Most characters of one text.
const TEXT_MAX: usize = 2_000;

/// A TOML file, parsed.
pub struct Document<'a> {
    file: Arc<str>,
    text: &'a str,
    lines: Lines,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Parses a file; none after noting its syntax errors, all of them.
    pub fn parse(file: &'a SourceFile, faults: &mut Faults) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(&file.text);
        let document = Self {
            file: Arc::from(file.name.as_str()),
            text: &file.text,
            lines: Lines::of(&file.text),
            root,
        };
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().lines().next().unwrap_or("an error");
            faults.add(&document.place(offset), "syntax", message, "TOML");
        }
        errors.is_empty().then_some(document)
    }

    /// Its outermost table.
    pub fn root(&'a self) -> Fields<'a> {
        Fields {
            document: self,
            what: String::new(),
            place: self.place_of_file(),
            table: self.root.get_ref(),
            known: Vec::new(),
        }
    }

    fn place(&self, offset: usize) -> Place {
        Place {
            file: self.file.clone(),
            line: self.lines.line(offset),
        }
    }

    fn place_of_file(&self) -> Place {
        Place {
            file: self.file.clone(),
            line: 0,
        }
    }
}

/// A table, and which of its keys have been asked for.
pub struct Fields<'a> {
    document: &'a Document<'a>,
    /// What the table describes, for faults: ``gateway `tank-farm` ``.
    pub what: String,
    /// Where it begins.
    pub place: Place,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Fields<'a> {
    /// Refuses the keys that nobody asked for. To be called last.
    pub fn finish(self, faults: &mut Faults) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let place = self.document.place(key.span().start);
                let allowed = self.known.join(", ");
                faults.add(&place, self.what_of("unknown key"), quote(name), allowed);
            }
        }
    }

    fn what_of(&self, thing: &str) -> String {
        if self.what.is_empty() {
            thing.to_owned()
        } else {
            format!("{}, {thing}", self.what)
        }
    }

    /// Says what the table describes: a kind of thing and the ids that lead to it. With an id that
    /// is empty after a fault it keeps the number that it has in its list.
    pub fn describe(&mut self, kind: &str, ids: &[&str]) {
        if !ids.iter().any(|id| id.is_empty()) {
            self.what = format!("{kind} `{}`", ids.join("/"));
        }
    }

    fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    /// Whether the key stands there.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    fn missing(&self, key: &str, allowed: &str, faults: &mut Faults) {
        let what = self.what_of(&format!("key `{key}`"));
        faults.add(&self.place, what, "nothing", allowed);
    }

    fn wrong(&self, key: &str, value: Value<'_>, allowed: &str, faults: &mut Faults) {
        let span = value.span();
        let what = self.what_of(&format!("key `{key}`"));
        let found = quote(self.document.text.get(span.clone()).unwrap_or_default());
        faults.add(&self.document.place(span.start), what, found, allowed);
    }

    /// Notes what is wrong with a key beyond its form, at its line.
    pub fn refuse(&mut self, key: &'static str, found: &str, allowed: &str, faults: &mut Faults) {
        let what = self.what_of(&format!("key `{key}`"));
        let place = match self.get(key) {
            Some(value) => self.document.place(value.span().start),
            None => self.place.clone(),
        };
        faults.add(&place, what, found, allowed);
    }

    /// A value that must be there and that `read` accepts.
    fn need<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        faults: &mut Faults,
        read: impl Fn(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = self.get(key) else {
            self.missing(key, allowed, faults);
            return None;
        };
        let read = read(value.get_ref());
        if read.is_none() {
            self.wrong(key, value, allowed, faults);
        }
        read
    }

    /// A text that is not empty; empty after a fault.
    pub fn string(&mut self, key: &'static str, faults: &mut Faults) -> String {
        let allowed = format!("text of 1 to {TEXT_MAX} characters");
        self.need(key, &allowed, faults, text).unwrap_or_default()
    }

    /// An identifier of `[A-Za-z0-9_.-]`, 1 to 64 of them; empty after a fault.
    pub fn id(&mut self, key: &'static str, faults: &mut Faults) -> String {
        self.need(key, ID_ALLOWED, faults, |value| {
            text(value).filter(|id| is_id(id))
        })
        .unwrap_or_default()
    }

    /// A text that `read` accepts; none after a fault.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        allowed: &str,
        faults: &mut Faults,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.need(key, allowed, faults, |value| read(value.as_str()?))
    }

    /// Texts under names of the person's choice, none of them empty; each with its place.
    pub fn named_strings(
        &mut self,
        key: &'static str,
        faults: &mut Faults,
    ) -> Vec<(String, Place, String)> {
        let Some(outer) = self.optional_table(key, faults) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (name, value) in outer.table {
            let found = name.get_ref().as_ref();
            let place = self.document.place(name.span().start);
            match text(value.get_ref()) {
                Some(text) => texts.push((found.to_owned(), place, text)),
                None => outer.wrong(found, value, "text, not empty", faults),
            }
        }
        texts
    }

    /// A finite number; none after a fault.
    pub fn number(&mut self, key: &'static str, faults: &mut Faults) -> Option<f64> {
        self.need(key, "a finite number", faults, finite)
    }

    /// A whole number in `range`; its start after a fault.
    pub fn long(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        faults: &mut Faults,
    ) -> u64 {
        let allowed = format!("a whole number, {} to {}", range.start(), range.end());
        self.need(key, &allowed, faults, |value| {
            let number = u64::try_from(whole(value)?).ok()?;
            range.contains(&number).then_some(number)
        })
        .unwrap_or(*range.start())
    }

    /// A number between 0 and 1, neither included; 0 after a fault.
    pub fn share(&mut self, key: &'static str, faults: &mut Faults) -> f64 {
        self.need(key, "a number above 0 and below 1", faults, |value| {
            finite(value).filter(|share| *share > 0.0 && *share < 1.0)
        })
        .unwrap_or_default()
    }

    /// A whole number in `range`; its start after a fault.
    pub fn whole(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        faults: &mut Faults,
    ) -> u32 {
        let long = u64::from(*range.start())..=u64::from(*range.end());
        let number = self.long(key, long, faults);
        u32::try_from(number).unwrap_or(*range.start())
    }

    /// A duration in `range`; zero after a fault.
    pub fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        faults: &mut Faults,
    ) -> Duration {
        let (low, high) = (
            duration::write(*range.start()),
            duration::write(*range.end()),
        );
        let allowed =
            format!("{low} to {high}, written as \"500ms\", \"1s\", \"10min\", \"8h\", \"3d\"");
        self.need(key, &allowed, faults, |value| {
            duration::parse(value.as_str()?).filter(|duration| range.contains(duration))
        })
        .unwrap_or_default()
    }

    /// `true` or `false`; false after a fault.
    pub fn flag(&mut self, key: &'static str, faults: &mut Faults) -> bool {
        self.need(key, "true or false", faults, DeValue::as_bool)
            .unwrap_or_default()
    }

    /// One of some words; none after a fault.
    pub fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        faults: &mut Faults,
    ) -> Option<T> {
        let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.need(key, &allowed.join(", "), faults, |value| {
            let found = value.as_str()?;
            words
                .iter()
                .find(|(word, _)| *word == found)
                .map(|(_, it)| *it)
        })
    }

    /// A text in both languages, neither empty.
    pub fn text(&mut self, key: &'static str, faults: &mut Faults) -> Text {
        let Some(mut inner) = self.table(key, faults) else {
            return Text::default();
        };
        let zh = inner.string("zh", faults);
        let en = inner.string("en", faults);
        inner.finish(faults);
        Text { zh, en }
    }

    /// A list of texts; may be empty.
    pub fn strings(&mut self, key: &'static str, faults: &mut Faults) -> Vec<String> {
        self.need(key, "a list of texts", faults, |value| {
            value
                .as_array()?
                .iter()
                .map(|item| text(item.get_ref()))
                .collect()
        })
        .unwrap_or_default()
    }

    /// A table that must be there.
    pub fn table(&mut self, key: &'static str, faults: &mut Faults) -> Option<Self> {
        self.need(key, "a table", faults, |value| value.as_table().map(|_| ()))?;
        self.optional_table(key, faults)
    }

    /// A table that may be left out.
    pub fn optional_table(&mut self, key: &'static str, faults: &mut Faults) -> Option<Self> {
        let value = self.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(key, value, "a table", faults);
        }
        Some(self.inner(table?, key, value.span().start))
    }

    /// The tables of a list such as `[[gateway]]`; may be left out.
    pub fn tables(&mut self, key: &'static str, faults: &mut Faults) -> Vec<Self> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of tables", faults);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (number, item) in array.iter().enumerate() {
            if let Some(table) = item.get_ref().as_table() {
                let name = format!("{key} {}", number + 1);
                tables.push(self.inner(table, &name, item.span().start));
            } else {
                self.wrong(key, item, "a table", faults);
            }
        }
        tables
    }

    /// The tables under a key with names of the person's choice, such as `[guidance.KEY]`.
    pub fn named_tables(&mut self, key: &'static str, faults: &mut Faults) -> Vec<(String, Self)> {
        let Some(outer) = self.optional_table(key, faults) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, value) in outer.table {
            let name = name.get_ref().as_ref();
            if let Some(table) = value.get_ref().as_table() {
                let what = format!("{key} `{name}`");
                tables.push((
                    name.to_owned(),
                    self.inner(table, &what, value.span().start),
                ));
            } else {
                outer.wrong(name, value, "a table", faults);
            }
        }
        tables
    }

    fn inner(&self, table: &'a DeTable<'a>, name: &str, offset: usize) -> Self {
        Self {
            document: self.document,
            what: self.what_of(name),
            place: self.document.place(offset),
            table,
            known: Vec::new(),
        }
    }
}

/// What an identifier may be.
pub const ID_ALLOWED: &str = "1 to 64 of A-Z a-z 0-9 _ . -";

/// Whether `id` may name a thing in topics, alarms and files.
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn text(value: &DeValue<'_>) -> Option<String> {
    let text = value.as_str()?.trim();
    (1..=TEXT_MAX)
        .contains(&text.chars().count())
        .then(|| text.to_owned())
}

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn finite(value: &DeValue<'_>) -> Option<f64> {
    let number = match value.as_float() {
        Some(float) => float.as_str().parse().ok()?,
        None => whole(value)? as f64,
    };
    number.is_finite().then_some(number)
}
