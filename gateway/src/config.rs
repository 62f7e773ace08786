//! Reading the configuration's files, and the gateway's own.
//!
//! Files in, a checked [`Config`] or every [`Fault`] out; what may stand in the site's files is
//! decided by `davy_core::config`. The gateway's own file says which gateway this is, where the
//! broker and the data folder are, and how much the outbox keeps:
//!
//! ```toml
//! site = "site.toml"            # beside this file
//! id = "tank-farm"
//! data = "data"
//!
//! [mqtt]
//! host = "127.0.0.1"
//! port = 1883
//! password_file = "tank-farm.password"
//! host_id = "davy"              # left out: publish without waiting for a host
//! acknowledge = "centre"        # or "broker", for a host that is not Davy
//!
//! [outbox]
//! bytes_max = 2_000_000_000
//! age_max = "72h"
//!
//! [backlog]                     # may be left out
//! rate = 50                     # packets a second
//! ```
//!
//! Limits: [`FILE_BYTES_MAX`] a file.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use davy_core::config::{Config, Fault, SourceFile, check, parse_duration, wanted};
use serde::Deserialize;
use toml::Spanned;

use crate::clock::Clock;
use crate::edge::{Mqtt, Options};
use crate::outbox::Limits;
use crate::publish::session::Acknowledge;
use crate::status::Status;

/// Largest file that is read: a point table of some 500,000 rows.
pub const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Packets of the backlog a second where the file does not say: at 200 messages each 10,000
/// messages a second, which empties a day's outbox of an ordinary gateway in minutes and is a
/// third of what a city sends live.
pub const BACKLOG_RATE: u32 = 50;

/// Reads the files of a site: the main file, and those that it names, relative to its folder.
pub fn read_site_files(main: &Path) -> Result<Vec<SourceFile>, Vec<Fault>> {
    let folder = main.parent().unwrap_or(Path::new(""));
    let name = main.file_name().unwrap_or_default().to_string_lossy();
    let main = SourceFile {
        name: name.into_owned(),
        text: read_text(main).map_err(|found| vec![unreadable(main, found)])?,
    };
    let Ok(names) = wanted(&main) else {
        // What is wrong with it is told by the check.
        return Ok(vec![main]);
    };
    let (mut files, mut faults) = (vec![main], Vec::new());
    for name in names {
        let path = folder.join(&name);
        match read_text(&path) {
            Ok(text) => files.push(SourceFile { name, text }),
            Err(found) => faults.push(unreadable(&path, found)),
        }
    }
    if faults.is_empty() {
        return Ok(files);
    }
    // The faults of the files that can be read are told as well.
    let missing: Vec<_> = faults.iter().map(|fault| fault.file.clone()).collect();
    if let Err(others) = check(&files) {
        let is_known = |fault: &Fault| missing.iter().any(|path| fault.found.contains(path));
        faults.extend(others.into_iter().filter(|fault| !is_known(fault)));
    }
    Err(faults)
}

/// Reads and checks a site.
pub fn read_site(main: &Path) -> Result<Config, Vec<Fault>> {
    check(&read_site_files(main)?)
}

/// Reads a gateway's own file and the site that it names, all faults of both at once.
pub fn read_gateway(path: &Path) -> Result<Options, Vec<Fault>> {
    let text = read_text(path).map_err(|found| vec![unreadable(path, found)])?;
    let raw: RawFile = toml::from_str(&text).map_err(|error| vec![syntax(path, &text, &error)])?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut faults = Faults {
        path,
        text: &text,
        found: Vec::new(),
    };
    let site = read_site(&folder.join(raw.site.get_ref()));
    let site = site.map_err(|mut more| faults.found.append(&mut more)).ok();
    if let Some(config) = &site {
        faults.check_id(config, &raw.id);
    }
    let password = faults.password(folder, &raw.mqtt.password_file);
    let port = faults.number("mqtt.port", &raw.mqtt.port, 1..65_536);
    let bytes_max = faults.number("outbox.bytes_max", &raw.outbox.bytes_max, 1 << 20..1 << 50);
    let rate = match &raw.backlog {
        Some(backlog) => faults.number("backlog.rate", &backlog.rate, 1..1_001),
        None => i64::from(BACKLOG_RATE),
    };
    let age_max = parse_duration(raw.outbox.age_max.get_ref());
    let age_max = age_max.filter(|age| !age.is_zero()).unwrap_or_else(|| {
        faults.add(
            "outbox.age_max",
            &raw.outbox.age_max.span(),
            raw.outbox.age_max.get_ref(),
            "a duration such as `72h`",
        );
        std::time::Duration::default()
    });
    let Some(config) = site.filter(|_| faults.found.is_empty()) else {
        faults.found.sort();
        return Err(faults.found);
    };
    Ok(Options {
        config: Arc::new(config),
        gateway: raw.id.into_inner(),
        data: folder.join(raw.data),
        mqtt: Mqtt {
            host: raw.mqtt.host,
            port: u16::try_from(port).unwrap_or_default(),
            password,
            host_id: raw.mqtt.host_id,
            acknowledge: raw.mqtt.acknowledge.into(),
        },
        addresses: HashMap::new(),
        annunciator_address: None,
        outbox: Limits {
            bytes_max: bytes_max.cast_unsigned(),
            age_max,
        },
        backlog_rate: u32::try_from(rate).unwrap_or(BACKLOG_RATE),
        status: Arc::new(Status::default()),
        clock: Clock::system(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    site: Spanned<PathBuf>,
    id: Spanned<String>,
    data: PathBuf,
    mqtt: RawMqtt,
    outbox: RawOutbox,
    backlog: Option<RawBacklog>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMqtt {
    host: String,
    port: Spanned<i64>,
    password_file: Spanned<PathBuf>,
    host_id: Option<String>,
    acknowledge: RawAcknowledge,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawAcknowledge {
    Centre,
    Broker,
}

impl From<RawAcknowledge> for Acknowledge {
    fn from(raw: RawAcknowledge) -> Self {
        match raw {
            RawAcknowledge::Centre => Self::Centre,
            RawAcknowledge::Broker => Self::Broker,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutbox {
    bytes_max: Spanned<i64>,
    age_max: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBacklog {
    rate: Spanned<i64>,
}

/// Faults of the gateway's own file.
struct Faults<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, what: &str, span: &Range<usize>, found: &str, allowed: &str) {
        self.found.push(Fault {
            file: self.path.display().to_string(),
            line: line_of(self.text, span.start),
            what: what.to_owned(),
            found: format!("`{found}`"),
            allowed: allowed.to_owned(),
        });
    }

    /// The number, or 0 with a fault.
    fn number(&mut self, what: &str, number: &Spanned<i64>, allowed: Range<i64>) -> i64 {
        let found = *number.get_ref();
        if allowed.contains(&found) {
            return found;
        }
        let (low, high) = (allowed.start, allowed.end - 1);
        let allowed = format!("a whole number from {low} to {high}");
        self.add(what, &number.span(), &found.to_string(), &allowed);
        0
    }

    fn check_id(&mut self, config: &Config, id: &Spanned<String>) {
        let known: Vec<_> = config
            .gateways
            .iter()
            .map(|gateway| gateway.id.as_str())
            .collect();
        if !known.contains(&id.get_ref().as_str()) {
            let allowed = format!("a gateway of the site: {}", known.join(", "));
            self.add("id", &id.span(), id.get_ref(), &allowed);
        }
    }

    /// The password, without the end of its line.
    fn password(&mut self, folder: &Path, file: &Spanned<PathBuf>) -> String {
        let path = folder.join(file.get_ref());
        let found = match read_text(&path) {
            Ok(text) if !text.trim_end().is_empty() => return text.trim_end().to_owned(),
            Ok(_) => "an empty file".to_owned(),
            Err(found) => found,
        };
        let found = format!("{}: {found}", path.display());
        let allowed = "a file with the gateway's password";
        self.add("mqtt.password_file", &file.span(), &found, allowed);
        String::new()
    }
}

/// What stands in a file, or why that cannot be said.
fn read_text(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if length.len() > FILE_BYTES_MAX {
        return Err(format!("{} bytes", length.len()));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn unreadable(path: &Path, found: String) -> Fault {
    Fault {
        file: path.display().to_string(),
        line: 0,
        what: "file".into(),
        found,
        allowed: format!("UTF-8 text of at most {FILE_BYTES_MAX} bytes"),
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Fault {
    Fault {
        file: path.display().to_string(),
        line: error.span().map_or(0, |span| line_of(text, span.start)),
        what: "syntax or key".into(),
        found: error.message().to_owned(),
        allowed: "what the documentation of the gateway's file says".into(),
    }
}

/// The line of an offset, from 1.
fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().iter().take(offset);
    let lines = before.filter(|byte| **byte == b'\n').count();
    u32::try_from(lines + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
