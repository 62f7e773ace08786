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
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use davy_core::config::{
    Config, Document, Fault, Faults, Fields, SourceFile, check, gateway_ids, wanted,
};

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

/// Least and most that [`Limits::bytes_max`] may be.
const OUTBOX_BYTES: (u64, u64) = (1 << 20, 1 << 50);

/// Least and most that [`Limits::age_max`] may be.
const OUTBOX_AGE: (Duration, Duration) =
    (Duration::from_mins(1), Duration::from_hours(10 * 365 * 24));

/// Reads the files of a site: the main file, and those that it names, relative to its folder.
pub fn read_site_files(main: &Path) -> Result<Vec<SourceFile>, Vec<Fault>> {
    let folder = main.parent().unwrap_or(Path::new(""));
    let name = main.file_name().unwrap_or_default().to_string_lossy();
    let main = SourceFile {
        name: name.into_owned(),
        text: read_text(main, FILE_BYTES_MAX).map_err(|found| vec![unreadable(main, found)])?,
    };
    let Ok(names) = wanted(&main) else {
        // What is wrong with it is told by the check.
        return Ok(vec![main]);
    };
    let (mut files, mut faults) = (vec![main], Vec::new());
    for name in names {
        let path = folder.join(&name);
        match read_text(&path, FILE_BYTES_MAX) {
            Ok(text) => files.push(SourceFile { name, text }),
            Err(found) => faults.push(unreadable(&path, found)),
        }
    }
    if faults.is_empty() {
        return Ok(files);
    }
    // The faults of the files that can be read are told as well.
    let missing: Vec<_> = faults.iter().map(|fault| fault.file.clone()).collect();
    if let Err(others) = check_site(&files, folder) {
        let is_known = |fault: &Fault| missing.iter().any(|path| fault.found.contains(path));
        faults.extend(others.into_iter().filter(|fault| !is_known(fault)));
    }
    Err(faults)
}

/// Reads and checks a site.
pub fn read_site(main: &Path) -> Result<Config, Vec<Fault>> {
    let folder = main.parent().unwrap_or(Path::new(""));
    check_site(&read_site_files(main)?, folder)
}

/// Checks the files of a site in `folder`. A fault names its file as whoever mends it has to open
/// it; the files themselves are named within their folder, wherever that is kept.
pub fn check_site(files: &[SourceFile], folder: &Path) -> Result<Config, Vec<Fault>> {
    check(files).map_err(|mut faults| {
        for fault in &mut faults {
            fault.file = folder.join(&fault.file).display().to_string();
        }
        faults
    })
}

/// Reads a gateway's own file and the site that it names, all faults of both at once.
pub fn read_gateway(path: &Path) -> Result<Options, Vec<Fault>> {
    let file = SourceFile {
        name: path.display().to_string(),
        text: read_text(path, FILE_BYTES_MAX).map_err(|found| vec![unreadable(path, found)])?,
    };
    let mut faults = Faults::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let options = Document::parse(&file, &mut faults)
        .and_then(|document| options(document.root(), folder, &mut faults));
    options
        .filter(|_| faults.is_empty())
        .ok_or_else(|| faults.sorted())
}

/// What the file says, with stand-ins where it has faults; none where there is no site.
fn options(mut root: Fields<'_>, folder: &Path, faults: &mut Faults) -> Option<Options> {
    let (config, gateways) = site(&mut root, folder, faults);
    let gateway = match &gateways {
        Some(known) => own_id(&mut root, known, faults),
        None => root.id("id", faults),
    };
    let data = root.string("data", faults);
    let mqtt = root.table("mqtt", faults);
    let mqtt = mqtt.map(|fields| mqtt_of(fields, folder, faults));
    let outbox = root.table("outbox", faults);
    let outbox = outbox.map(|fields| limits(fields, faults));
    let rate = root.optional_table("backlog", faults).map(|mut fields| {
        let rate = fields.whole("rate", 1..=1_000, faults);
        fields.finish(faults);
        rate
    });
    root.finish(faults);
    Some(Options {
        config: Arc::new(config?),
        gateway,
        data: folder.join(data),
        mqtt: mqtt?,
        addresses: HashMap::new(),
        annunciator_address: None,
        outbox: outbox?,
        backlog_rate: rate.unwrap_or(BACKLOG_RATE),
        status: Arc::new(Status::default()),
        clock: Clock::system(),
    })
}

/// The site that the file names, and the ids of its gateways, which can often be told although the
/// site has faults.
fn site(
    root: &mut Fields<'_>,
    folder: &Path,
    faults: &mut Faults,
) -> (Option<Config>, Option<Vec<String>>) {
    let name = root.string("site", faults);
    if name.is_empty() {
        return (None, None);
    }
    let path = folder.join(&name);
    match read_site(&path) {
        Ok(config) => {
            let ids = config.gateways.iter().map(|it| it.id.clone()).collect();
            (Some(config), Some(ids))
        }
        Err(more) => {
            faults.append(more);
            let main = read_text(&path, FILE_BYTES_MAX).map(|text| SourceFile { name, text });
            (None, main.ok().as_ref().and_then(gateway_ids))
        }
    }
}

/// The gateway's id, which must be one of the site's.
fn own_id(root: &mut Fields<'_>, gateways: &[String], faults: &mut Faults) -> String {
    let known: Vec<_> = gateways
        .iter()
        .map(|it| (it.as_str(), it.as_str()))
        .collect();
    let id = root.word("id", &known, faults);
    id.unwrap_or_default().to_owned()
}

fn mqtt_of(mut fields: Fields<'_>, folder: &Path, faults: &mut Faults) -> Mqtt {
    let words = [
        ("centre", Acknowledge::Centre),
        ("broker", Acknowledge::Broker),
    ];
    let mqtt = Mqtt {
        host: fields.string("host", faults),
        port: u16::try_from(fields.whole("port", 1..=65_535, faults)).unwrap_or_default(),
        password: password(&mut fields, folder, faults),
        host_id: fields
            .has("host_id")
            .then(|| fields.string("host_id", faults)),
        acknowledge: fields
            .word("acknowledge", &words, faults)
            .unwrap_or(Acknowledge::Centre),
    };
    fields.finish(faults);
    mqtt
}

/// The password, without the end of its line.
fn password(fields: &mut Fields<'_>, folder: &Path, faults: &mut Faults) -> String {
    let name = fields.string("password_file", faults);
    if name.is_empty() {
        return name;
    }
    let path = folder.join(name);
    let found = match read_text(&path, FILE_BYTES_MAX) {
        Ok(text) if !text.trim_end().is_empty() => return text.trim_end().to_owned(),
        Ok(_) => "an empty file".to_owned(),
        Err(found) => found,
    };
    let found = format!("{}: {found}", path.display());
    let allowed = "a file with the gateway's password";
    fields.refuse("password_file", &found, allowed, faults);
    String::new()
}

fn limits(mut fields: Fields<'_>, faults: &mut Faults) -> Limits {
    let limits = Limits {
        bytes_max: fields.long("bytes_max", OUTBOX_BYTES.0..=OUTBOX_BYTES.1, faults),
        age_max: fields.duration("age_max", OUTBOX_AGE.0..=OUTBOX_AGE.1, faults),
    };
    fields.finish(faults);
    limits
}

/// What stands in a file, or why that cannot be said.
///
/// What has no length of its own, such as a device, is not read beyond `bytes_max` either.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("more than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
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

#[cfg(test)]
mod tests;
