//! Decides what is sent next: births, then live data, then deaths, reports and the backlog.
//!
//! Pure: no socket, file or clock. The pipeline tells it what has happened and asks for the next
//! [`Step`] whenever it has room for one packet. Time is the monotonic time since the gateway's
//! start, so that a step of the wall clock neither stops nor floods a lane.
//!
//! # Invariants
//!
//! - A unit's birth goes before its data, and the gateway's birth before all.
//! - A live message never waits for the backlog: a step of the backlog is given only when nothing
//!   else is to be sent, and never while [`BUNDLES_MAX`] of them are on their way to the broker.
//! - Every stored message is either waiting, or in the live queue, or sent and not yet committed:
//!   none is forgotten. One that was sent and not committed for [`COMMIT_WAIT`] waits again.
//!
//! # Limits
//!
//! [`LIVE_MAX`] messages in the live queue, [`FLIGHTS_MAX`] sent and not committed, of which
//! [`WINDOW_MAX`] by the backlog lane. What is over goes to (or stays in) the backlog.

mod answers;
mod flights;

use std::collections::VecDeque;
use std::time::Duration;

use davy_core::delivery::MessageNumber;
use davy_core::sparkplug::{HostState, RunRanges};

use self::answers::Answers;
use self::flights::Flights;
use super::rows::Rows;
use crate::poll::UnitState;

pub use self::answers::ANSWER_WAIT;

/// Messages that wait for room in the live lane; the oldest over it goes to the backlog.
pub const LIVE_MAX: usize = 1_024;

/// Messages sent and not committed that are remembered.
pub const FLIGHTS_MAX: usize = 65_536;

/// Messages of the backlog that are sent and not committed. A replay without a bound is an attack
/// on the host.
pub const WINDOW_MAX: usize = 2_000;

/// Packets of the backlog that the broker has not acknowledged: what a live message may find
/// before it on a slow line.
pub const BUNDLES_MAX: usize = 2;

/// Messages in one bundle.
pub const BUNDLE_MESSAGES: usize = 200;

/// A message that was sent and not committed for so long is sent again.
pub const COMMIT_WAIT: Duration = Duration::from_secs(30);

/// Pause after the outbox could not be read.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A unit that has not been polled so long after the gateway's birth is born without values.
pub const BIRTH_WAIT: Duration = Duration::from_secs(10);

/// How often the gateway says what it stores and has lost.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Whose word frees a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// The centre's `davy/committed`.
    Centre,
    /// The broker's PUBACK, for a host that is not Davy.
    Broker,
}

/// How a session goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whose word frees a message. For the centre the backlog goes as bundles, for any other host
    /// as plain historical data.
    pub acknowledge: Acknowledge,
    /// Whether a host must say by STATE that it is there.
    pub waits_for_host: bool,
    /// Packets of the backlog a second, at most; at least 1.
    pub backlog_rate: u32,
}

/// A stored message that is to go live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its row in the outbox.
    pub row: i64,
    /// Its number.
    pub number: MessageNumber,
    /// Its unit, by place.
    pub unit: usize,
    /// As it is stored.
    pub payload: Vec<u8>,
}

/// One packet that is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// NBIRTH; the number of messages of this session starts at 0 with it.
    NodeBirth,
    /// DBIRTH of a unit, by place.
    UnitBirth(usize),
    /// DDEATH of a unit, by place.
    UnitDeath(usize),
    /// DDATA, as measured.
    Live(Live),
    /// NDATA: what is stored and lost.
    Report,
    /// What is stored of the rows `first..=last`, oldest first, no more than `messages_max`;
    /// [`Session::backlog_sent`] must be told what became of it.
    Backlog {
        /// First row.
        first: i64,
        /// Last row.
        last: i64,
        /// So many messages fit in the window.
        messages_max: usize,
    },
    /// NDEATH, and an end to this connection: the host is gone.
    Leave,
}

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection to the broker.
    Away,
    /// Connected; no host is there.
    Waiting,
    /// Born: data goes out.
    Born,
    /// The host is gone; the connection is to be given up.
    Leaving,
}

#[derive(Clone, Debug, Default)]
struct Unit {
    /// None before its first poll.
    state: Option<UnitState>,
    /// Its birth went out in this session, and no death since.
    born: bool,
    /// Its birth went out in this session.
    declared: bool,
    /// Stored messages that a host which is not Davy may not get before the unit's birth.
    held: Rows,
}

/// The state of the link to the host, and what is on its way.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    host: Option<HostState>,
    units: Vec<Unit>,
    /// When the gateway's birth is to go out; none when it has.
    birth_due: Option<Duration>,
    /// When units are born that have not been polled yet.
    births_end: Duration,
    live: VecDeque<Live>,
    waiting: Rows,
    flights: Flights,
    answers: Answers,
    report_at: Duration,
    backlog_at: Duration,
    /// Messages that were sent again since nobody committed them.
    pub resent: u64,
    /// Messages that went from the live queue to the backlog.
    pub overflowed: u64,
}

impl Session {
    /// A session without a connection, over so many units.
    pub fn new(settings: Settings, units: usize) -> Self {
        Self {
            settings,
            phase: Phase::Away,
            host: None,
            units: vec![Unit::default(); units],
            birth_due: None,
            births_end: Duration::ZERO,
            live: VecDeque::new(),
            waiting: Rows::default(),
            flights: Flights::default(),
            answers: Answers::default(),
            report_at: Duration::ZERO,
            backlog_at: Duration::ZERO,
            resent: 0,
            overflowed: 0,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a unit's birth has gone out, and no death since.
    pub fn is_born(&self, unit: usize) -> bool {
        self.units.get(unit).is_some_and(|unit| unit.born)
    }

    /// The broker has let us in. `last_row` is the newest row of the outbox.
    pub fn connected(&mut self, last_row: i64) {
        self.phase = Phase::Waiting;
        let host_is_there = self.host.is_some_and(|host| host.online);
        if !self.settings.waits_for_host || host_is_there {
            self.begin(last_row);
        }
    }

    /// The connection is gone. What was on its way is in the outbox still.
    pub fn disconnected(&mut self) {
        let units = std::mem::take(&mut self.units);
        let (resent, overflowed) = (self.resent, self.overflowed);
        let answers = std::mem::take(&mut self.answers);
        *self = Self::new(self.settings, 0);
        (self.resent, self.overflowed) = (resent, overflowed);
        (self.units, self.answers) = (units, answers);
        for unit in &mut self.units {
            (unit.born, unit.declared, unit.held) = (false, false, Rows::default());
        }
    }

    /// The host says whether it is there. A word older than the last one is passed over: the last
    /// will of a connection that the host has replaced already.
    pub fn host_says(&mut self, state: HostState, last_row: i64) {
        if !self.settings.waits_for_host {
            return;
        }
        let is_old = |host: HostState| state.timestamp < host.timestamp;
        if self.host.is_some_and(is_old) {
            return;
        }
        self.host = Some(state);
        match (self.phase, state.online) {
            (Phase::Waiting, true) => self.begin(last_row),
            (Phase::Born, false) => self.phase = Phase::Leaving,
            _ => {}
        }
    }

    fn begin(&mut self, last_row: i64) {
        self.phase = Phase::Born;
        self.birth_due = Some(Duration::ZERO);
        self.waiting.insert(1, last_row);
    }

    /// The host asks for all births again.
    pub fn rebirth(&mut self) {
        self.birth_due = (self.phase == Phase::Born).then_some(Duration::ZERO);
    }

    /// The birth could not be put together: the outbox failed. It is tried again in a while, and
    /// nothing goes before it.
    pub fn birth_failed(&mut self, now: Duration) {
        self.birth_due = Some(now + RETRY_PAUSE);
    }

    /// A unit was polled. Called before [`Session::offer`] of that poll's message.
    pub fn unit_is(&mut self, unit: usize, state: UnitState) {
        if let Some(unit) = self.units.get_mut(unit) {
            unit.state = Some(state);
        }
    }

    /// A message has been stored.
    pub fn offer(&mut self, message: Live) {
        if self.phase != Phase::Born {
            return;
        }
        let unit = self.units.get(message.unit);
        // Of a unit that is dead there is no live data (Sparkplug); it is told with the backlog.
        let is_live = unit.is_some_and(|unit| unit.born || unit.state == Some(UnitState::Alive));
        if !is_live || self.flights.len() >= FLIGHTS_MAX {
            self.waiting.insert(message.row, message.row);
            return;
        }
        self.live.push_back(message);
        if self.live.len() > LIVE_MAX
            && let Some(oldest) = self.live.pop_front()
        {
            self.overflowed += 1;
            self.waiting.insert(oldest.row, oldest.row);
        }
    }

    /// A report is due at once: something was lost.
    pub fn report_now(&mut self) {
        self.report_at = Duration::ZERO;
    }

    /// The host misses rows: they wait again.
    pub fn resend(&mut self, first: i64, last: i64) {
        if self.phase == Phase::Born {
            self.waiting.insert(first, last);
        }
    }

    /// The centre has committed these.
    pub fn committed(&mut self, runs: &[RunRanges]) {
        for of in runs {
            for (first, last) in of.ranges.iter() {
                self.flights.land_all(of.run, first, last);
            }
        }
    }

    /// A message was freed: the host does what it is there for.
    pub fn freed(&mut self) {
        self.answers.hear();
    }

    /// Whether the host is there, and frees what it is sent.
    pub fn host_answers(&mut self, now: Duration) -> bool {
        self.answers.come(now, self.flights.len() > 0) && self.phase == Phase::Born
    }

    /// The broker has acknowledged a packet; these messages may be freed by its word.
    pub fn acked(&mut self, ticket: u64) -> Vec<MessageNumber> {
        let ticket = self.flights.redeem(ticket);
        if self.settings.acknowledge == Acknowledge::Centre {
            return Vec::new();
        }
        let numbers = ticket.map(|ticket| ticket.numbers).unwrap_or_default();
        for number in &numbers {
            self.flights.land(*number);
        }
        numbers
    }

    /// A ticket for the packet of a live message; 0 when nobody needs to hear of its
    /// acknowledgement.
    pub fn live_sent(&mut self, now: Duration, row: i64, number: MessageNumber) -> u64 {
        self.flights.launch(now, row, number, false);
        self.answers.owe(now);
        if self.settings.acknowledge == Acknowledge::Centre {
            return 0;
        }
        self.flights.ticket(vec![number], false)
    }

    /// What became of a step of the backlog: every row up to `through` is dealt with, and these
    /// messages, if any, went in one packet. The answer is its ticket.
    pub fn backlog_sent(
        &mut self,
        now: Duration,
        through: i64,
        messages: &[(i64, MessageNumber)],
    ) -> u64 {
        self.waiting.drop_through(through);
        if messages.is_empty() {
            return 0;
        }
        for (row, number) in messages {
            self.flights.launch(now, *row, *number, true);
        }
        self.answers.owe(now);
        let pause = Duration::from_secs(1) / self.settings.backlog_rate.max(1);
        self.backlog_at = now + pause;
        let numbers = messages.iter().map(|(_, number)| *number);
        self.flights.ticket(numbers.collect(), true)
    }

    /// A step of the backlog could not be taken: the outbox failed. It is tried again in a while.
    pub fn backlog_failed(&mut self, now: Duration) {
        self.backlog_at = now + RETRY_PAUSE;
    }

    /// A row of a unit that is not born cannot go to this host yet: it waits for the birth.
    pub fn hold(&mut self, unit: usize, row: i64) {
        if let Some(unit) = self.units.get_mut(unit) {
            unit.held.insert(row, row);
        }
    }

    /// The next packet, if one is to be sent now.
    pub fn next(&mut self, now: Duration) -> Option<Step> {
        match self.phase {
            Phase::Away | Phase::Waiting => return None,
            Phase::Leaving => {
                self.disconnected();
                return Some(Step::Leave);
            }
            Phase::Born => {}
        }
        if let Some(at) = self.birth_due {
            if now < at {
                return None;
            }
            self.birth_due = None;
            for unit in &mut self.units {
                (unit.born, unit.declared) = (false, false);
            }
            self.report_at = now + REPORT_EVERY;
            self.births_end = now + BIRTH_WAIT;
            return Some(Step::NodeBirth);
        }
        if let Some(step) = self.unit_birth(now).or_else(|| self.live()) {
            return Some(step);
        }
        if let Some(step) = self.unit_death() {
            return Some(step);
        }
        if now >= self.report_at {
            self.report_at = now + REPORT_EVERY;
            return Some(Step::Report);
        }
        while let Some(row) = self.flights.expire(now) {
            self.resent += 1;
            self.waiting.insert(row, row);
        }
        self.backlog(now)
    }

    /// A unit that is silent is born too, once a session, and dies at once: a host that meets the
    /// gateway for the first time needs its aliases to read what is stored of it.
    fn unit_birth(&mut self, now: Duration) -> Option<Step> {
        let due = self.units.iter().position(|unit| match unit.state {
            Some(UnitState::Alive) => !unit.born,
            Some(UnitState::Silent) => !unit.declared,
            None => !unit.declared && now >= self.births_end,
        })?;
        let unit = self.units.get_mut(due)?;
        (unit.born, unit.declared) = (true, true);
        self.waiting.take(&mut unit.held);
        Some(Step::UnitBirth(due))
    }

    fn live(&mut self) -> Option<Step> {
        while let Some(message) = self.live.pop_front() {
            if self.is_born(message.unit) {
                return Some(Step::Live(message));
            }
            self.waiting.insert(message.row, message.row);
        }
        None
    }

    /// Only when the live queue is empty: what a unit said last goes before its death.
    fn unit_death(&mut self) -> Option<Step> {
        let due = self
            .units
            .iter()
            .position(|unit| unit.born && unit.state == Some(UnitState::Silent))?;
        self.units.get_mut(due)?.born = false;
        Some(Step::UnitDeath(due))
    }

    fn backlog(&self, now: Duration) -> Option<Step> {
        let (first, last) = self.waiting.first()?;
        let room = WINDOW_MAX.saturating_sub(self.flights.window());
        // Whoever is to read the backlog needs the aliases of every unit first.
        let are_declared = self.units.iter().all(|unit| unit.declared);
        let may = now >= self.backlog_at
            && are_declared
            && room > 0
            && self.flights.bundles() < BUNDLES_MAX
            && self.flights.len() < FLIGHTS_MAX;
        let messages_max = match self.settings.acknowledge {
            Acknowledge::Centre => room.min(BUNDLE_MESSAGES),
            Acknowledge::Broker => 1,
        };
        may.then_some(Step::Backlog {
            first,
            last,
            messages_max,
        })
    }

    /// How long nothing is to be sent by time alone.
    pub fn idle(&self, now: Duration) -> Duration {
        let mut until = self.report_at;
        if self.waiting.first().is_some() && self.backlog_at > now {
            until = until.min(self.backlog_at);
        }
        if let Some(at) = self.birth_due {
            until = until.min(at);
        }
        until.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests;
