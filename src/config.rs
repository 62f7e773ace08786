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
//! late_minutes = 15
//! ```
//!
//! Passwords and tokens stand in files of their own: the site's files are journaled for good,
//! these are not.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use davy_core::config::fault::{Faults, Place};
use davy_core::config::fields::{Document, Fields};
use davy_core::config::{Config, Fault, SourceFile};
use davy_gateway::config::{check_site, read_site_files};

use crate::broker::Accounts;
use crate::centre::Accepted;
use crate::retention::{DAYS_MAX, DAYS_MIN, Retention};
use crate::serve::{Mqtt, Options};
use crate::sinks::InfluxConfig;

/// Largest of the centre's own files, in bytes: 2,500 gateways with their passwords, ten times over.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Longest that a sink may be in trouble before it is alarmed, in minutes: a day.
const LATE_MINUTES_MAX: u64 = 24 * 60;

/// What a door may be.
const LOOPBACK: &str = "a loopback address such as 127.0.0.1:8080, until there are users and TLS";

/// Reads the centre's file and all that it names: every fault of all of them at once, and all that
/// would keep the centre from being served.
pub fn read(path: &Path) -> Result<Options, Vec<Fault>> {
    let mut faults = Faults::default();
    let mut of_site = Vec::new();
    let options = read_file(path, &mut faults, &mut of_site);
    of_site.extend(faults.sorted());
    match options {
        Some(options) if of_site.is_empty() => Ok(options),
        _ => {
            of_site.sort();
            Err(of_site)
        }
    }
}

fn read_file(path: &Path, faults: &mut Faults, of_site: &mut Vec<Fault>) -> Option<Options> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let source = read_text(path, faults)?;
    let document = Document::parse(&source, faults)?;
    let mut root = document.root();
    let site = root.string("site", faults);
    let data = root.string("data", faults);
    let host_id = root.id("host_id", faults);
    let http = root.table("http", faults).and_then(|mut http| {
        let listen = http.parsed("listen", LOOPBACK, faults, loopback);
        http.finish(faults);
        listen
    });
    let (files, config) = read_site(&folder.join(site), of_site);
    let mqtt = root.table("mqtt", faults);
    let mqtt = mqtt.and_then(|fields| read_mqtt(fields, folder, config.as_ref(), faults));
    let influxdb = root.optional_table("influxdb", faults);
    let influxdb = influxdb.and_then(|fields| read_influxdb(fields, folder, faults));
    let retention = root.optional_table("retention", faults);
    let retention = read_retention(retention, faults);
    if let (Some(http), Some(Mqtt::Embedded { listen, .. })) = (http, &mqtt)
        && http == *listen
        && http.port() != 0
    {
        let allowed = "an address of its own for HTTP and for MQTT";
        faults.add(&root.place, "both keys `listen`", http, allowed);
    }
    root.finish(faults);
    Some(Options {
        data: folder.join(data),
        files,
        mqtt: mqtt?,
        host_id,
        http: http?,
        influxdb,
        accepted: Accepted::default(),
        retention,
    })
}

/// The site's files, and what they come to where they are in order.
fn read_site(path: &Path, of_site: &mut Vec<Fault>) -> (Vec<SourceFile>, Option<Config>) {
    if path.as_os_str().is_empty() || path.is_dir() {
        // The key itself is wrong, which is told.
        return (Vec::new(), None);
    }
    let read = read_site_files(path).and_then(|files| {
        let config = check_site(&files, path.parent().unwrap_or(Path::new("")))?;
        Ok((files, Some(config)))
    });
    read.unwrap_or_else(|mut faults| {
        of_site.append(&mut faults);
        (Vec::new(), None)
    })
}

/// The broker: exactly one of the embedded and an outside one.
fn read_mqtt(
    mut fields: Fields<'_>,
    folder: &Path,
    config: Option<&Config>,
    faults: &mut Faults,
) -> Option<Mqtt> {
    let place = fields.place.clone();
    let user = fields.string("user", faults);
    let accounts = fields.string("accounts", faults);
    let doors = ["listen", "host", "port"].map(|key| fields.has(key));
    let accounts = (!accounts.is_empty()).then(|| folder.join(accounts));
    let accounts = accounts.and_then(|path| read_accounts(&path, faults));
    let mqtt = match doors {
        [true, false, false] => {
            let listen = fields.parsed("listen", LOOPBACK, faults, loopback);
            accounts.and_then(|accounts| {
                check_accounts(&accounts, &user, &place, config?, faults);
                Some(Mqtt::Embedded {
                    listen: listen?,
                    accounts: Accounts {
                        group: config?.group.clone(),
                        gateways: accounts
                            .gateways
                            .into_iter()
                            .map(|(id, _, it)| (id, it))
                            .collect(),
                        centre: (user, accounts.centre),
                    },
                })
            })
        }
        [false, true, true] => {
            let host = fields.string("host", faults);
            let port = fields.whole("port", 1..=u32::from(u16::MAX), faults);
            accounts.map(|accounts| Mqtt::Outside {
                host,
                port: u16::try_from(port).unwrap_or_default(),
                account: (user, accounts.centre),
            })
        }
        _ => {
            let found = "a mixture of `listen`, `host` and `port`, or none";
            let allowed = "`listen` for the embedded broker, or `host` and `port` for one outside";
            faults.add(&place, "mqtt", found, allowed);
            None
        }
    };
    fields.finish(faults);
    mqtt
}

/// Passwords as they are written.
struct RawAccounts {
    place: Place,
    centre: String,
    /// Gateway, line, password.
    gateways: Vec<(String, Place, String)>,
}

fn read_accounts(path: &Path, faults: &mut Faults) -> Option<RawAccounts> {
    let source = read_text(path, faults)?;
    let document = Document::parse(&source, faults)?;
    let mut root = document.root();
    let accounts = RawAccounts {
        place: root.place.clone(),
        centre: root.string("centre", faults),
        gateways: root.named_strings("gateways", faults),
    };
    root.finish(faults);
    Some(accounts)
}

/// Every gateway of the site has a password, and no name is taken twice.
fn check_accounts(
    accounts: &RawAccounts,
    user: &str,
    mqtt: &Place,
    config: &Config,
    faults: &mut Faults,
) {
    let allowed = "one for each gateway of the site";
    for gateway in &config.gateways {
        if !accounts.gateways.iter().any(|(id, ..)| *id == gateway.id) {
            let found = format!("no password for gateway `{}`", gateway.id);
            faults.add(&accounts.place, "gateways", found, allowed);
        }
    }
    for (id, place, _) in &accounts.gateways {
        if !config.gateways.iter().any(|gateway| gateway.id == *id) {
            let found = format!("a password for `{id}`, which is no gateway of the site");
            faults.add(place, "gateways", found, allowed);
        }
    }
    if accounts.gateways.iter().any(|(id, ..)| id == user) {
        let found = format!("`{user}`, which is a gateway");
        faults.add(
            mqtt,
            "mqtt, key `user`",
            found,
            "a name that no gateway has",
        );
    }
}

/// `InfluxDB`, with its token read and its address checked.
fn read_influxdb(
    mut fields: Fields<'_>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<InfluxConfig> {
    let place = fields.place.clone();
    let (url, org) = (fields.string("url", faults), fields.string("org", faults));
    let bucket = fields.string("bucket", faults);
    let token_file = fields.string("token_file", faults);
    fields.finish(faults);
    if token_file.is_empty() || url.is_empty() {
        return None;
    }
    let token = read_text(&folder.join(token_file), faults);
    let config = InfluxConfig {
        url,
        org,
        bucket,
        // One that cannot be read is told; it hides nothing that is wrong with the address.
        token: token.map_or_else(|| "token".into(), |token| token.text.trim().to_owned()),
    };
    if let Err(error) = config.check() {
        let allowed = "an address such as http://host:8086, and a token";
        faults.add(&place, "influxdb", error, allowed);
    }
    Some(config)
}

/// How long readings are kept: the defaults with what the file says of them.
fn read_retention(fields: Option<Fields<'_>>, faults: &mut Faults) -> Retention {
    let default = Retention::default();
    let Some(mut fields) = fields else {
        return default;
    };
    let late = if fields.has("late_minutes") {
        Duration::from_mins(fields.long("late_minutes", 1..=LATE_MINUTES_MAX, faults))
    } else {
        default.late
    };
    let mut days = |key, least: u64, default: Duration| {
        if fields.has(key) {
            Duration::from_hours(fields.long(key, least..=DAYS_MAX, faults) * 24)
        } else {
            default
        }
    };
    let retention = Retention {
        late,
        journal: days("journal_days", DAYS_MIN, default.journal),
        series: days("series_days", DAYS_MIN, default.series),
        waits: days("waits_days", 0, default.waits),
    };
    fields.finish(faults);
    retention
}

fn loopback(text: &str) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

fn read_text(path: &Path, faults: &mut Faults) -> Option<SourceFile> {
    let place = Place {
        file: path.display().to_string().into(),
        line: 0,
    };
    let name = place.file.to_string();
    match davy_gateway::config::read_text(path, FILE_BYTES_MAX) {
        Ok(text) => Some(SourceFile { name, text }),
        Err(error) => {
            let allowed = format!("UTF-8 text of at most {FILE_BYTES_MAX} bytes");
            faults.add(&place, "the file", error, allowed);
            None
        }
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
        assert!(
            unknown.iter().any(|fault| fault.contains("davy.toml:5")),
            "{unknown:?}"
        );
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
        assert!(
            faults[0].contains("`journal_days`: found `3`"),
            "{faults:?}"
        );
        assert!(
            faults[0].contains("a whole number, 4 to 36500"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_fault_of_the_site_names_the_file_that_has_to_be_opened() {
        let folder = tempfile::tempdir().expect("folder");
        let site = folder.path().join("west");
        std::fs::create_dir(&site).expect("folder");
        std::fs::write(site.join("site.toml"), "nothing = 1\n").expect("site");
        let own = "site = \"west/site.toml\"\n";
        let file = folder.path().join("site.toml");
        std::fs::write(&file, own).expect("the centre's file");
        let faults = read(&file).expect_err("faults");
        let opened = site.join("site.toml").display().to_string();
        assert!(
            faults.iter().any(|fault| fault.file == opened),
            "{faults:?}"
        );
        let named = |fault: &Fault| Path::new(&fault.file).exists();
        assert!(faults.iter().all(named), "{faults:?}");
    }

    #[test]
    fn several_faults_come_at_once() {
        let both = changed(
            "davy.toml",
            "accounts.toml\"",
            "none.toml\"\n[influxdb]\nurl = \"nowhere\"\norg = \"o\"\nbucket = \"b\"\ntoken_file = \"none\"",
        );
        assert_eq!(both.len(), 3, "{both:?}");
    }

    #[test]
    fn every_fault_of_the_centres_file_comes_at_once_with_its_line() {
        let faults = changed(
            "davy.toml",
            "listen = \"127.0.0.1:8080\"",
            "listen = \"0.0.0.0:8080\"\nlistens = 1",
        );
        let lines = [
            "davy.toml:8: http, key `listen`",
            "davy.toml:9: http, unknown key",
        ];
        assert_eq!(faults.len(), 2, "{faults:?}");
        for (fault, line) in faults.iter().zip(lines) {
            assert!(fault.contains(line), "{line}: {fault}");
        }
        let rest = changed("davy.toml", "user = \"davy-centre\"", "user = \"reactor\"");
        assert!(
            rest[0].contains("`reactor`, which is a gateway"),
            "{rest:?}"
        );
        let same = changed("davy.toml", "127.0.0.1:1883", "127.0.0.1:8080");
        assert!(same[0].contains("both keys `listen`"), "{same:?}");
        let all = changed(
            "davy.toml",
            "host_id = \"davy\"",
            "host_id = \"da/vy\"\nmore = 1",
        );
        assert_eq!(all.len(), 2, "{all:?}");
    }

    #[test]
    fn a_password_that_is_empty_or_for_nobody_is_refused() {
        let centre = changed("accounts.toml", "\"example-centre\"", "\"\"");
        assert!(
            centre[0].contains("accounts.toml:4: key `centre`"),
            "{centre:?}"
        );
        let gateway = changed("accounts.toml", "\"example-reactor\"", "\"\"");
        assert!(
            gateway
                .iter()
                .any(|fault| fault.contains("accounts.toml:8")),
            "{gateway:?}"
        );
        let nobody = changed("accounts.toml", "[gateways]", "[gateways]\nnobody = \"a\"");
        assert!(nobody[0].contains("accounts.toml:7"), "{nobody:?}");
    }
}
