//! The centre's own file: which site, where the data is, where it listens, which broker.
//!
//! ```toml
//! site = "site.toml"                  # beside this file
//! data = "data"
//! host_id = "davy"
//!
//! [http]
//! listen = "127.0.0.1:8080"
//!
//! [mqtt]                              # the embedded broker …
//! listen = "127.0.0.1:1883"
//! # host = "broker.plant"             # … or one outside
//! # port = 1883
//! user = "davy-centre"
//! accounts = "accounts.toml"          # passwords: `[gateways]` by id, and `centre`
//!
//! [influxdb]                          # may be left out
//! url = "http://127.0.0.1:8086"
//! org = "plant"
//! bucket = "davy"
//! token_file = "influxdb.token"
//!
//! [retention]                         # may be left out, as a whole or in part
//! journal_days = 30
//! series_days = 731
//! waits_days = 30
//! ```
//!
//! Passwords and tokens stand in files of their own: the site's files are journaled for good,
//! these are not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use davy_core::config::{Config, Fault, check};
use davy_gateway::config::read_site_files;
use serde::Deserialize;

use crate::broker::Accounts;
use crate::retention::{DAYS_MAX, DAYS_MIN, Retention};
use crate::serve::{Mqtt, Options};
use crate::sinks::InfluxConfig;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    site: PathBuf,
    data: PathBuf,
    host_id: String,
    http: RawHttp,
    mqtt: RawMqtt,
    influxdb: Option<RawInflux>,
    #[serde(default)]
    retention: RawRetention,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMqtt {
    listen: Option<SocketAddr>,
    host: Option<String>,
    port: Option<u16>,
    user: String,
    accounts: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInflux {
    url: String,
    org: String,
    bucket: String,
    token_file: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names of the file")]
struct RawRetention {
    journal_days: Option<u64>,
    series_days: Option<u64>,
    waits_days: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccounts {
    centre: String,
    #[serde(default)]
    gateways: BTreeMap<String, String>,
}

/// Reads the centre's file and all that it names: every fault of them at once.
pub fn read(path: &Path) -> Result<Options, Vec<Fault>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let raw: RawFile = parse(path).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let site = folder.join(&raw.site);
    let files = read_site_files(&site).unwrap_or_else(|mut more| {
        faults.append(&mut more);
        Vec::new()
    });
    let config = match check(&files) {
        Ok(config) => Some(config),
        Err(mut more) => {
            if faults.is_empty() {
                faults.append(&mut more);
            }
            None
        }
    };
    let accounts = parse::<RawAccounts>(&folder.join(&raw.mqtt.accounts));
    let accounts = accounts.map_err(|fault| faults.push(fault)).ok();
    let mqtt = accounts.and_then(|accounts| mqtt(path, &raw.mqtt, accounts, config, &mut faults));
    let influxdb = raw
        .influxdb
        .and_then(|raw| influxdb(path, folder, raw, &mut faults));
    let retention = retention(path, &raw.retention, &mut faults);
    match mqtt {
        Some(mqtt) if faults.is_empty() => Ok(Options {
            data: folder.join(raw.data),
            files,
            mqtt,
            host_id: raw.host_id,
            http: raw.http.listen,
            influxdb,
            retention,
        }),
        _ => {
            faults.sort();
            Err(faults)
        }
    }
}

/// `InfluxDB`, with its token read and its address checked.
fn influxdb(
    path: &Path,
    folder: &Path,
    raw: RawInflux,
    faults: &mut Vec<Fault>,
) -> Option<InfluxConfig> {
    let token_file = folder.join(&raw.token_file);
    let token = std::fs::read_to_string(&token_file).map_err(|error| {
        faults.push(whole(
            &token_file,
            &error.to_string(),
            "a file with the token",
        ));
    });
    let config = InfluxConfig {
        url: raw.url,
        org: raw.org,
        bucket: raw.bucket,
        token: token.ok()?.trim().to_owned(),
    };
    if let Err(error) = config.check() {
        let found = error.to_string();
        faults.push(whole(path, &found, "an address such as http://host:8086"));
        return None;
    }
    Some(config)
}

/// How long readings are kept: the defaults with what the file says of them.
fn retention(path: &Path, raw: &RawRetention, faults: &mut Vec<Fault>) -> Retention {
    let mut days = |key: &str, found: Option<u64>, least: u64, default: Duration| {
        let Some(days) = found else { return default };
        if !(least..=DAYS_MAX).contains(&days) {
            let what = format!("`{key}` of {days} days");
            faults.push(whole(path, &what, &format!("{least} to {DAYS_MAX}")));
        }
        Duration::from_hours(days.min(DAYS_MAX) * 24)
    };
    let default = Retention::default();
    Retention {
        journal: days("journal_days", raw.journal_days, DAYS_MIN, default.journal),
        series: days("series_days", raw.series_days, DAYS_MIN, default.series),
        waits: days("waits_days", raw.waits_days, 0, default.waits),
    }
}

/// The broker: exactly one of the embedded and an outside one.
fn mqtt(
    path: &Path,
    raw: &RawMqtt,
    accounts: RawAccounts,
    config: Option<Config>,
    faults: &mut Vec<Fault>,
) -> Option<Mqtt> {
    let account = (raw.user.clone(), accounts.centre);
    match (raw.listen, &raw.host, raw.port) {
        (Some(listen), None, None) => {
            let config = config?;
            for gateway in &config.gateways {
                if accounts
                    .gateways
                    .get(&gateway.id)
                    .is_none_or(String::is_empty)
                {
                    let what = format!("no password for gateway `{}`", gateway.id);
                    faults.push(whole(
                        &raw.accounts,
                        &what,
                        "one for each gateway of the site",
                    ));
                }
            }
            Some(Mqtt::Embedded {
                listen,
                accounts: Accounts {
                    group: config.group,
                    gateways: accounts.gateways,
                    centre: account,
                },
            })
        }
        (None, Some(host), Some(port)) => Some(Mqtt::Outside {
            host: host.clone(),
            port,
            account,
        }),
        _ => {
            let found = "a mixture of `listen`, `host` and `port`, or none";
            let allowed = "`listen` for the embedded broker, or `host` and `port` for one outside";
            faults.push(whole(path, found, allowed));
            None
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Fault> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| whole(path, &error.to_string(), "a file that can be read"))?;
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text
            .as_bytes()
            .iter()
            .take(at)
            .filter(|byte| **byte == b'\n');
        Fault {
            line: 1 + line.count() as u32,
            ..whole(
                path,
                error.message(),
                "see the module `config` of the centre",
            )
        }
    })
}

fn whole(path: &Path, found: &str, allowed: &str) -> Fault {
    Fault {
        file: path.display().to_string(),
        line: 0,
        what: "the file".into(),
        found: found.into(),
        allowed: allowed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with the example files, and one of them changed.
    fn changed(file: &str, from: &str, to: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("folder");
        let house = Path::new(env!("CARGO_MANIFEST_DIR"));
        for example in ["config/examples/davy.toml", "config/examples/accounts.toml"] {
            let name = example.rsplit('/').next().expect("a name");
            let mut text = std::fs::read_to_string(house.join(example)).expect("example");
            text = text.replace("../demo", &house.join("config/demo").to_string_lossy());
            if name == file {
                assert!(text.contains(from), "`{from}` stands in {file}");
                text = text.replace(from, to);
            }
            std::fs::write(folder.path().join(name), text).expect("copy");
        }
        let faults = read(&folder.path().join("davy.toml")).err();
        let faults = faults.unwrap_or_default().into_iter();
        faults.map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn the_examples_are_in_order() {
        let house = Path::new(env!("CARGO_MANIFEST_DIR"));
        let options = read(&house.join("config/examples/davy.toml")).expect("no fault");
        assert!(matches!(options.mqtt, Mqtt::Embedded { .. }));
        assert_eq!(changed("davy.toml", "8080", "8080"), Vec::<String>::new());
    }

    #[test]
    fn faults_name_the_file_and_what_is_allowed() {
        let unknown = changed("davy.toml", "host_id", "hots_id");
        assert!(unknown[0].contains("davy.toml:5"), "{unknown:?}");
        let lacks = changed("accounts.toml", "reactor = ", "other = ");
        assert!(
            lacks[0].contains("no password for gateway `reactor`"),
            "{lacks:?}"
        );
        let both = changed(
            "davy.toml",
            "listen = \"127.0.0.1:1883\"",
            "listen = \"127.0.0.1:1883\"\nport = 1",
        );
        assert!(both[0].contains("a mixture"), "{both:?}");
    }

    #[test]
    fn readings_are_kept_as_long_as_the_file_says() {
        let house = Path::new(env!("CARGO_MANIFEST_DIR"));
        let options = read(&house.join("config/examples/davy.toml")).expect("no fault");
        assert_eq!(options.retention, Retention::default());
        let short = "accounts.toml\"\n[retention]\njournal_days = 3\nwaits_days = 0";
        let faults = changed("davy.toml", "accounts.toml\"", short);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("`journal_days` of 3 days"), "{faults:?}");
        assert!(faults[0].contains("4 to 36500"), "{faults:?}");
    }

    #[test]
    fn several_faults_come_at_once() {
        let both = changed(
            "davy.toml",
            "accounts.toml\"",
            "none.toml\"\n[influxdb]\nurl = \"nowhere\"\norg = \"o\"\nbucket = \"b\"\ntoken_file = \"none\"",
        );
        assert_eq!(both.len(), 2, "{both:?}");
    }
}
