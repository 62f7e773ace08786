//! What the loop tells once a group is committed: the live stream, answers, gateways, questions.
//!
//! Invariant: it is called after the commit only. Nobody who listens can hold it up; what finds a
//! queue full is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use davy_core::reading::Timestamp;
use davy_core::sparkplug::RunRanges;

use super::Loop;
use crate::centre::{Outbound, Told};
use crate::journal::Pruned;

impl Loop {
    /// Tells what is committed.
    pub(super) fn release(&mut self) {
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
