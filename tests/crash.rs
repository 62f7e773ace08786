//! Kills gateway, broker and centre at random moments under load, and then counts.
//!
//! Every process is a real one and is killed with SIGKILL. Afterwards every message in the books of
//! the outbox is in the journal exactly once, every excursion at the device is one alarm (found
//! live or late) which returned once, and the chain verifies with a replay.
//!
//! `DAVY_SEED` and `DAVY_ROUNDS` run other kills, and more of them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; the seed is told"
)]

mod plant;

use std::collections::{BTreeMap, BTreeSet};

use davy_core::alarm::{AlarmChange, Cause};
use davy_core::reading::Timestamp;

use plant::device::{UNITS, excursion};
use plant::record::Record;
use plant::{Between, Plant, davy};

/// Repeatable chance: one round of splitmix64 a draw.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn figure(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok().map(|text| text.parse());
    given.map_or(default, |number| number.expect("a whole number"))
}

#[test]
fn nothing_is_lost_or_doubled_behind_an_outside_broker() {
    let mut plant = Plant::start(Between::Mosquitto);
    let seed = figure("DAVY_SEED", 20_260);
    // Bits: gateway, centre, broker. The last two rounds each take more than one.
    let victims = [1, 2, 4, 2, 1, 4, 6, 3, 5, 7];
    torment(&mut plant, seed, &victims);
    count(plant);
}

#[test]
fn nothing_is_lost_or_doubled_behind_the_embedded_broker() {
    let mut plant = Plant::start(Between::Embedded);
    let seed = figure("DAVY_SEED", 20_261);
    let victims = [2, 1, 2, 3, 2, 1];
    torment(&mut plant, seed, &victims);
    count(plant);
}

/// Kills and starts again, round after round.
fn torment(plant: &mut Plant, seed: u64, victims: &[u64]) {
    let rounds = figure("DAVY_ROUNDS", victims.len() as u64);
    println!("seed {seed}, {rounds} rounds");
    let mut chance = Chance(seed);
    plant.grow(200);
    for (round, victims) in (0..rounds).zip(victims.iter().cycle()) {
        let after = chance.below(120);
        plant.grow(after);
        let polls = plant.device.polls();
        if victims & 1 != 0 {
            plant.gateway.kill();
        }
        if victims & 2 != 0 {
            plant.centre.kill();
        }
        if victims & 4 != 0
            && let Some(mosquitto) = &mut plant.mosquitto
        {
            mosquitto.kill();
        }
        // While the gateway lives the outage lasts until it has polled so often.
        let outage = if victims & 1 == 0 {
            chance.below(150)
        } else {
            0
        };
        plant.wait("the device is polled", |plant| {
            plant.device.polls() >= polls + outage
        });
        if victims & 4 != 0
            && let Some(mosquitto) = &mut plant.mosquitto
        {
            mosquitto.again();
        }
        if victims & 1 != 0 {
            plant.gateway.again();
        }
        if victims & 2 != 0 {
            plant.centre.again();
        }
        println!("round {round}: killed {victims:03b} after {after}, outage {outage}");
        plant.grow(100);
    }
}

/// Lets everything come to rest, and proves that nothing is missing or there twice.
fn count(mut plant: Plant) {
    // The backlog is through when what is stored now is done with.
    let produced = plant.account().produced;
    plant.wait("the backlog is committed", |plant| {
        let account = plant.account();
        account.committed + account.lost >= produced
    });
    // And live readings are the last word on each alarm.
    plant.grow(40 * UNITS as u64);
    plant.device.hush();
    plant.wait("the outbox is empty", |plant| plant.account().stored == 0);
    assert!(plant.gateway.end(), "{}", plant.gateway.last_words());
    assert!(plant.centre.end(), "{}", plant.centre.last_words());

    let record = Record::read(&plant.data());
    every_message_once(&plant, &record);
    every_excursion_once(&record);
    let data = plant.data().display().to_string();
    let verified = davy(&["verify", &data, "--replay"]);
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(
        verified.status.success() && said.contains("the replay gives the same"),
        "{said}"
    );
}

fn every_message_once(plant: &Plant, record: &Record) {
    let account = plant.account();
    println!("{account:?}");
    assert_eq!(
        account.produced,
        account.committed + account.stored + account.lost
    );
    assert_eq!(account.lost, 0);
    let mut numbers: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for message in &record.messages {
        let number = message.number;
        assert!(
            numbers
                .entry(number.run)
                .or_default()
                .insert(number.sequence),
            "{number:?} is in the journal twice"
        );
    }
    // What the gateway stored on its way out may have come or not.
    for (run, sequence) in plant.kept() {
        numbers.entry(run).or_default().insert(sequence);
    }
    for (run, sequences) in &numbers {
        let last = sequences.last().copied().unwrap_or(0);
        let missing: Vec<_> = (1..=last).filter(|one| !sequences.contains(one)).collect();
        assert!(missing.is_empty(), "run {run}, missing: {missing:?}");
    }
    let distinct: usize = numbers.values().map(BTreeSet::len).sum();
    assert_eq!(distinct as u64, account.produced);

    // By value: within a run no poll is missing, and none is there twice.
    let mut polls: BTreeMap<(u64, &str), Vec<(u64, u64)>> = BTreeMap::new();
    for message in &record.messages {
        if let Some((_, poll)) = message.value(&format!("{}.polls", message.unit)) {
            let key = (message.number.run, message.unit.as_str());
            let of_run = polls.entry(key).or_default();
            of_run.push((message.number.sequence, poll as u64));
        }
    }
    for ((run, unit), mut polls) in polls {
        polls.sort_unstable();
        let skips = polls.windows(2).find(|pair| pair[0].1 + 1 != pair[1].1);
        assert_eq!(skips, None, "run {run}, {unit}: sequence and poll");
    }
}

/// Each excursion that has a reading in the journal, against the alarms in it.
fn every_excursion_once(record: &Record) {
    for unit in 0..UNITS {
        let (tag, polls) = (
            format!("u{}.level", unit + 1),
            format!("u{}.polls", unit + 1),
        );
        let alarm = format!("{tag}.hh");
        let mut readings: BTreeMap<Timestamp, u64> = BTreeMap::new();
        for message in &record.messages {
            if let (Some((at, _)), Some((_, poll))) = (message.value(&tag), message.value(&polls)) {
                readings.insert(at, poll as u64);
            }
        }
        let seen: BTreeSet<u64> = readings
            .values()
            .filter_map(|poll| excursion(unit, *poll))
            .collect();
        let changes = record
            .alarms
            .iter()
            .filter(|(_, change)| change.alarm == alarm);
        let mut raised: BTreeMap<u64, Vec<(u64, &AlarmChange)>> = BTreeMap::new();
        let mut returned: BTreeMap<u64, u32> = BTreeMap::new();
        for (entry, change) in changes {
            match change.cause {
                Cause::Raised => {
                    let poll = readings.get(&change.raised_at);
                    let which = poll.and_then(|poll| excursion(unit, *poll));
                    let which = which.expect("it was raised by a reading of an excursion");
                    raised.entry(which).or_default().push((*entry, change));
                }
                Cause::Returned => *returned.entry(change.occurrence).or_default() += 1,
                _ => {}
            }
        }
        println!("{tag}: {} excursions", seen.len());
        let missing: Vec<_> = seen.iter().filter(|k| !raised.contains_key(k)).collect();
        let first = missing.first().map(|which| came(record, unit, **which));
        assert!(
            missing.is_empty(),
            "{tag}: not raised: {missing:?}\n{}",
            first.unwrap_or_default()
        );
        let now_high = readings
            .values()
            .max()
            .and_then(|poll| excursion(unit, *poll));
        for (which, raised) in raised {
            assert_eq!(
                raised.len(),
                1,
                "{tag}, excursion {which}: {}",
                told(&raised)
            );
            let returned = returned.get(&raised[0].1.occurrence).copied().unwrap_or(0);
            let goes_on = now_high == Some(which);
            assert!(
                returned == 1 || (goes_on && returned == 0),
                "{tag}, excursion {which} returned {returned} times: {}",
                told(&raised)
            );
        }
    }
}

/// What came of an excursion, and of the polls beside it, and what followed for its alarm.
fn came(record: &Record, unit: usize, which: u64) -> String {
    let (tag, polls) = (
        format!("u{}.level", unit + 1),
        format!("u{}.polls", unit + 1),
    );
    let beside = |poll: u64| poll.saturating_sub(3)..=poll + 3;
    let mut lines: Vec<(u64, String)> = Vec::new();
    for message in &record.messages {
        let (Some((at, level)), Some((_, poll))) = (message.value(&tag), message.value(&polls))
        else {
            continue;
        };
        if beside(poll as u64).any(|poll| excursion(unit, poll) == Some(which)) {
            let lane = if message.is_historical {
                "late"
            } else {
                "live"
            };
            let number = message.number;
            lines.push((
                message.entry,
                format!("{lane} {number:?}, poll {poll}, at {}: {level}", at.0),
            ));
        }
    }
    let (first, last) = (lines.first(), lines.last());
    let span = first.zip(last).map(|(first, last)| first.0..=last.0);
    for (entry, change) in &record.alarms {
        if span.as_ref().is_some_and(|span| span.contains(entry)) && change.alarm.starts_with(&tag)
        {
            lines.push((
                *entry,
                format!("{:?} at {}", change.cause, change.sampled_at.0),
            ));
        }
    }
    lines.sort();
    let lines = lines
        .into_iter()
        .map(|(entry, line)| format!("entry {entry}: {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Changes in few words.
fn told(changes: &[(u64, &AlarmChange)]) -> String {
    let words = changes.iter().map(|(entry, change)| {
        let AlarmChange {
            occurrence,
            raised_at,
            lane,
            ..
        } = change;
        format!(
            "entry {entry}: occurrence {occurrence}, raised at {}, {lane:?}",
            raised_at.0
        )
    });
    words.collect::<Vec<_>>().join("; ")
}
