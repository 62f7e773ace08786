//! Davy with things that we did not write: mosquitto as the broker, its clients as strangers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; the seed is told"
)]

mod plant;

use davy_core::alarm::Cause;
use davy_core::gateways::LinkEvent;

use plant::process::Process;
use plant::record::{Message, Record};
use plant::{Between, CENTRE, GATEWAY, GROUP, Plant, STRANGER, password};

/// Topics that a listener has heard, in order: kind of message, and the unit if it is about one.
fn heard(listener: &Process) -> Vec<String> {
    let said = listener.said();
    let topics = said.lines().filter_map(|line| {
        let rest = line.strip_prefix("spBv1.0/")?.strip_prefix(GROUP)?;
        let (kind, rest) = rest.strip_prefix('/')?.split_once('/')?;
        let unit = rest.strip_prefix(GATEWAY)?;
        Some(format!("{kind}{unit}"))
    });
    topics.collect()
}

/// A stranger who hears everything of the group; it has subscribed when this returns.
fn stranger(plant: &mut Plant, user: &str) -> Process {
    let all = "spBv1.0/#";
    let more = ["-d", "-t", all, "-F", "%t"];
    let listener = plant.listener(user, &format!("{user}-hears"), &more);
    plant.wait("the stranger has subscribed", |_| {
        listener.said().contains("Subscribed")
    });
    listener
}

#[test]
fn a_stranger_reads_a_gateway_and_its_death_is_told_by_the_broker() {
    let mut plant = Plant::start(Between::Mosquitto);
    plant.grow(50);
    let mut listener = stranger(&mut plant, STRANGER);
    plant.gateway.kill();
    plant.wait("the broker says that it died", |_| {
        heard(&listener).iter().any(|topic| topic == "NDEATH")
    });
    let quality = |plant: &mut Plant| {
        let points = plant.get("/api/v1/points");
        let points: serde_json::Value = serde_json::from_str(&points).unwrap_or_default();
        let points = points.as_array().cloned().unwrap_or_default();
        let mut qualities: Vec<_> = points
            .iter()
            .map(|one| one["quality"].to_string())
            .collect();
        qualities.sort();
        qualities.dedup();
        qualities
    };
    plant.wait("its points are unknown", |plant| {
        let found = quality(plant);
        found.len() == 1 && found[0].contains("link_down")
    });
    let raised = |plant: &mut Plant| {
        let record = Record::read(&plant.data());
        let changes = record.alarms.iter();
        let of_view =
            changes.filter(|(_, change)| change.alarm == format!("{GATEWAY}.loss_of_view"));
        of_view
            .map(|(_, change)| change.cause.clone())
            .collect::<Vec<_>>()
    };
    plant.wait("an alarm says so", |plant| {
        raised(plant).last() == Some(&Cause::Raised)
    });

    let before = heard(&listener).len();
    plant.gateway.again();
    plant.grow(50);
    plant.wait("the points are good again", |plant| {
        quality(plant) == ["\"good\""]
    });
    let since = heard(&listener).split_off(before);
    assert_eq!(since[0], "NBIRTH", "{since:?}");
    for (place, topic) in since.iter().enumerate() {
        if let Some(unit) = topic.strip_prefix("DDATA") {
            let birth = format!("DBIRTH{unit}");
            assert!(since[..place].contains(&birth), "{topic} before {birth}");
        }
    }
    assert!(listener.runs());
    let record = Record::read(&plant.data());
    let offline = record.links.iter();
    let offline = offline.filter(|(_, change)| change.event == LinkEvent::Offline);
    assert_eq!(offline.count(), 1);
}

#[test]
fn a_gateway_stores_while_the_host_is_gone_and_sends_live_first() {
    let mut plant = Plant::start(Between::Mosquitto);
    plant.grow(50);
    let listener = stranger(&mut plant, STRANGER);
    plant.centre.kill();
    plant.wait("the gateway leaves", |_| {
        heard(&listener)
            .last()
            .is_some_and(|topic| topic == "NDEATH")
    });
    let (left, end) = (heard(&listener).len(), plant.committed());
    let polls = plant.device.polls();
    plant.wait("some polls", |plant| plant.device.polls() >= polls + 450);
    assert_eq!(heard(&listener).len(), left, "it says nothing to nobody");
    assert!(plant.account().stored >= 400, "{:?}", plant.account());
    plant.centre.again();
    let produced = plant.account().produced;
    plant.wait("the backlog is through", |plant| {
        plant.account().committed > produced
    });

    let record = Record::read(&plant.data());
    let since: Vec<_> = record
        .messages
        .iter()
        .filter(|one| one.entry > end)
        .collect();
    let (old, live): (Vec<&Message>, Vec<&Message>) =
        since.iter().partition(|one| one.is_historical);
    assert!(old.len() >= 400, "{} historical", old.len());
    // Three bundles at four a second: live messages are not kept waiting for them.
    let last_old = old.iter().map(|one| one.entry).max();
    let between = live.iter().filter(|one| Some(one.entry) < last_old);
    assert!(between.count() >= 10, "live goes first");
    let first_live = live.iter().map(|one| one.number.sequence).min();
    assert!(old.iter().all(|one| Some(one.number.sequence) < first_live));
    assert!(live.is_sorted_by_key(|one| one.number.sequence));
    let sequences: Vec<_> = old.iter().map(|one| one.number.sequence).collect();
    assert!(sequences.is_sorted(), "oldest first: {sequences:?}");
}

/// Topics and payloads that mean nothing, or not what they seem, in both versions of MQTT.
fn publish_rubbish(plant: &Plant) {
    let secret = password(STRANGER);
    let own = format!("spBv1.0/{GROUP}");
    // A metric of name `x`, type Float, value 1; and a data message with it.
    let unknown = b"\x12\x0a\x0a\x01x\x20\x09\x65\x00\x00\x80\x3f";
    let file = plant.folder.join("unknown");
    std::fs::write(&file, unknown).expect("a file");
    let file = file.display().to_string();
    let rubbish = |kind: &str| {
        vec![
            "-t".to_owned(),
            format!("{own}/{kind}"),
            "-m".into(),
            "\u{1}rubbish".into(),
        ]
    };
    let mut messages: Vec<Vec<String>> = [
        "DDATA/gw/u1",
        "NDATA/gw",
        "NBIRTH/gw",
        "DBIRTH/gw/u1",
        "NDEATH/gw",
        "DDATA/gw/none",
        "DDATA/nobody/u1",
        "NBIRTH/nobody",
        "DDATA/gw",
        "DDATA/gw/u1/x",
    ]
    .iter()
    .map(|kind| rubbish(kind))
    .collect();
    messages.push(vec![
        "-t".into(),
        format!("{own}/DDATA/gw/u1"),
        "-f".into(),
        file,
    ]);
    messages.push(vec![
        "-t".into(),
        "spBv1.0/STATE/davy".into(),
        "-m".into(),
        "rubbish".into(),
    ]);
    messages.push(vec![
        "-t".into(),
        format!("{own}/NCMD/gw"),
        "-m".into(),
        "\u{1}rubbish".into(),
    ]);
    for message in &messages {
        let message: Vec<_> = message.iter().map(String::as_str).collect();
        for version in ["mqttv311", "mqttv5"] {
            let message = [&["-V", version], &message[..]].concat();
            assert!(
                plant.publish(Some((STRANGER, &secret)), &message),
                "{message:?}"
            );
        }
    }
}

#[test]
fn a_stranger_who_publishes_rubbish_disturbs_nothing_else() {
    let mut plant = Plant::start(Between::Mosquitto);
    plant.grow(50);
    publish_rubbish(&plant);
    plant.grow(100);
    let unusable = plant.counter("davy_gateway_unusable_total{gateway=\"gw\"}");
    assert!(unusable >= 8, "{unusable} counted");
    // Topics of no gateway, and topics that are none.
    assert_eq!(plant.counter("davy_foreign_messages_total"), 8);
    plant.wait("an alarm says so", |plant| {
        let record = Record::read(&plant.data());
        let mut changes = record.alarms.iter();
        let name = format!("{GATEWAY}.unusable");
        changes.any(|(_, change)| change.alarm == name && change.cause == Cause::Raised)
    });
    let record = Record::read(&plant.data());
    assert!(
        record
            .topics
            .iter()
            .all(|(_, topic)| !topic.contains("nobody"))
    );
    let went_off = record
        .links
        .iter()
        .any(|(_, change)| change.event == LinkEvent::Offline);
    assert!(!went_off, "the gateway is taken to be there");
    let account = plant.account();
    assert_eq!(account.lost, 0);
    plant.wait("nothing waits", |plant| plant.account().stored < 20);
}

/// Publishes with an account; whether it was taken.
fn say(plant: &Plant, version: &str, account: Option<(&str, &str)>, topic: &str) -> bool {
    plant.publish(account, &["-V", version, "-m", "x", "-t", topic])
}

/// A client of the gateway's user with a last will, that is killed.
fn die(plant: &mut Plant, version: &str, will: &str) {
    let commands = format!("spBv1.0/{GROUP}/NCMD/{GATEWAY}");
    let id = format!("{version}-{}", will.len());
    let who = ["-V", version, "-d", "-i", &id, "-t", &commands];
    let leaves = ["--will-topic", will, "--will-payload", "x"];
    let mut dying = plant.listener(GATEWAY, &id, &[&who[..], &leaves].concat());
    plant.wait("it is let in, or refused", |_| {
        dying.said().contains("Subscribed") || !dying.runs()
    });
    if dying.runs() {
        dying.kill();
    }
}

#[test]
fn the_embedded_broker_keeps_everyone_to_their_own_topics() {
    let mut plant = Plant::start(Between::Embedded);
    plant.grow(20);
    let hears = stranger(&mut plant, CENTRE);
    let secret = password(GATEWAY);
    let gateway = Some((GATEWAY, secret.as_str()));
    let own = format!("spBv1.0/{GROUP}");
    for version in ["mqttv311", "mqttv5"] {
        let topic = format!("{own}/DDATA/{GATEWAY}/u1");
        for account in [None, Some((GATEWAY, "guessed")), Some(("nobody", ""))] {
            assert!(!say(&plant, version, account, &topic), "{account:?}");
        }
        for foreign in [
            format!("{own}/DDATA/foreign/u1"),
            format!("{own}/NBIRTH/foreign"),
            format!("{own}/NCMD/foreign"),
            format!("{own}/NCMD/{GATEWAY}/foreign"),
            "spBv1.0/STATE/foreign".to_owned(),
            "spBv1.0/foreign/DDATA/gw/u1".to_owned(),
            "foreign".to_owned(),
        ] {
            // MQTT 3.1.1 has no way to refuse a message: the broker takes it and drops it.
            let taken = say(&plant, version, gateway, &foreign);
            assert!(!taken || version == "mqttv311", "{version}: {foreign}");
        }
        die(&mut plant, version, &format!("{own}/NDEATH/foreign"));
        // What is allowed still goes through, and after all of the above.
        let will = format!("{own}/DDATA/{GATEWAY}/will-{version}");
        die(&mut plant, version, &will);
        let sentinel = format!("{own}/DDATA/{GATEWAY}/said-{version}");
        assert!(say(&plant, version, gateway, &sentinel), "{version}");
        plant.wait("what is allowed is heard", |_| {
            let said = hears.said();
            [&will, &sentinel]
                .iter()
                .all(|one| said.lines().any(|line| line == **one))
        });
    }
    let said = hears.said();
    let mut lines = said.lines();
    assert_eq!(lines.find(|line| line.contains("foreign")), None);
    // Each was counted: three sign-ins and seven topics in each version of MQTT, and the will.
    let refused = plant.counter("davy_broker_refused_sign_ins_total");
    assert!(refused >= 6, "{refused} sign-ins");
    let refused = plant.counter("davy_broker_refused_topics_total");
    assert!(refused >= 14, "{refused} topics");
    // And the gateway's own traffic was not disturbed.
    plant.grow(100);
}
