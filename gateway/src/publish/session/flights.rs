//! What is on its way: sent, and not yet committed.
//!
//! Each message is in here once, whatever it was sent by. What is here too long is given back, to
//! be sent again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use davy_core::delivery::MessageNumber;

use super::COMMIT_WAIT;

#[derive(Clone, Copy, Debug)]
struct Flight {
    row: i64,
    sent_at: Duration,
    is_backlog: bool,
}

/// A packet whose acknowledgement by the broker matters.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) numbers: Vec<MessageNumber>,
    pub(super) is_backlog: bool,
}

/// Messages and packets on their way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_number: BTreeMap<MessageNumber, Flight>,
    /// The same in the order of sending; what was committed since is still in it for a while.
    sent_order: VecDeque<(Duration, MessageNumber)>,
    window: usize,
    tickets: BTreeMap<u64, Ticket>,
    bundles: usize,
    last_ticket: u64,
}

impl Flights {
    /// Messages that are not committed.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Of those, the ones of the backlog lane.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Packets of the backlog lane that the broker has not acknowledged.
    pub(super) fn bundles(&self) -> usize {
        self.bundles
    }

    /// A message leaves.
    pub(super) fn launch(
        &mut self,
        now: Duration,
        row: i64,
        number: MessageNumber,
        is_backlog: bool,
    ) {
        self.land(number);
        let flight = Flight {
            row,
            sent_at: now,
            is_backlog,
        };
        self.by_number.insert(number, flight);
        self.window += usize::from(is_backlog);
        self.sent_order.push_back((now, number));
    }

    /// A message is done with, and was at this row.
    pub(super) fn land(&mut self, number: MessageNumber) -> Option<i64> {
        let flight = self.by_number.remove(&number)?;
        self.window -= usize::from(flight.is_backlog).min(self.window);
        Some(flight.row)
    }

    /// Messages `first..=last` of a run are done with.
    pub(super) fn land_all(&mut self, run: u64, first: u64, last: u64) {
        let number = |sequence| MessageNumber { run, sequence };
        let done: Vec<_> = self
            .by_number
            .range(number(first)..=number(last))
            .map(|(number, _)| *number)
            .collect();
        for number in done {
            self.land(number);
        }
    }

    /// The row of a message that nobody has committed for too long, which is no longer here.
    pub(super) fn expire(&mut self, now: Duration) -> Option<i64> {
        while let Some((sent_at, number)) = self.sent_order.front().copied()
            && now >= sent_at + COMMIT_WAIT
        {
            self.sent_order.pop_front();
            let flight = self.by_number.get(&number);
            // It may have been sent again since, and is then further back in the order.
            if flight.is_some_and(|flight| flight.sent_at == sent_at) {
                return self.land(number);
            }
        }
        None
    }

    /// A ticket for a packet with these messages.
    pub(super) fn ticket(&mut self, numbers: Vec<MessageNumber>, is_backlog: bool) -> u64 {
        self.bundles += usize::from(is_backlog);
        self.last_ticket += 1;
        let ticket = Ticket {
            numbers,
            is_backlog,
        };
        self.tickets.insert(self.last_ticket, ticket);
        self.last_ticket
    }

    /// The broker has a packet.
    pub(super) fn redeem(&mut self, ticket: u64) -> Option<Ticket> {
        let ticket = self.tickets.remove(&ticket)?;
        self.bundles -= usize::from(ticket.is_backlog).min(self.bundles);
        Some(ticket)
    }
}
