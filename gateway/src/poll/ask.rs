//! A planned request, and what becomes of it where the unit refuses it for its registers.
//!
//! A unit refuses a request as a whole when one register of it is not there, be it wanted or one of
//! a gap, or when it is longer than the unit can answer. So that one wrong address does not blind its
//! neighbours, a refused request is halved at each poll until what is refused stands by itself.
//!
//! Limits: [`PARTS_MAX`] parts. Where none of them is answered the registers are not the cause, and
//! the request is asked whole again. The whole is tried again after [`AGAIN`], since a unit that
//! starts may refuse for a while what it has.

use std::time::Duration;

use davy_core::reading::{BadCause, Reading, Timestamp};
use tokio::time::Instant;

use crate::clock::{Clock, monotonic};
use crate::decode::Decoder;
use crate::modbus::{Failure, Link};
use crate::plan::Request;

use super::line::{Answer, Line};
use super::{Batch, UnitCounters};

/// Parts of one request. Ours: enough to single out two registers of 125, and few enough that a unit
/// which refuses everything keeps its bus no longer.
const PARTS_MAX: usize = 16;

/// How soon a request that was divided is tried whole again. Ours: one refused request in so long
/// is no burden, and a unit that was starting is asked as planned soon after.
const AGAIN: Duration = Duration::from_mins(10);

/// A request of the plan.
#[derive(Debug)]
pub(super) struct Ask {
    /// As it was planned; it reads nothing itself.
    whole: Part,
    /// What is asked for in its place.
    parts: Vec<Part>,
    /// When the whole is tried again; none while nothing was refused.
    again: Option<Instant>,
}

/// A request, and what makes readings of its replies.
#[derive(Clone, Debug)]
struct Part {
    request: Request,
    decoder: Decoder,
}

/// The unit did not answer, or cannot be reached.
pub(super) enum Unanswered {
    Silent(Failure),
    Down(Failure),
}

impl Ask {
    pub(super) fn new(request: Request, decoder: Decoder) -> Self {
        let whole = Part { request, decoder };
        Self {
            parts: vec![whole.clone()],
            whole,
            again: None,
        }
    }

    /// The request as it was planned.
    pub(super) fn request(&self) -> &Request {
        &self.whole.request
    }

    /// How many points it has.
    pub(super) fn points(&self) -> usize {
        self.whole.decoder.len()
    }

    /// Appends a bad reading for each of its points.
    pub(super) fn fail(&self, cause: BadCause, at: Timestamp, readings: &mut Vec<Reading>) {
        self.whole.decoder.fail(cause, at, readings);
    }

    /// Asks the unit with `number`, and appends a reading for each point. The answer is the first
    /// failure that was not the whole unit's.
    pub(super) async fn poll<L: Link>(
        &mut self,
        number: u8,
        line: &mut Line<'_, L>,
        clock: &Clock,
        counters: &UnitCounters,
        batch: &mut Batch,
    ) -> Result<Option<Failure>, Unanswered> {
        if self.again.is_some_and(|at| monotonic() >= at) {
            self.again = None;
            if self.parts.len() > 1 {
                if self.is_whole(number, line).await? {
                    self.parts = vec![self.whole.clone()];
                } else {
                    self.again = Some(monotonic() + AGAIN);
                }
            }
        }
        let mut trouble = None;
        let mut refused = Vec::new();
        for (place, part) in self.parts.iter_mut().enumerate() {
            let answer = line.ask(number, &part.request).await;
            let at = clock.now();
            match answer {
                Answer::Values(values) => part.decoder.decode(&values, at, &mut batch.readings),
                Answer::Failed(failure) => {
                    trouble.get_or_insert(failure);
                    counters.count(failure);
                    part.decoder.fail(failure.cause(), at, &mut batch.readings);
                    if failure.is_about_registers() {
                        refused.push(place);
                    }
                }
                Answer::Silent(failure) => {
                    counters.count(failure);
                    return Err(Unanswered::Silent(failure));
                }
                Answer::Down(why) => return Err(Unanswered::Down(why)),
            }
            batch.sampled_at = at;
        }
        if !refused.is_empty() {
            self.divide(&refused);
        }
        Ok(trouble)
    }

    /// Whether the whole is answered now.
    async fn is_whole<L: Link>(
        &self,
        number: u8,
        line: &mut Line<'_, L>,
    ) -> Result<bool, Unanswered> {
        match line.ask(number, &self.whole.request).await {
            Answer::Values(_) => Ok(true),
            Answer::Failed(_) => Ok(false),
            Answer::Silent(failure) => Err(Unanswered::Silent(failure)),
            Answer::Down(why) => Err(Unanswered::Down(why)),
        }
    }

    /// Halves the parts that were refused, as long as there is room; rising, as they stand.
    fn divide(&mut self, refused: &[usize]) {
        let was_given_up = self.parts.len() == 1 && self.again.is_some();
        if was_given_up {
            return;
        }
        self.again.get_or_insert_with(|| monotonic() + AGAIN);
        let mut is_done = true;
        // From the last on, so that the places before it hold.
        for place in refused.iter().rev() {
            if self.parts.len() >= PARTS_MAX {
                break;
            }
            let halves = self.parts.get(*place).and_then(Part::halve);
            if let Some(halves) = halves {
                self.parts.splice(*place..=*place, halves);
                is_done = false;
            }
        }
        if is_done && refused.len() == self.parts.len() {
            self.parts = vec![self.whole.clone()];
        }
    }
}

impl Part {
    /// None of a single point.
    fn halve(&self) -> Option<[Self; 2]> {
        let halves = self.decoder.halve(&self.request)?;
        Some(halves.map(|(request, decoder)| Self { request, decoder }))
    }
}
