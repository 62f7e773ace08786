//! Stories on a timeline, the state table, and random streams against a slow model.
//!
//! Every story is told to two engines: one that lives through it, and one that is written to JSON
//! and read back before each step. Their effects must be the same, bit for bit.

#![allow(
    clippy::expect_used,
    clippy::float_cmp,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod clocks;
mod complaints;
mod late;
mod limits;
mod model;
mod reconfigure;
mod states;
mod unit;
mod view;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::point::{ByteOrder, Encoding, Point, Range, Register, Scaling, Table, Text};
use crate::reading::{BadCause, Lane, PointId, Quality, Reading, Timestamp, UncertainCause};

/// Tells a story and checks the state after each of its steps.
///
/// The first text is the configuration: setpoints with their limit, and what follows a setpoint is
/// about it (`deadband`, `reset`, `on-delay`, `off-delay`, `latch`, `calibration`); `period` is the
/// point's.
/// `view` is the point's loss of view, `unit` and `gateway` that of its unit and gateway.
///
/// The second text is steps of three words: time, event, state. An event is a good value (`81`),
/// a value with a quality (`81~over`), either with the moment of the sample (`81@2s`), either out
/// of the store (`late:81@2s`), both also numbered (`next#81@2s`, `gap#late:81@2s`), a bad quality (`bad`, `mute`), or a word (`ack`, `reset`, `tick`,
/// `gateway-lost`, `gateway-back`, `unit-lost`, `unit-back`, `history-ends`). States stand in the
/// order of the setpoints, with `/` between them; `?` is unknown, `!` sounded in this step.
fn check(config: &str, story: &str) {
    let mut rig = Rig::new(config);
    let words: Vec<_> = story.split_whitespace().collect();
    assert_eq!(words.len() % 3, 0, "steps have three words: {story}");
    for step in words.chunks(3) {
        let [at, event, expected] = step else {
            unreachable!()
        };
        let shown = rig.step(at, event);
        assert_eq!(&shown, expected, "at {at} {event}, in: {story}");
    }
}

/// An engine, its twin, and all that they said.
#[derive(Clone)]
struct Rig {
    points: Vec<Point>,
    alarms: Vec<AlarmDefinition>,
    engine: Engine,
    twin: Engine,
    /// Effects of the latest step.
    effects: Vec<Effect>,
    /// All effects.
    log: Vec<Effect>,
}

impl Rig {
    fn new(config: &str) -> Self {
        let (points, alarms) = parse(config);
        Self::with(points, alarms)
    }

    fn with(points: Vec<Point>, alarms: Vec<AlarmDefinition>) -> Self {
        let engine = Engine::new(&points, &alarms);
        Self {
            twin: engine.clone(),
            points,
            alarms,
            engine,
            effects: Vec::new(),
            log: Vec::new(),
        }
    }

    /// One input to both engines, the twin newly read back.
    fn apply(&mut self, now: Timestamp, input: Input<'_>) {
        let kept = serde_json::to_string(&self.twin.snapshot()).unwrap();
        let kept: Snapshot = serde_json::from_str(&kept).unwrap();
        let mut twin = Engine::restore(&self.points, &self.alarms, &kept);
        let (mut effects, mut twin_effects) = (Vec::new(), Vec::new());
        self.engine.apply(now, input, &mut effects);
        twin.apply(now, input, &mut twin_effects);
        assert_eq!(effects, twin_effects, "restored engine went on otherwise");
        assert_eq!(self.engine.snapshot(), twin.snapshot());
        self.twin = twin;
        let due = self.engine.next_deadline();
        assert!(due.is_none_or(|due| due > now), "what is due has been done");
        self.take(effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            check_change(effect);
        }
        check_list(&self.engine);
        self.effects.extend(effects.iter().cloned());
        self.log.extend(effects);
    }

    /// What the shell does until `at`: a tick whenever one is wanted.
    fn pass(&mut self, at: Timestamp) {
        let mut ticks = 0;
        while let Some(due) = self.engine.next_deadline()
            && due < at
        {
            self.apply(due, Input::Tick);
            ticks += 1;
            assert!(ticks < 10_000, "deadlines do not move on");
        }
    }

    /// One step of a story; returns what is shown after it.
    fn step(&mut self, at: &str, event: &str) -> String {
        self.effects.clear();
        let now = moment(at);
        self.pass(now);
        match event {
            "tick" => self.apply(now, Input::Tick),
            "history-ends" => self.apply(now, Input::HistoryEnds { gateway: "G1" }),
            "ack" | "reset" => self.command(now, event),
            "gateway-lost" | "gateway-back" => {
                let gateway = Subject::Gateway("G1".to_owned());
                self.link(now, &gateway, event.ends_with("lost"));
            }
            "unit-lost" | "unit-back" => {
                let unit = Subject::Unit("G1".to_owned(), "U1".to_owned());
                self.link(now, &unit, event.ends_with("lost"));
            }
            reading => self.reading(now, reading),
        }
        self.shown()
    }

    fn link(&mut self, now: Timestamp, subject: &Subject, active: bool) {
        let condition = SystemCondition::LossOfView;
        self.apply(
            now,
            Input::System {
                subject,
                condition,
                active,
            },
        );
    }

    /// Acknowledges or resets the newest occurrence of the first alarm that can be.
    fn command(&mut self, now: Timestamp, word: &str) {
        let occurrence = self
            .engine
            .alarms()
            .filter(|view| word == "reset" || !view.axes.acknowledged)
            .map(|view| view.occurrence)
            .next()
            .unwrap_or(u64::MAX);
        self.apply(now, Input::Command(&command(word, occurrence)));
    }

    fn reading(&mut self, now: Timestamp, text: &str) {
        let (turn, text) = match text.split_once('#') {
            Some(("next", text)) => (Turn::Next, text),
            Some(("gap", text)) => (Turn::Gap, text),
            _ => (Turn::Unnumbered, text),
        };
        let (lane, text) = match text.strip_prefix("late:") {
            Some(text) => (Lane::Historical, text),
            None => (Lane::Live, text),
        };
        let (text, sampled_at) = match text.split_once('@') {
            Some((text, at)) => (text, moment(at)),
            None => (text, now),
        };
        let readings = [reading(PointId(0), text, sampled_at)];
        let readings = &readings;
        self.apply(
            now,
            Input::Readings {
                lane,
                turn,
                readings,
            },
        );
    }

    /// States of all alarms, in the order of their definitions.
    fn shown(&self) -> String {
        let mut shown = String::new();
        for (alarm, definition) in self.alarms.iter().enumerate() {
            if alarm > 0 {
                shown.push('/');
            }
            let state = self.state(alarm);
            let unknown = self.engine.standing(alarm).unwrap().unknown;
            let sounded = self.changes().any(|change| {
                change.alarm == definition.name && change.lane == Lane::Live && change.sounds
            });
            let mark = if unknown && state != State::Normal {
                "?"
            } else {
                ""
            };
            let horn = if sounded { "!" } else { "" };
            write!(shown, "{}{mark}{horn}", mnemonic(state)).unwrap();
        }
        shown
    }

    fn state(&self, alarm: usize) -> State {
        self.engine
            .alarms()
            .find(|view| view.alarm == alarm && view.lane == Lane::Live)
            .map_or(State::Normal, |view| view.state)
    }

    /// Alarm changes of the latest step.
    fn changes(&self) -> impl Iterator<Item = &AlarmChange> {
        changes(&self.effects)
    }

    /// Refusals of the latest step.
    fn refusals(&self) -> Vec<Refusal> {
        let why = |effect: &Effect| match effect {
            Effect::Refused { why, .. } => Some(*why),
            Effect::Changed(_) => None,
        };
        self.effects.iter().filter_map(why).collect()
    }

    /// Rows of the list, as `name lane STATE`.
    fn list(&self) -> Vec<String> {
        let row = |view: AlarmView<'_>| {
            let lane = if view.lane == Lane::Historical {
                " late"
            } else {
                ""
            };
            format!("{}{lane} {}", view.name, mnemonic(view.state))
        };
        self.engine.alarms().map(row).collect()
    }

    fn reconfigure(&mut self, at: &str, config: &str) {
        let (points, alarms) = parse(config);
        self.reconfigure_to(at, points, alarms);
    }

    fn reconfigure_to(&mut self, at: &str, points: Vec<Point>, alarms: Vec<AlarmDefinition>) {
        self.effects.clear();
        let now = moment(at);
        self.pass(now);
        let mut effects = Vec::new();
        self.engine.reconfigure(now, &points, &alarms, &mut effects);
        let mut twin_effects = Vec::new();
        self.twin
            .reconfigure(now, &points, &alarms, &mut twin_effects);
        assert_eq!(effects, twin_effects);
        (self.points, self.alarms) = (points, alarms);
        self.take(effects);
    }
}

fn changes(effects: &[Effect]) -> impl Iterator<Item = &AlarmChange> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Changed(change) => Some(change),
        Effect::Refused { .. } => None,
    })
}

/// What must be true of every change.
fn check_change(effect: &Effect) {
    let Effect::Changed(change) = effect else {
        return;
    };
    assert_eq!(change.to, change.axes.state());
    let process = change.axes.process_state();
    match &change.cause {
        Cause::Raised => assert_eq!(process, State::Unacked),
        Cause::Returned => assert!(!change.axes.active),
        Cause::Acknowledged { .. } => assert!(change.axes.acknowledged),
        Cause::Reset { .. } | Cause::Replaced { .. } | Cause::Removed { .. } => {
            assert_eq!(process, State::Normal);
        }
        Cause::QualityChanged => assert_eq!(change.from, change.to),
        Cause::CarriedOn => assert!(change.axes.active && change.lane == Lane::Live),
    }
    if change.sounds {
        assert_eq!(change.to, State::Unacked, "hidden alarms are silent");
        assert!(matches!(change.cause, Cause::Raised | Cause::CarriedOn));
    }
}

/// What must be true of the list at any time.
fn check_list(engine: &Engine) {
    let mut seen = std::collections::BTreeSet::new();
    assert_eq!(engine.listed().count(), engine.alarms().count());
    for (listed, view) in engine.listed().zip(engine.alarms()) {
        assert_eq!(engine.row(&listed).as_ref(), Some(&view));
        assert_eq!((listed.alarm, listed.lane), (view.alarm, view.lane));
        assert_eq!(
            (listed.occurrence, listed.raised_at),
            (view.occurrence, view.raised_at)
        );
        assert_eq!((listed.priority, listed.state), (view.priority, view.state));
        let axes = (view.axes.active, view.axes.acknowledged);
        assert_eq!((listed.active, listed.acknowledged), axes);
        if view.process_state != State::Normal {
            assert_eq!(engine.listed_as(view.occurrence), Some(listed));
        }
    }
    for view in engine.alarms() {
        assert_ne!(view.state, State::Normal, "{}", view.name);
        assert!(
            !(view.axes.active && view.axes.latched),
            "{}: latched is of what has returned",
            view.name
        );
        if view.process_state != State::Normal {
            assert!(seen.insert(view.occurrence), "a number stands once");
        }
    }
    if let Some(due) = engine.next_deadline() {
        assert!(due.0 < i64::MAX);
    }
}

fn command(word: &str, occurrence: u64) -> Command {
    let (by, comment) = ("li".to_owned(), None);
    match word {
        "ack" => Command::Acknowledge {
            occurrence,
            by,
            comment,
        },
        _ => Command::Reset {
            occurrence,
            by,
            comment,
        },
    }
}

fn reading(point: PointId, text: &str, sampled_at: Timestamp) -> Reading {
    let (value, quality) = match text.split_once('~') {
        Some((value, quality)) => (value, quality),
        None => (text, "good"),
    };
    let quality = match (value, quality) {
        ("bad", _) => Quality::Bad(BadCause::OpenWire),
        ("mute", _) => Quality::Bad(BadCause::NoAnswer),
        ("garbled", _) => Quality::Bad(BadCause::Garbled),
        ("exception", _) => Quality::Bad(BadCause::Exception),
        (_, "good") => Quality::Good,
        (_, "over") => Quality::Uncertain(UncertainCause::OverRange),
        (_, "under") => Quality::Uncertain(UncertainCause::UnderRange),
        (_, "cal") => Quality::Uncertain(UncertainCause::Calibration),
        (_, "frozen") => Quality::Uncertain(UncertainCause::Frozen),
        (_, "manual") => Quality::Uncertain(UncertainCause::Substituted),
        (_, "unsure") => Quality::Uncertain(UncertainCause::Unspecified),
        other => panic!("no such reading: {other:?}"),
    };
    let value = value.parse().unwrap_or(f64::NAN);
    Reading::new(point, value, quality, sampled_at)
}

/// `12s` or `1500ms` after the start of the story.
fn moment(text: &str) -> Timestamp {
    Timestamp(1_000_000) + duration(text)
}

fn duration(text: &str) -> Duration {
    if let Some(ms) = text.strip_suffix("ms") {
        Duration::from_millis(ms.parse().unwrap())
    } else {
        Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap())
    }
}

fn mnemonic(state: State) -> &'static str {
    match state {
        State::Normal => "NORM",
        State::Unacked => "UNACK",
        State::Acked => "ACKED",
        State::RtnUnacked => "RTNUN",
        State::LatchedUnacked => "LATUN",
        State::LatchedAcked => "LATAC",
        State::Shelved => "SHLVD",
        State::SuppressedByDesign => "DSUPR",
        State::OutOfService => "OOSRV",
    }
}

/// One point `P0` with the alarms of `config`.
fn parse(config: &str) -> (Vec<Point>, Vec<AlarmDefinition>) {
    let mut point = point(0, "1s");
    let mut alarms: Vec<AlarmDefinition> = Vec::new();
    let terms = config.split(',').map(str::trim).filter(|t| !t.is_empty());
    for term in terms {
        let (word, argument) = term.split_once(' ').unwrap_or((term, ""));
        let last = alarms.last_mut();
        match word {
            "period" => point.period = duration(argument),
            "deadband" => change_limit(last.unwrap(), |limit| {
                let deadband: f64 = argument.parse().unwrap();
                let sign = if limit.setpoint.is_high() { -1.0 } else { 1.0 };
                limit.reset = limit.limit + sign * deadband;
            }),
            "reset" => change_limit(last.unwrap(), |limit| {
                limit.reset = argument.parse().unwrap();
            }),
            "on-delay" => last.unwrap().on_delay = duration(argument),
            "off-delay" => last.unwrap().off_delay = duration(argument),
            "latch" => last.unwrap().latch = true,
            "calibration" => last.unwrap().calibration_max = duration(argument),
            "view" => alarms.push(alarm(
                Subject::Point(PointId(0)),
                Condition::System(SystemCondition::LossOfView),
            )),
            "gateway" => alarms.push(alarm(
                Subject::Gateway("G1".to_owned()),
                Condition::System(SystemCondition::LossOfView),
            )),
            "unit" => alarms.push(alarm(
                Subject::Unit("G1".to_owned(), "U1".to_owned()),
                Condition::System(SystemCondition::LossOfView),
            )),
            setpoint => {
                let limit: f64 = argument.parse().unwrap();
                let setpoint = setpoint_of(setpoint);
                alarms.push(alarm(
                    Subject::Point(PointId(0)),
                    Condition::Limit(Limit {
                        setpoint,
                        limit,
                        reset: limit,
                    }),
                ));
            }
        }
    }
    (vec![point], alarms)
}

fn change_limit(alarm: &mut AlarmDefinition, change: impl FnOnce(&mut Limit)) {
    match &mut alarm.condition {
        Condition::Limit(limit) => change(limit),
        Condition::System(_) => panic!("not a limit: {}", alarm.name),
    }
}

fn setpoint_of(word: &str) -> Setpoint {
    use Setpoint::{Gas1, Gas2, H, Hh, L, Ll, MineAlarm, MineCut};
    let all = [Hh, H, L, Ll, Gas1, Gas2, MineAlarm, MineCut];
    let found = all.into_iter().find(|setpoint| setpoint.word() == word);
    found.unwrap_or_else(|| panic!("no such word: {word}"))
}

fn alarm(subject: Subject, condition: Condition) -> AlarmDefinition {
    let text = Text::default;
    let what = match &subject {
        Subject::Point(id) => format!("P{}", id.0),
        Subject::Unit(gateway, unit) => format!("{gateway}.{unit}"),
        Subject::Gateway(gateway) => gateway.clone(),
        Subject::Centre => "centre".to_owned(),
    };
    let word = match condition {
        Condition::Limit(limit) => limit.setpoint.word(),
        Condition::System(condition) => condition.word(),
    };
    AlarmDefinition {
        name: format!("{what}.{word}"),
        subject,
        condition,
        on_delay: Duration::ZERO,
        off_delay: Duration::ZERO,
        latch: false,
        calibration_max: Duration::from_mins(30),
        priority: Priority::HIGHEST,
        shelvable: true,
        guidance: Arc::new(Guidance {
            cause: text(),
            consequence: text(),
            action: text(),
            time_to_respond: Duration::from_mins(10),
        }),
        figure_source: Arc::default(),
    }
}

fn point(place: u32, period: &str) -> Point {
    Point {
        tag: format!("P{place}"),
        name: Text::default(),
        kind: "level".to_owned(),
        position: None,
        unit: "%".to_owned(),
        range: Range {
            low: 0.0,
            high: 100.0,
        },
        source: None,
        gateway: "G1".to_owned(),
        device: "U1".to_owned(),
        period: duration(period),
        register: Register {
            table: Table::HoldingRegisters,
            address: 0,
            encoding: Encoding::F32,
            order: ByteOrder::Abcd,
            scaling: Scaling::None,
        },
    }
}

/// How often each cause stands in the log of one alarm.
fn causes(log: &[Effect], name: &str, lane: Lane) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for change in changes(log).filter(|change| change.alarm == name && change.lane == lane) {
        let word = serde_json::to_value(&change.cause).unwrap();
        let word = word["kind"].as_str().unwrap().to_owned();
        *counts.entry(word).or_default() += 1;
    }
    counts
}
