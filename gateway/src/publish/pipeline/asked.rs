//! What the host asks for: births, freeing what is committed, sending again what is missing.
//!
//! Invariant: only what speaks of this outbox frees or sends anything. Limit: no more than
//! [`RESEND_MESSAGES_MAX`] messages are sent again at one word of the host.

use std::sync::atomic::Ordering::Relaxed;

use davy_core::delivery::{RESEND_MESSAGES_MAX, Ranges};
use davy_core::sparkplug::{Command, Commands, RunRanges};

use super::{Pipeline, failed};

impl Pipeline {
    /// What speaks of the numbers of another outbox, or does not say of which, has no effect here:
    /// it would free what nobody has committed.
    pub(super) fn commands(&mut self, commands: &Commands) {
        let is_for_us = commands.instance.as_deref() == Some(self.outbox.instance());
        for command in &commands.known {
            if is_for_us || *command == Command::Rebirth {
                self.command(command);
            } else {
                self.status.not_ours.fetch_add(1, Relaxed);
            }
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Rebirth => self.session.rebirth(),
            Command::Committed(runs) => {
                let freed = self
                    .outbox
                    .committed(runs.iter().map(|of| (of.run, &of.ranges)));
                // What is still in the outbox is not done with.
                if let Some(freed) = failed(freed) {
                    self.session.committed(runs);
                    if freed > 0 {
                        self.session.freed();
                    }
                }
            }
            Command::Resend(runs) => self.resend(runs),
        }
    }

    /// Sends again what is still kept, and says at once what is not.
    fn resend(&mut self, runs: &[RunRanges]) {
        let mut room = RESEND_MESSAGES_MAX;
        self.gone.clear();
        for of in runs {
            let mut gone = Ranges::default();
            for (first, last) in of.ranges.iter() {
                if room == 0 {
                    break;
                }
                let last = last.min(first.saturating_add(room - 1));
                room -= last - first + 1;
                let rows = failed(self.outbox.rows(of.run, first, last)).flatten();
                if let Some((from, to)) = rows {
                    self.session.resend(from, to);
                }
                let absent = failed(self.outbox.absent(of.run, first, last));
                for (first, last) in absent.unwrap_or_default().iter() {
                    gone.insert_range(first, last);
                }
            }
            if !gone.is_empty() {
                let (run, ranges) = (of.run, gone);
                self.gone.push(RunRanges { run, ranges });
            }
        }
        if !self.gone.is_empty() {
            self.session.report_now();
        }
    }
}
