//! The thread of the loop: one turn gathers, decides, commits and releases.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use davy_core::alarm::SystemCondition;
use davy_core::config::SourceFile;
use davy_core::delivery::Ranges;
use davy_core::gateways::{LinkChange, LinkEvent};
use davy_core::reading::Timestamp;
use davy_core::sparkplug::{RunRanges, Topic};
use davy_core::watch::{Effect, Input, STOOD_STILL_MIN_MS, Watch};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::shown::{Shown, shown};
use super::waiting::Waiting;
use super::{
    Answer, CentreError, GROUP_BYTES_MAX, GROUP_MAX, Health, Outbound, RETRY_PAUSE, Request,
    Snapshots, Told,
};
use crate::clock::Clock;
use crate::entry;
use crate::journal::{Entry, Journal, JournalError, Kind, Projection, Pruned};
use crate::quarantine::{Quarantine, number_of};

/// What was gathered and decided, waiting for its commit.
#[derive(Default)]
pub(super) struct Group {
    entries: Vec<Decided>,
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    prunes: Vec<(Timestamp, u64, oneshot::Sender<Option<Pruned>>)>,
    gateways: BTreeSet<String>,
    rebirths: BTreeSet<String>,
    resends: Vec<(String, Vec<RunRanges>)>,
    bytes: usize,
    stop: bool,
}

impl Group {
    /// What a gateway is to be asked for after the commit.
    fn ask(&mut self, gateway: &str, event: &LinkEvent) {
        match event {
            LinkEvent::RebirthWanted => {
                self.rebirths.insert(gateway.to_owned());
            }
            LinkEvent::ResendWanted { messages } => {
                let runs = messages.iter().map(|gap| {
                    let mut ranges = Ranges::default();
                    ranges.insert_range(gap.first, gap.last);
                    let run = gap.run;
                    RunRanges { run, ranges }
                });
                self.resends.push((gateway.to_owned(), runs.collect()));
            }
            _ => {}
        }
    }
}

struct Decided {
    now: Timestamp,
    kind: Kind,
    input: Vec<u8>,
    told: Vec<u8>,
    effects: Vec<Effect>,
}

/// Says that the loop has ended, also when it panicked.
struct Ends(Arc<Health>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

pub(super) struct Loop {
    pub(super) watch: Watch,
    pub(super) journal: Journal,
    pub(super) quarantine: Quarantine,
    pub(super) clock: Arc<Clock>,
    pub(super) live: broadcast::Sender<Arc<Told>>,
    pub(super) committed: watch::Sender<u64>,
    pub(super) full: watch::Sender<bool>,
    pub(super) outbound: mpsc::Sender<Outbound>,
    pub(super) health: Arc<Health>,
    pub(super) group: Group,
    pub(super) snapshots: Snapshots,
    /// When the loop last asked for the time.
    pub(super) looked_at: Timestamp,
    /// The alarm about the host's clock stands.
    pub(super) clock_told: bool,
}

/// The alarm about the host's clock, as the configuration names it.
const CLOCK_ALARM: &str = "centre.host_clock";

/// Milliseconds by which the host's clock must differ from the site's time to be told; of less the
/// gateways say that their clocks differ from the centre's. Davy's own figure.
const CLOCK_OFF_MIN_MS: i64 = 60_000;

/// Whether the host's clock is wrong, or the site's time.
pub(super) fn is_off(off_ms: i64) -> bool {
    off_ms.unsigned_abs() >= CLOCK_OFF_MIN_MS.unsigned_abs()
}

impl Loop {
    /// The first group: the start, and the configuration if it is another one.
    pub(super) fn begin(
        &mut self,
        files: Vec<SourceFile>,
        accepted: Option<Input>,
    ) -> Result<(), CentreError> {
        if self.watch.files() != files {
            davy_core::config::check(&files).map_err(CentreError::Config)?;
        }
        let mut alarms = self.watch.engine().alarms();
        self.clock_told = alarms.any(|view| view.name == CLOCK_ALARM && view.axes.active);
        drop(alarms);
        let has_accepted = accepted.is_some();
        if let Some(accepted) = accepted {
            self.decide(&accepted);
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.decide(&Input::Started { version });
        if self.watch.files() != files {
            let by = "start".to_owned();
            self.decide(&Input::Config { files, by });
        }
        match self.commit() {
            Ok(()) => self.release(),
            Err(error) if error.is_no_room() => {
                tracing::error!(%error, "starting all the same: it is tried again, and said so");
                self.set_full(true);
            }
            Err(error) => return Err(error.into()),
        }
        if has_accepted {
            // The next start begins here, and not before what differs.
            self.snapshots.hurry();
        }
        Ok(())
    }

    pub(super) fn run(mut self, mut waiting: Waiting) {
        let _ends = Ends(Arc::clone(&self.health));
        let mut gathered = Vec::with_capacity(GROUP_MAX);
        while !self.group.stop {
            waiting.gather(self.wait(), &mut gathered);
            for request in gathered.drain(..) {
                self.take(request);
                if self.group.bytes >= GROUP_BYTES_MAX && !self.commit_and_release(&mut waiting) {
                    return;
                }
            }
            self.tick();
            if !self.commit_and_release(&mut waiting) {
                break;
            }
            waiting.answer(&self.watch);
            self.snapshots
                .turn(self.looked_at, &self.watch, &mut self.journal);
        }
        if self.group.entries.is_empty() {
            self.snapshots.end(&self.watch, &mut self.journal);
        }
    }

    /// How long until the next deadline.
    fn wait(&self) -> Duration {
        self.watch.next_deadline().map_or(RETRY_PAUSE, |at| {
            let ms = at.ms_since(self.clock.now()).max(0);
            Duration::from_millis(ms.cast_unsigned()).min(RETRY_PAUSE)
        })
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Message { topic, payload } => self.message(topic, payload),
            Request::Command { input, answer } => {
                let place = self.decide(&input);
                let given = self.answer(place);
                self.group.answers.push((answer, given));
            }
            Request::Own(input) => {
                self.decide(&input);
            }
            Request::Prune {
                before,
                not_after,
                answer,
            } => self.group.prunes.push((before, not_after, answer)),
            Request::Stop => self.group.stop = true,
        }
    }

    fn message(&mut self, topic: String, payload: Vec<u8>) {
        self.health.messages.fetch_add(1, Ordering::Relaxed);
        let Some(gateway) = self.sender(&topic) else {
            // It says nothing of this site; in the journal anybody could fill the disk with it.
            self.health.foreign.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if !self.group.gateways.contains(gateway) {
            self.group.gateways.insert(gateway.to_owned());
        }
        if !self.quarantine.is_empty() && self.set_aside(&topic, &payload) {
            return;
        }
        // What a panic leaves behind cannot be trusted: it is noted which message it was, and the
        // loop ends with it.
        let input = Input::Message { topic, payload };
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(&input)));
        if let Err(panic) = judged {
            let Input::Message { topic, payload } = &input else {
                resume_unwind(panic);
            };
            match self.quarantine.add(topic, payload) {
                Ok(()) => tracing::error!("a message crashed the loop; it will be set aside"),
                Err(error) => tracing::error!(%error, "a message crashed the loop, unnoted"),
            }
            resume_unwind(panic);
        }
    }

    /// Decides a message, unless it has come before.
    fn judge(&mut self, input: &Input) {
        let Input::Message { topic, payload } = input else {
            return;
        };
        #[cfg(test)]
        super::tests::crash(&self.health, payload);
        if self.watch.has_seen(topic, payload) {
            self.health.duplicates.fetch_add(1, Ordering::Relaxed);
        } else {
            self.decide(input);
        }
    }

    /// Journals a message that crashed the process before, once in a run. `false` when it is none.
    fn set_aside(&mut self, topic: &str, payload: &[u8]) -> bool {
        match self.quarantine.look(topic, payload) {
            None => return false,
            Some(false) => {
                self.health.duplicates.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            Some(true) => {}
        }
        self.decide(&Input::Quarantined {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            number: number_of(payload),
        });
        true
    }

    /// The gateway of this site that a topic is of.
    fn sender<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let (Topic::Node { group, node, .. } | Topic::Device { group, node, .. }) =
            Topic::parse(topic).ok()?
        else {
            return None;
        };
        let is_ours =
            group == self.watch.config().group && self.watch.gateways().get(node).is_some();
        is_ours.then_some(node)
    }

    /// Lets time pass, if something waits for it.
    fn tick(&mut self) {
        let now = self.look();
        self.tell_clock();
        if self.watch.next_deadline().is_some_and(|at| at <= now) {
            self.decide(&Input::Tick);
        }
    }

    /// Decides one input; its place in the group.
    fn decide(&mut self, input: &Input) -> usize {
        let now = self.look();
        self.decide_at(now, input)
    }

    /// The time. A loop that has not looked for long (a full disk, a paused machine) stood still,
    /// and that is an entry of its own before anything is judged by the new time.
    fn look(&mut self) -> Timestamp {
        let now = self.clock.now();
        let since = std::mem::replace(&mut self.looked_at, now);
        if now.ms_since(since) >= STOOD_STILL_MIN_MS {
            let (from_ms, to_ms) = (since.0, now.0);
            tracing::error!(from_ms, to_ms, "the centre stood still; nobody watched");
            self.decide_at(now, &Input::StoodStill { since });
        }
        now
    }

    /// Raises or ends the alarm about the host's clock, by the last look at it.
    fn tell_clock(&mut self) {
        let off_ms = self.clock.off_ms();
        let active = is_off(off_ms);
        if std::mem::replace(&mut self.clock_told, active) == active {
            return;
        }
        let side = if off_ms < 0 { "behind" } else { "past" };
        let off = Duration::from_millis(off_ms.unsigned_abs());
        let why = format!("the host's clock lies {off:?} {side} the site's time");
        tracing::error!(why, active, "the host's clock");
        self.decide(&Input::Centre {
            condition: SystemCondition::HostClock,
            active,
            why,
        });
    }

    fn decide_at(&mut self, now: Timestamp, input: &Input) -> usize {
        let mut effects = Vec::new();
        self.watch.apply(now, input, &mut effects);
        let (kind, bytes) = entry::encode(input);
        let told = entry::encode_effects(&effects);
        self.group.bytes += bytes.len() + told.len();
        for effect in &effects {
            if let Effect::Link(LinkChange { gateway, event, .. }) = effect {
                self.group.ask(gateway, event);
            }
        }
        self.group.entries.push(Decided {
            now,
            kind,
            input: bytes,
            told,
            effects,
        });
        self.group.entries.len() - 1
    }

    fn answer(&self, place: usize) -> Answer {
        let refused = self.group.entries[place]
            .effects
            .iter()
            .find_map(|effect| match effect {
                Effect::AlarmRefused { why, .. } => Some(Answer::RefusedAlarm(*why)),
                Effect::HazardRefused { refused, .. } => {
                    Some(Answer::RefusedHazard(refused.clone()))
                }
                Effect::ConfigRefused { faults } => Some(Answer::RefusedConfig(faults.clone())),
                _ => None,
            });
        refused.unwrap_or_else(|| Answer::Done(self.watch.number()))
    }

    /// Commits, waiting for room as long as it takes. `false` when the journal cannot go on.
    fn commit_and_release(&mut self, waiting: &mut Waiting) -> bool {
        if let Err(error) = self.commit()
            && !self.wait_for_room(error, waiting)
        {
            return false;
        }
        self.set_full(false);
        self.release();
        true
    }

    pub(super) fn set_full(&self, full: bool) {
        self.health.no_room.store(full, Ordering::Release);
        self.full
            .send_if_modified(|was| std::mem::replace(was, full) != full);
    }

    pub(super) fn commit(&mut self) -> Result<(), JournalError> {
        if self.group.entries.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry<'_>> = (self.group.entries.iter())
            .map(|decided| Entry {
                now: decided.now,
                kind: decided.kind,
                input: &decided.input,
                effects: &decided.told,
            })
            .collect();
        let effects = (self.group.entries.iter()).map(|decided| (decided.now, &*decided.effects));
        let shown = shown(&self.watch, effects);
        let projections: Vec<Projection<'_>> = shown.iter().map(Shown::projection).collect();
        #[cfg(test)]
        if self.health.test_full.load(Ordering::Acquire) {
            return Err(super::tests::no_room());
        }
        self.journal.append(&entries, &projections)?;
        debug_assert_eq!(self.journal.last_number(), self.watch.number());
        self.health.groups.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Tells what is committed.
    fn release(&mut self) {
        let group = std::mem::take(&mut self.group);
        let first = self.watch.number() + 1 - group.entries.len() as u64;
        for (number, decided) in (first..).zip(group.entries) {
            if !decided.told.is_empty() {
                // Nobody may be listening.
                drop(self.live.send(Arc::new(Told {
                    number,
                    now: decided.now,
                    effects: decided.told,
                })));
            }
        }
        let number = self.watch.number();
        self.health.number.store(number, Ordering::Release);
        self.committed.send_replace(number);
        let now = self.clock.now();
        self.health.alive_at_ms.store(now.0, Ordering::Release);
        for (to, answer) in group.answers {
            drop(to.send(answer));
        }
        for gateway in group.gateways {
            let runs = self.watch.gateways().received(&gateway);
            let runs = runs
                .map(|(run, ranges)| RunRanges {
                    run,
                    ranges: ranges.clone(),
                })
                .collect();
            let instance = self.instance(&gateway);
            self.send(Outbound::Committed {
                gateway,
                runs,
                instance,
            });
        }
        for (gateway, runs) in group.resends {
            let instance = self.instance(&gateway);
            self.send(Outbound::Resend {
                gateway,
                runs,
                instance,
            });
        }
        for gateway in group.rebirths {
            self.send(Outbound::Rebirth { gateway });
        }
        for (before, not_after, answer) in group.prunes {
            // Whoever asked may have gone away.
            let pruned = self.prune(before, not_after);
            answer.send(pruned).unwrap_or_default();
        }
        self.group.stop = group.stop;
    }

    /// The outbox that a gateway speaks from.
    fn instance(&self, gateway: &str) -> String {
        let gateway = self.watch.gateways().get(gateway);
        gateway.map_or_else(String::new, |gateway| gateway.instance().to_owned())
    }

    fn prune(&mut self, before: Timestamp, not_after: u64) -> Option<Pruned> {
        let pruned = self.journal.prune_inputs(before, not_after);
        let failed = |error| tracing::warn!(%error, "nothing is pruned");
        let pruned = pruned.map_err(failed).ok()?;
        let total = &self.health.pruned_inputs;
        total.fetch_add(pruned.inputs, Ordering::Relaxed);
        Some(pruned)
    }

    fn send(&self, outbound: Outbound) {
        if self.outbound.try_send(outbound).is_err() {
            self.health.outbound_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
