//! The gateway's own file, good and bad.

use std::time::Duration;

use super::*;

const GOOD: &str = r#"site = "SITE"
id = "tank-farm"
data = "data"

[mqtt]
host = "127.0.0.1"
port = 1883
password_file = "password"
host_id = "davy"
acknowledge = "centre"

[outbox]
bytes_max = 2_000_000_000
age_max = "72h"
"#;

fn read(change: impl Fn(&str) -> String) -> Result<Options, Vec<String>> {
    let folder = tempfile::tempdir().expect("folder");
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/site.toml");
    let text = GOOD.replace("SITE", &site.display().to_string());
    std::fs::write(folder.path().join("password"), "secret\n").expect("written");
    std::fs::write(folder.path().join("empty"), "\n").expect("written");
    std::fs::write(folder.path().join("gateway.toml"), change(&text)).expect("written");
    let strip = format!("{}/", folder.path().display());
    read_gateway(&folder.path().join("gateway.toml")).map_err(|faults| {
        let told = faults.iter().map(ToString::to_string);
        told.map(|fault| fault.replace(&strip, "")).collect()
    })
}

#[test]
fn a_good_file_is_read() {
    let options = read(str::to_owned).expect("no fault");
    assert_eq!(options.gateway, "tank-farm");
    assert_eq!(options.mqtt.password, "secret");
    assert_eq!(options.mqtt.acknowledge, Acknowledge::Centre);
    assert_eq!(options.outbox.age_max, Duration::from_hours(72));
    assert_eq!(options.outbox.bytes_max, 2_000_000_000);
    assert_eq!(options.backlog_rate, BACKLOG_RATE);
    assert!(options.data.ends_with("data") && options.data.is_absolute());
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let faults = read(|text| {
        let text = text.replace("tank-farm", "tank-fram").replace("1883", "0");
        let text = text.replace("\"password\"", "\"empty\"");
        let text = text.replace("72h", "72").replace("2_000_000_000", "10");
        text + "\n[backlog]\nrate = 0\n"
    })
    .expect_err("faults");
    let lines: Vec<_> = faults
        .iter()
        .map(|fault| fault.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        lines,
        [
            "gateway.toml:2: key `id`",
            "gateway.toml:7: mqtt, key `port`",
            "gateway.toml:8: mqtt, key `password_file`",
            "gateway.toml:13: outbox, key `bytes_max`",
            "gateway.toml:14: outbox, key `age_max`",
            "gateway.toml:17: backlog, key `rate`",
        ]
    );
    assert!(
        faults[0].contains("tank-farm, reactor, mine-face"),
        "{faults:?}"
    );
}

#[test]
fn keys_that_are_not_known_missing_or_of_the_wrong_kind_are_told_at_once() {
    let faults = read(|text| {
        let text = text.replace("host_id", "hots_id");
        let text = text
            .replace("\"centre\"", "\"center\"")
            .replace("1883", "\"x\"");
        let kept = text.lines().filter(|line| {
            !["data", "bytes_max", "password_file"]
                .iter()
                .any(|key| line.starts_with(key))
        });
        kept.collect::<Vec<_>>().join("\n")
    })
    .expect_err("faults");
    let told: Vec<_> = faults
        .iter()
        .map(|fault| fault.split("; ").next().unwrap_or_default())
        .collect();
    assert_eq!(
        told,
        [
            "gateway.toml:0: key `data`: found nothing",
            "gateway.toml:4: mqtt, key `password_file`: found nothing",
            "gateway.toml:6: mqtt, key `port`: found `\"x\"`",
            "gateway.toml:7: mqtt, unknown key: found `hots_id`",
            "gateway.toml:8: mqtt, key `acknowledge`: found `\"center\"`",
            "gateway.toml:10: outbox, key `bytes_max`: found nothing",
        ]
    );
    for key in ["age_max", "acknowledge", "[mqtt]", "[outbox]", "id", "site"] {
        let without = |text: &str| {
            let kept = text.lines().filter(|line| !line.starts_with(key));
            kept.collect::<Vec<_>>().join("\n")
        };
        let faults = read(without).expect_err(key);
        let key = key.trim_matches(['[', ']']);
        let told = faults.iter().any(|fault| fault.contains(key));
        assert!(told, "{key}: {faults:?}");
    }
}

#[test]
fn files_that_are_not_there_are_told_with_the_faults_of_the_others() {
    let faults = read(|text| text.replace("site.toml", "nowhere.toml")).expect_err("a fault");
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("nowhere.toml:0: file"), "{faults:?}");
    let folder = tempfile::tempdir().expect("folder");
    let main = folder.path().join("site.toml");
    let text = "group = \"g\"\npoints = [\"p.csv\"]\nstandards = [\"s.toml\"]\nextra = 1\n";
    std::fs::write(&main, text).expect("written");
    let faults = read_site(&main).expect_err("faults");
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    for part in ["p.csv:0: file", "s.toml:0: file", "extra"] {
        assert!(
            told.iter().any(|fault| fault.contains(part)),
            "{part}: {told:#?}"
        );
    }
}

/// A site of one file that has faults of its own, and the gateway's file beside it.
fn with_faulty_site(site: &str, id: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("folder");
    let text = GOOD.replace("SITE", "site.toml").replace("tank-farm", id);
    std::fs::write(folder.path().join("password"), "secret\n").expect("written");
    std::fs::write(folder.path().join("site.toml"), site).expect("written");
    std::fs::write(folder.path().join("gateway.toml"), text).expect("written");
    let faults = read_gateway(&folder.path().join("gateway.toml")).expect_err("faults");
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn a_wrong_id_is_told_with_the_faults_of_the_site() {
    let site = "group = \"g\"\n[[gateway]]\nid = \"a\"\n[[gateway]]\nid = \"b\"\n";
    let about_id = |faults: &[String]| {
        let mut all = faults.iter().filter(|it| it.contains("key `id`: found `"));
        all.any(|fault| fault.contains("gateway.toml:2") && fault.contains("a, b"))
    };
    let told = with_faulty_site(site, "c");
    assert!(told.len() > 3 && about_id(&told), "{told:#?}");
    assert!(!about_id(&with_faulty_site(site, "b")));
    // A gateway whose id cannot be told may be this one.
    let doubtful = site.replace("\"b\"", "\"a\"");
    assert!(!about_id(&with_faulty_site(&doubtful, "c")));
}

#[test]
fn the_example_lacks_its_password_and_nothing_else() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples/gateway.toml");
    let faults = read_gateway(&file).expect_err("no password is kept in the house");
    let told: Vec<_> = faults.iter().map(|fault| fault.what.as_str()).collect();
    assert_eq!(told, ["mqtt, key `password_file`"]);
}
