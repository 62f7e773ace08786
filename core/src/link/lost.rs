//! Messages that nobody judges: missing for good, or set aside. Counted, told, alarmed.

use super::{FAULT_HOLD, Link, LinkEvent, Links, Taken};
use crate::alarm::SystemCondition;
use crate::delivery::{MessageNumber, Missing};
use crate::reading::Timestamp;
use crate::sparkplug::Topic;

impl Links {
    /// Counts, tells and alarms a message that is not to be judged. Its number is taken, so that
    /// its gateway may free it.
    pub fn set_aside(
        &mut self,
        now: Timestamp,
        topic: &str,
        number: Option<MessageNumber>,
        own_group: &str,
        taken: &mut Taken,
    ) {
        let Ok(Topic::Node { group, node, .. } | Topic::Device { group, node, .. }) =
            Topic::parse(topic)
        else {
            return;
        };
        let Some(link) = self.links.get_mut(node).filter(|_| group == own_group) else {
            return;
        };
        if let Some(number) = number {
            link.received.take(number);
        }
        link.unusable += 1;
        link.fault(now, node, SystemCondition::Unusable, FAULT_HOLD, taken);
        let why = "it crashed the process before, and is judged by nobody".to_owned();
        taken.tell(node, None, LinkEvent::Unusable { why });
    }
}

impl Link {
    /// Messages will never come: counted, told, alarmed.
    pub(super) fn miss(&mut self, now: Timestamp, id: &str, messages: Missing, taken: &mut Taken) {
        let count = (messages.last - messages.first).saturating_add(1);
        self.missing = self.missing.saturating_add(count);
        self.fault(now, id, SystemCondition::Gap, FAULT_HOLD, taken);
        taken.tell(id, None, LinkEvent::Missing { messages });
    }
}
