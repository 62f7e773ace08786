//! Whole buses in paused time: who is delayed by whom, and what is said of it.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

use std::sync::atomic::Ordering::SeqCst;

use davy_core::config::Unit as UnitConfig;
use davy_core::point::{ByteOrder, Encoding, Range, Register, Scaling, Table, Text};
use davy_core::reading::Quality;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::modbus::fake::{FakeLink, Manner};
use crate::test_log::Lines;

const TIMEOUT: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

fn just_before(slot: Duration) -> Duration {
    slot.saturating_sub(Duration::from_millis(1))
}

fn bus(units: u8) -> Bus {
    Bus {
        name: "bus".into(),
        address: String::new(),
        timeout: TIMEOUT,
        registers_max: 125,
        bits_max: 2000,
        gap_max: 0,
        units: (1..=units)
            .map(|number| UnitConfig {
                id: format!("u{number}"),
                number,
                name: Text::default(),
            })
            .collect(),
    }
}

fn point(unit: u8, address: u16, period: Duration) -> Point {
    Point {
        tag: format!("u{unit}.{address}"),
        name: Text::default(),
        kind: "level".into(),
        position: None,
        unit: "%".into(),
        range: Range {
            low: 0.0,
            high: 65_535.0,
        },
        source: None,
        gateway: "g".into(),
        device: format!("u{unit}"),
        period,
        register: Register {
            table: Table::HoldingRegisters,
            address,
            encoding: Encoding::U16,
            order: ByteOrder::Abcd,
            scaling: Scaling::None,
        },
    }
}

/// A running bus: units 1 to `units`, with registers 10 and 20 polled each second.
struct Run {
    link: FakeLink,
    counters: Arc<BusCounters>,
    batches: mpsc::Receiver<Batch>,
    task: JoinHandle<()>,
}

fn points(units: u8) -> Vec<Point> {
    (1..=units)
        .flat_map(|unit| [10, 20].map(|address| point(unit, address, SECOND)))
        .collect()
}

fn start(units: u8, points: &[Point], room: usize, link: &FakeLink) -> Run {
    let poll = BusPoll::new("g", &bus(units), points);
    let counters = poll.counters();
    let (out, batches) = mpsc::channel(room);
    let begun = monotonic();
    let clock = Clock::from_fn(move || Timestamp((monotonic() - begun).as_millis() as i64));
    let kept = link.clone();
    let task = tokio::spawn(async move { poll.run(&kept, &clock, out).await });
    Run {
        link: link.clone(),
        counters,
        batches,
        task,
    }
}

fn start_plain(units: u8, link: &FakeLink) -> Run {
    start(units, &points(units), 100_000, link)
}

impl Run {
    /// Lets time pass and returns all batches that came meanwhile.
    async fn pass(&mut self, time: Duration) -> Vec<Batch> {
        sleep(time).await;
        let mut batches = Vec::new();
        while let Ok(batch) = self.batches.try_recv() {
            batches.push(batch);
        }
        batches
    }
}

fn of<'a>(batches: &'a [Batch], unit: &str) -> Vec<&'a Batch> {
    batches.iter().filter(|b| &*b.unit == unit).collect()
}

fn all_bad(batch: &Batch, cause: BadCause) -> bool {
    batch.readings.len() == 2
        && batch
            .readings
            .iter()
            .all(|reading| reading.quality == Quality::Bad(cause))
}

fn good(batch: &Batch) -> bool {
    batch.readings.iter().all(|r| r.quality.is_good())
}

#[tokio::test(start_paused = true)]
async fn polls_keep_the_grid_and_values_their_points() {
    let link = FakeLink::default();
    link.set(2, Manner::Late(Duration::from_millis(30)));
    let mut run = start_plain(2, &link);
    let batches = run.pass(just_before(SECOND * 10)).await;
    let ones = of(&batches, "u1");
    assert_eq!(ones.len(), 10);
    for (slot, batch) in (0..).zip(&ones) {
        assert_eq!(batch.sampled_at, Timestamp(slot * 1000));
        assert_eq!(batch.unit_state, UnitState::Alive);
        let values: Vec<f64> = batch.readings.iter().map(|r| r.value).collect();
        assert_eq!(values, [1010.0, 1020.0]);
    }
    // Each reading has the time of its own reply: two requests of 30 ms.
    let twos = of(&batches, "u2");
    for (slot, batch) in (0..).zip(&twos) {
        let at: Vec<i64> = batch.readings.iter().map(|r| r.sampled_at.0).collect();
        assert_eq!(at, [slot * 1000 + 30, slot * 1000 + 60]);
    }
    assert_eq!(run.counters.units[1].on_time.load(SeqCst), 10);
    assert_eq!(run.counters.connects.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn each_bus_has_a_phase_of_its_own() {
    let mut firsts = Vec::new();
    let points: Vec<_> = [SECOND / 10, SECOND, SECOND * 60]
        .into_iter()
        .zip(1..)
        .map(|(period, unit)| point(unit, 10, period))
        .collect();
    for place in 0..4 {
        let link = FakeLink::default();
        let poll = BusPoll::new("g", &bus(3), &points).with_phase(place, 4);
        let (out, mut batches) = mpsc::channel(1000);
        let begun = monotonic();
        let clock = Clock::from_fn(move || Timestamp((monotonic() - begun).as_millis() as i64));
        tokio::spawn(async move { poll.run(&link, &clock, out).await });
        sleep(SECOND * 2).await;
        let mut first = [None; 3];
        while let Ok(batch) = batches.try_recv() {
            let unit: usize = batch.unit[1..].parse().unwrap();
            first[unit - 1].get_or_insert(batch.sampled_at.0);
        }
        firsts.push(first.map(Option::unwrap));
    }
    assert_eq!(
        firsts,
        [[0, 0, 0], [25, 250, 250], [50, 500, 500], [75, 750, 750]]
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_poll_does_not_move_the_grid() {
    let link = FakeLink::default();
    link.set(1, Manner::Late(Duration::from_millis(260)));
    // Unit 1 holds the bus for the first 260 ms of each second.
    let points = [point(1, 10, SECOND), point(2, 10, SECOND / 5)];
    let mut run = start(2, &points, 1000, &link);
    let batches = run.pass(just_before(SECOND * 10)).await;
    let at: Vec<i64> = of(&batches, "u2").iter().map(|b| b.sampled_at.0).collect();
    let expected: Vec<i64> = (0..10)
        .flat_map(|second| [260, 400, 600, 800].map(|ms| second * 1000 + ms))
        .collect();
    assert_eq!(at, expected);
    assert_eq!(run.counters.units[1].missed.load(SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn an_exception_leaves_the_other_requests() {
    let link = FakeLink::default();
    link.set(1, Manner::RefusesAt(10));
    let mut run = start_plain(1, &link);
    let batches = run.pass(SECOND / 2).await;
    let qualities: Vec<Quality> = batches[0].readings.iter().map(|r| r.quality).collect();
    assert_eq!(
        qualities,
        [Quality::Bad(BadCause::Exception), Quality::Good]
    );
    assert_eq!(batches[0].unit_state, UnitState::Alive);
    assert_eq!(run.counters.units[0].exceptions.load(SeqCst), 1);
}

/// Points at registers 10 to 49, and how many of them are good after so much time.
async fn forty_good(run: &mut Run, time: Duration) -> usize {
    let batches = run.pass(time).await;
    let last = &batches.last().expect("polled").readings;
    assert_eq!(last.len(), 40, "one reading for each point");
    last.iter()
        .filter(|reading| reading.quality.is_good())
        .count()
}

fn start_forty(link: &FakeLink) -> Run {
    let points: Vec<_> = (10..50).map(|address| point(1, address, SECOND)).collect();
    start(1, &points, 100_000, link)
}

#[tokio::test(start_paused = true)]
async fn a_register_that_is_not_there_blinds_itself_and_no_neighbour() {
    let link = FakeLink::default();
    link.set(1, Manner::Lacks(23));
    let mut run = start_forty(&link);
    assert_eq!(
        forty_good(&mut run, SECOND / 2).await,
        0,
        "refused as a whole"
    );
    assert_eq!(forty_good(&mut run, SECOND).await, 20);
    assert_eq!(forty_good(&mut run, SECOND * 10).await, 39);
    // Found once: no more than seven requests a poll, one of them refused.
    let before = (link.asked(1), run.counters.units[0].exceptions.load(SeqCst));
    assert_eq!(forty_good(&mut run, SECOND * 60).await, 39);
    let after = (link.asked(1), run.counters.units[0].exceptions.load(SeqCst));
    assert_eq!(after.1 - before.1, 60);
    assert!(after.0 - before.0 <= 60 * 7);
    // Nothing is lost where the whole is tried again, and the plan holds once it can.
    for _ in 0..700 {
        assert_eq!(forty_good(&mut run, SECOND).await, 39);
    }
    link.set(1, Manner::Answers);
    assert_eq!(forty_good(&mut run, SECOND * 660).await, 40);
    let before = link.asked(1);
    run.pass(SECOND * 60).await;
    assert_eq!(link.asked(1) - before, 60, "one request a poll");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_answers_shorter_requests_only_is_asked_so() {
    let link = FakeLink::default();
    link.set(1, Manner::AtMost(16));
    let mut run = start_forty(&link);
    assert_eq!(forty_good(&mut run, SECOND * 3).await, 40);
    let before = run.counters.units[0].exceptions.load(SeqCst);
    for _ in 0..700 {
        assert_eq!(forty_good(&mut run, SECOND).await, 40);
    }
    let refused = run.counters.units[0].exceptions.load(SeqCst) - before;
    assert_eq!(refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_refuses_everything_is_not_asked_piece_by_piece() {
    let link = FakeLink::default();
    link.set(1, Manner::Refuses(2));
    let mut run = start_forty(&link);
    assert_eq!(forty_good(&mut run, SECOND * 20).await, 0);
    let before = link.asked(1);
    run.pass(SECOND * 500).await;
    assert_eq!(link.asked(1) - before, 500);
    link.set(1, Manner::Answers);
    assert_eq!(forty_good(&mut run, SECOND * 2).await, 40);
}

#[tokio::test(start_paused = true)]
async fn a_garbled_unit_costs_the_others_nothing() {
    for manner in [
        Manner::WrongTransaction,
        Manner::CutMidFrame,
        Manner::Short,
        Manner::WrongFunction,
    ] {
        let link = FakeLink::default();
        link.set(1, manner);
        let mut run = start_plain(2, &link);
        let batches = run.pass(just_before(SECOND * 20)).await;
        assert!(
            of(&batches, "u1")
                .iter()
                .all(|batch| all_bad(batch, BadCause::Garbled)),
            "{manner:?}"
        );
        let twos = of(&batches, "u2");
        assert_eq!(twos.len(), 20, "{manner:?}");
        assert!(twos.iter().all(|batch| good(batch)));
        assert_eq!(run.counters.units[0].garbled.load(SeqCst), 40);
    }
}

/// Share of their slots that the live units kept on time, with the last `silent` of all units
/// silent and each probe holding the line, for ten minutes.
async fn live_share(live: u8, silent: u8, hold: Duration) -> f64 {
    let link = FakeLink::default();
    for unit in live + 1..=live + silent {
        link.set(unit, Manner::Silent(hold));
    }
    let mut run = start_plain(live + silent, &link);
    let seconds = 600;
    let batches = run.pass(just_before(SECOND * seconds)).await;
    let mut worst = f64::MAX;
    for unit in 0..usize::from(live) {
        let kept = run.counters.units[unit].on_time.load(SeqCst);
        let name = format!("u{}", unit + 1);
        assert!(of(&batches, &name).iter().all(|batch| good(batch)));
        worst = worst.min(kept as f64 / f64::from(seconds));
    }
    let spent = run.counters.probing_ms.load(SeqCst) as f64 / f64::from(seconds) / 1000.0;
    assert!(spent <= 0.05, "probes took {spent} of the bus's time");
    worst
}

#[tokio::test(start_paused = true)]
async fn silent_units_do_not_delay_live_ones() {
    for (live, silent) in [(4, 1), (4, 4), (1, 30)] {
        for hold in [Duration::ZERO, TIMEOUT] {
            let share = live_share(live, silent, hold).await;
            assert!(
                share >= 0.99,
                "{live} live, {silent} silent, {hold:?}: {share}"
            );
        }
    }
}

/// Slots of the live units lie close together: a probe costs one of them.
#[tokio::test(start_paused = true)]
async fn a_full_bus_is_probed_less() {
    let link = FakeLink::default();
    link.set(3, Manner::Silent(TIMEOUT));
    let points: Vec<_> = [SECOND / 4, SECOND / 4, SECOND]
        .into_iter()
        .zip(1..)
        .map(|(period, unit)| point(unit, 10, period))
        .collect();
    let mut run = start(3, &points, 100_000, &link);
    run.pass(SECOND * 1200).await;
    for unit in &run.counters.units[..2] {
        let share = unit.on_time.load(SeqCst) as f64 / (4.0 * 1200.0);
        assert!(share >= 0.99, "{share}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_silent_unit_is_asked_every_ten_seconds() {
    let link = FakeLink::default();
    link.set(1, Manner::Silent(TIMEOUT));
    let mut run = start_plain(4, &link);
    run.pass(SECOND * 315).await;
    link.set(1, Manner::Answers);
    let batches = run.pass(TIMEOUT * 21 + SECOND).await;
    assert!(of(&batches, "u1").last().is_some_and(|batch| good(batch)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_unit_is_said_to_be_once_and_at_each_heartbeat() {
    let link = FakeLink::default();
    let mut run = start_plain(2, &link);
    run.pass(SECOND * 30).await;
    link.set(1, Manner::Silent(Duration::ZERO));
    let batches = run.pass(SECOND * 30).await;
    let silent: Vec<&Batch> = of(&batches, "u1")
        .into_iter()
        .filter(|batch| batch.unit_state == UnitState::Silent)
        .collect();
    assert!(silent.iter().all(|b| all_bad(b, BadCause::NoAnswer)));
    assert_eq!(silent.len(), 3, "at once and after 10 and 20 s");
    assert!(run.counters.units[0].silent.load(SeqCst));

    link.set(1, Manner::Answers);
    // The most that the prober rests, and one period.
    let batches = run.pass(TIMEOUT * 160 + SECOND * 2).await;
    assert!(of(&batches, "u1").last().is_some_and(|batch| good(batch)));
    assert!(!run.counters.units[0].silent.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_answers_for_a_dead_unit_makes_it_silent() {
    let link = FakeLink::default();
    link.set(1, Manner::Refuses(0x0b));
    let mut run = start_plain(2, &link);
    let batches = run.pass(SECOND * 20).await;
    let ones = of(&batches, "u1");
    assert!(ones.iter().all(|batch| all_bad(batch, BadCause::NoAnswer)));
    assert!(run.counters.units[0].silent.load(SeqCst));
    // The connection was never at fault.
    assert_eq!(run.counters.connects.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_answers_probes_and_little_else_stays_in_the_budget() {
    let link = FakeLink::default();
    link.set(2, Manner::Flaps);
    let quick = SECOND / 5;
    let points = [
        point(1, 10, quick),
        point(2, 10, quick),
        point(2, 20, quick),
    ];
    let mut run = start(2, &points, 100_000, &link);
    run.pass(SECOND * 600).await;
    let kept = run.counters.units[0].on_time.load(SeqCst);
    // A timeout takes two and a half slots; one in 20 timeouts is 5 % of 3000.
    assert!(kept >= 2840, "{kept}");
    assert!(run.counters.units[1].timeouts.load(SeqCst) >= 10);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_silence_is_kept_and_looks_older() {
    let link = FakeLink::default();
    link.set(1, Manner::Flaps);
    let mut run = start_plain(2, &link);
    let batches = run.pass(SECOND * 4 / 5).await;
    let ones = of(&batches, "u1");
    assert_eq!(ones[0].readings.len(), 1);
    assert!(good(ones[0]));
    assert!(all_bad(ones[1], BadCause::NoAnswer));
    assert!(ones[1].sampled_at > ones[0].sampled_at);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_answers_half_of_each_trial_stays_silent() {
    let link = FakeLink::default();
    // No probe gets through, so the unit is tried on the polling connection again and again.
    link.0.connections_max.store(1, SeqCst);
    let mut run = start_plain(2, &link);
    run.pass(SECOND * 5).await;
    link.set(1, Manner::SilentAt(20));
    let batches = run.pass(SECOND * 60).await;
    let ones = of(&batches, "u1");
    let trials = ones.iter().filter(|batch| good(batch)).count();
    assert!(trials >= 3, "{trials}");
    let alive = ones.iter().filter(|b| b.unit_state == UnitState::Alive);
    assert_eq!(alive.count(), 0, "an unanswered poll says alive");
}

#[tokio::test(start_paused = true)]
async fn one_lost_frame_costs_two_slots_at_most() {
    let link = FakeLink::default();
    let mut run = start_plain(2, &link);
    run.pass(SECOND * 30 + SECOND / 2).await;
    link.set(1, Manner::Silent(Duration::ZERO));
    run.pass(SECOND * 3 / 5).await;
    link.set(1, Manner::Answers);
    let batches = run.pass(SECOND * 3).await;
    assert!(of(&batches, "u1").iter().filter(|b| good(b)).count() >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_device_with_room_for_one_connection_comes_back_too() {
    let link = FakeLink::default();
    link.0.connections_max.store(1, SeqCst);
    let mut run = start_plain(2, &link);
    run.pass(SECOND * 30).await;
    link.set(1, Manner::Silent(Duration::ZERO));
    run.pass(SECOND * 30).await;
    link.set(1, Manner::Answers);
    let batches = run.pass(TIMEOUT * 160 + SECOND * 2).await;
    assert!(of(&batches, "u1").last().is_some_and(|batch| good(batch)));
    let on_time = run.counters.units[1].on_time.load(SeqCst);
    let slots = on_time + run.counters.units[1].missed.load(SeqCst);
    assert!(on_time * 100 >= slots * 99, "{on_time} of {slots}");
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_is_asked_for_over_a_closed_connection_is_not_blamed() {
    let link = FakeLink::default();
    let mut run = start_plain(2, &link);
    run.pass(SECOND * 5).await;
    // Unit 1 makes the server hang up each time; unit 2 must not notice.
    link.set(1, Manner::Closes);
    let batches = run.pass(SECOND * 100).await;
    let twos = of(&batches, "u2");
    assert_eq!(twos.len(), 100);
    assert!(twos.iter().all(|batch| good(batch)));
    let ones = of(&batches, "u1");
    assert!(ones.iter().any(|b| all_bad(b, BadCause::LinkDown)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_while_idle_is_made_again_without_loss() {
    let link = FakeLink::default();
    *link.0.idle_max.lock().unwrap() = Some(SECOND / 2);
    let mut run = start_plain(2, &link);
    let batches = run.pass(just_before(SECOND * 10)).await;
    assert_eq!(batches.len(), 20);
    assert!(batches.iter().all(good));
    assert_eq!(run.counters.connects.load(SeqCst), 10);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_down_is_said_of_every_point_and_made_again() {
    let link = FakeLink::default();
    link.0.refuses_connections.store(true, SeqCst);
    let mut run = start_plain(3, &link);
    let batches = run.pass(SECOND * 9).await;
    for unit in ["u1", "u2", "u3"] {
        let said = of(&batches, unit);
        assert_eq!(said.len(), 1, "{unit}");
        assert!(all_bad(said[0], BadCause::LinkDown));
    }
    // Half a second, doubled each time: far fewer attempts than slots.
    assert!(run.counters.connect_failures.load(SeqCst) <= 5);

    link.0.refuses_connections.store(false, SeqCst);
    let batches = run.pass(SECOND * 31).await;
    for unit in ["u1", "u2", "u3"] {
        assert!(of(&batches, unit).last().is_some_and(|batch| good(batch)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_unit_is_back_soon() {
    let link = FakeLink::default();
    link.set(1, Manner::Silent(Duration::ZERO));
    let mut run = start_plain(1, &link);
    run.pass(SECOND * 600).await;
    link.set(1, Manner::Answers);
    let batches = run.pass(TIMEOUT * 3 + SECOND).await;
    assert!(of(&batches, "u1").last().is_some_and(|batch| good(batch)));
}

#[tokio::test(start_paused = true)]
async fn units_with_one_number_on_two_buses_are_strangers() {
    let (dead, well) = (FakeLink::default(), FakeLink::default());
    dead.set(1, Manner::Silent(Duration::ZERO));
    let mut on_dead = start_plain(1, &dead);
    let mut on_well = start_plain(1, &well);
    let time = just_before(SECOND * 60);
    let (bad, fine) = tokio::join!(on_dead.pass(time), on_well.pass(time));
    assert!(bad.iter().all(|b| all_bad(b, BadCause::NoAnswer)));
    assert_eq!(fine.len(), 60);
    assert!(fine.iter().all(good));
    assert_eq!(well.asked(1), 120);
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_loses_no_batch_and_the_slots_are_counted() {
    let link = FakeLink::default();
    let mut run = start(1, &points(1), 1, &link);
    sleep(SECOND * 20 + SECOND / 2).await;
    let first = run.batches.recv().await.unwrap();
    let second = run.batches.recv().await.unwrap();
    assert_eq!(first.sampled_at, Timestamp(0));
    assert_eq!(second.sampled_at, Timestamp(1000));
    // Slots 2 to 19 passed while it waited; the latest that is due is taken at once.
    let third = run.batches.recv().await.unwrap();
    assert_eq!(third.sampled_at, Timestamp(20_500));
    assert_eq!(run.counters.units[0].missed.load(SeqCst), 18);
    // The second batch waited for the first to be taken, the third for the second.
    assert_eq!(run.counters.waits.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_consumer() {
    let link = FakeLink::default();
    let run = start_plain(2, &link);
    drop(run.batches);
    let ended = timeout(SECOND, run.task).await;
    assert!(ended.is_ok_and(|task| task.is_ok()));
    assert_eq!(run.link.0.functions.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn points_have_their_own_periods_and_calibration_reaches_across() {
    let link = FakeLink::default();
    let mut points = vec![point(1, 10, SECOND), point(1, 20, SECOND * 5)];
    points[1].tag = "u1.10.cal".into();
    points[1].kind = "calibration".into();
    // The switch reads 1: bit 2 of 1020 (0b11_1111_1100).
    points[1].register.encoding = Encoding::BitOf(2);
    let mut run = start(1, &points, 1000, &link);
    let batches = run.pass(just_before(SECOND * 10)).await;
    assert_eq!(batches.len(), 12);
    let last = batches.last().unwrap();
    assert_eq!(
        last.readings[0].quality,
        Quality::Uncertain(davy_core::reading::UncertainCause::Calibration)
    );
}

#[test]
fn points_of_other_gateways_and_buses_are_left_out() {
    let mut table = points(3);
    table[0].gateway = "other".into();
    let poll = BusPoll::new("g", &bus(2), &table);
    assert_eq!(poll.requests(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_unit_of_more_points_than_a_message_holds_is_sent_in_several() {
    let many = READINGS_MAX as u16 + 100;
    let points: Vec<_> = (0..many).map(|address| point(1, address, SECOND)).collect();
    let mut run = start(1, &points, 100_000, &FakeLink::default());
    let batches = run.pass(just_before(SECOND)).await;
    let sizes: Vec<_> = batches.iter().map(|batch| batch.readings.len()).collect();
    assert_eq!(sizes, [READINGS_MAX, 100]);
    let readings = batches.iter().flat_map(|batch| &batch.readings);
    assert!(
        readings
            .map(|reading| reading.point.0)
            .eq(0..u32::from(many))
    );
    assert!(batches.iter().all(|batch| &*batch.unit == "u1"));
}

#[tokio::test(start_paused = true)]
async fn the_log_says_which_unit_fails_how_and_when_it_is_back() {
    let (lines, _log) = Lines::listen();
    let link = FakeLink::default();
    let mut run = start_plain(5, &link);
    run.pass(SECOND * 10).await;
    assert_eq!(lines.take(), [""; 0], "all is well");

    link.set(1, Manner::Silent(Duration::ZERO));
    link.set(2, Manner::WrongUnit);
    link.set(3, Manner::RefusesAt(10));
    link.set(4, Manner::Short);
    run.pass(SECOND * 300).await;
    let mut said = lines.take();
    said.sort_by_key(|line| {
        line.split_once("number=")
            .map(|(_, number)| number.to_owned())
    });
    assert_eq!(
        said,
        [
            (1, "no answer in time"),
            (2, "the answer bears a wrong unit or transaction id"),
            (3, "answered with exception 2 (no such register)"),
            (4, "the answer is not a valid reply to the request"),
        ]
        .map(|(number, why)| format!(
            " WARN unit fails: {why} unit=\"u{number}\" bus=\"bus\" address=\"\" \
             number={number} left_out=0"
        ))
    );

    for unit in 1..=4 {
        link.set(unit, Manner::Answers);
    }
    run.pass(SECOND * 100).await;
    let said = lines.take();
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(
        said.iter()
            .all(|line| line.contains("INFO unit answers again after ")),
        "{said:#?}"
    );

    link.0.refuses_connections.store(true, SeqCst);
    link.set(5, Manner::Closes);
    run.pass(SECOND * 30).await;
    let said = lines.take();
    let refused = "no connection: connection refused";
    assert!(said.iter().any(|line| line.contains(refused)), "{said:#?}");
}
