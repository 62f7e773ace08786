//! Steps become packets: births, data, reports, bundles.

use std::sync::Arc;
use std::time::Duration;

use davy_core::reading::Timestamp;
use davy_core::sparkplug::{
    NodeBirth, NodeData, NodeMessage, Topic, TopicError, build_device_death, build_node_birth,
    build_node_data, build_node_death, finish,
};

use super::{Pipeline, failed};
use crate::outbox::StoredMessage;
use crate::publish::bundle::bundle;
use crate::publish::session::{Acknowledge, Step};

/// Bytes of stored messages in one bundle, before compression.
pub const BUNDLE_RAW_BYTES: usize = 128 * 1024;

/// What goes to the broker.
#[derive(Debug)]
pub struct Packet {
    /// The connection that it is meant for; another one must not carry it.
    pub connection: u64,
    /// What its acknowledgement is told by; 0 when nobody asks.
    pub ticket: u64,
    /// Where it goes.
    pub topic: Arc<str>,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Whether the connection ends with it.
    pub is_last: bool,
}

/// Where packets go, and where news comes from.
#[derive(Debug)]
pub(super) struct Topics {
    pub(super) birth: Arc<str>,
    pub(super) death: Arc<str>,
    pub(super) data: Arc<str>,
    pub(super) command: String,
    pub(super) state: Option<String>,
}

impl Topics {
    pub(super) fn new(group: &str, node: &str, host: Option<&str>) -> Result<Self, TopicError> {
        let of_node = |message| -> Result<String, TopicError> {
            let topic = Topic::Node {
                group,
                message,
                node,
            };
            topic.check()?;
            Ok(topic.to_string())
        };
        Ok(Self {
            birth: of_node(NodeMessage::Birth)?.into(),
            death: of_node(NodeMessage::Death)?.into(),
            data: of_node(NodeMessage::Data)?.into(),
            command: of_node(NodeMessage::Command)?,
            state: host.map(|host| Topic::Host { host }.to_string()),
        })
    }
}

impl Pipeline {
    /// Hands on whatever is to be sent and has room.
    pub fn flow(&mut self, now: Timestamp, elapsed: Duration) {
        self.needs_room = false;
        loop {
            let packets = self.packets.clone();
            let Ok(room) = packets.try_reserve() else {
                self.needs_room = true;
                break;
            };
            let Some(step) = self.session.next(elapsed) else {
                break;
            };
            if let Some(packet) = self.packet(now, elapsed, step) {
                room.send(packet);
            }
        }
        self.annunciate(elapsed);
        self.show();
    }

    /// The packet of a step; none when there is nothing to send of it after all.
    pub(super) fn packet(
        &mut self,
        now: Timestamp,
        elapsed: Duration,
        step: Step,
    ) -> Option<Packet> {
        let (topic, payload, ticket, is_last) = match step {
            Step::NodeBirth => {
                self.seq = 0;
                let Some(payload) = self.node_birth(now) else {
                    self.session.birth_failed(elapsed);
                    return None;
                };
                (Arc::clone(&self.topics.birth), payload, 0, false)
            }
            Step::UnitBirth(unit) => {
                let unit = self.catalogue.units().get(unit)?;
                let mut last = self.outbox.next_number();
                last.sequence -= 1;
                let payload = self.catalogue.birth(unit, now, self.seq, last);
                (Arc::clone(&unit.birth), payload, 0, false)
            }
            Step::UnitDeath(unit) => {
                let unit = self.catalogue.units().get(unit)?;
                let payload = build_device_death(now, self.seq);
                (Arc::clone(&unit.death), payload, 0, false)
            }
            Step::Live(live) => {
                let topic = Arc::clone(&self.catalogue.units().get(live.unit)?.data);
                let payload = finished(&live.payload, now, self.seq, false)?;
                let ticket = self.session.live_sent(elapsed, live.row, live.number);
                (topic, payload, ticket, false)
            }
            Step::Report => {
                let data = NodeData {
                    stored: Some(failed(self.outbox.stored())?),
                    lost: Some(self.outbox.account().lost),
                    gone: Some(std::mem::take(&mut self.gone)).filter(|gone| !gone.is_empty()),
                    backlog: None,
                };
                let payload = build_node_data(now, self.seq, &data);
                (Arc::clone(&self.topics.data), payload, 0, false)
            }
            Step::Backlog {
                first,
                last,
                messages_max,
            } => {
                let (topic, payload, ticket) =
                    self.backlog(now, elapsed, (first, last), messages_max)?;
                (topic, payload, ticket, false)
            }
            Step::Leave => {
                let payload = build_node_death(now, self.bd_seq);
                (Arc::clone(&self.topics.death), payload, 0, true)
            }
        };
        self.seq = self.seq.wrapping_add(1);
        Some(Packet {
            connection: self.connection,
            ticket,
            topic,
            payload,
            is_last,
        })
    }

    fn node_birth(&self, now: Timestamp) -> Option<Vec<u8>> {
        let mut last = self.outbox.next_number();
        last.sequence -= 1;
        let birth = NodeBirth {
            bd_seq: self.bd_seq,
            last,
            stored: &failed(self.outbox.stored())?,
            lost: self.outbox.account().lost,
            instance: self.outbox.instance(),
        };
        Some(build_node_birth(now, self.seq, &birth))
    }

    fn backlog(
        &mut self,
        now: Timestamp,
        elapsed: Duration,
        (first, last): (i64, i64),
        messages_max: usize,
    ) -> Option<(Arc<str>, Vec<u8>, u64)> {
        let rows = usize::try_from(last - first + 1).unwrap_or(1);
        let messages_max = messages_max.min(rows);
        let read = self.outbox.after(first - 1, messages_max, BUNDLE_RAW_BYTES);
        let Some(mut messages) = failed(read) else {
            self.session.backlog_failed(elapsed);
            return None;
        };
        messages.retain(|message| message.row <= last);
        let through = match messages.last() {
            Some(message) if messages.len() == messages_max => message.row,
            // Fewer than asked for: by bytes, or since the range ends here.
            Some(message) if message.row < last => message.row,
            _ => last,
        };
        self.lose_broken(&mut messages);
        match self.acknowledge {
            Acknowledge::Centre => self.bundle(now, elapsed, through, &messages),
            Acknowledge::Broker => self.plain(now, elapsed, through, &messages),
        }
    }

    fn bundle(
        &mut self,
        now: Timestamp,
        elapsed: Duration,
        through: i64,
        messages: &[StoredMessage],
    ) -> Option<(Arc<str>, Vec<u8>, u64)> {
        let packed = match bundle(messages) {
            Ok(packed) => packed,
            Err(error) => {
                tracing::error!(%error, "a bundle cannot be compressed");
                self.session.backlog_failed(elapsed);
                return None;
            }
        };
        let sent: Vec<_> = messages
            .iter()
            .map(|message| (message.row, message.number))
            .collect();
        let ticket = self.session.backlog_sent(elapsed, through, &sent);
        if sent.is_empty() {
            return None;
        }
        let data = NodeData {
            backlog: Some(packed),
            ..NodeData::default()
        };
        let payload = build_node_data(now, self.seq, &data);
        Some((Arc::clone(&self.topics.data), payload, ticket))
    }

    /// One message, as any Sparkplug host reads it.
    fn plain(
        &mut self,
        now: Timestamp,
        elapsed: Duration,
        through: i64,
        messages: &[StoredMessage],
    ) -> Option<(Arc<str>, Vec<u8>, u64)> {
        let found = messages.first().and_then(|message| {
            let unit = self.catalogue.find(&message.device)?;
            let is_born = self.session.is_born(unit);
            if !is_born {
                self.session.hold(unit, message.row);
            }
            is_born.then_some((unit, message))
        });
        let sent = found.and_then(|(unit, message)| {
            let payload = finished(&message.payload, now, self.seq, true)?;
            let topic = Arc::clone(&self.catalogue.units().get(unit)?.data);
            Some((topic, payload, (message.row, message.number)))
        });
        let Some((topic, payload, message)) = sent else {
            self.session.backlog_sent(elapsed, through, &[]);
            return None;
        };
        let ticket = self.session.backlog_sent(elapsed, through, &[message]);
        Some((topic, payload, ticket))
    }
}

/// The payload to publish.
fn finished(stored: &[u8], now: Timestamp, seq: u8, is_historical: bool) -> Option<Vec<u8>> {
    let mut payload = Vec::with_capacity(stored.len() + 512);
    finish(stored, now, seq, is_historical, &mut payload)
        .inspect_err(|error| tracing::error!(%error, "a stored message cannot be read"))
        .ok()?;
    Some(payload)
}
