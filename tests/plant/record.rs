//! What stands in the journal, read as an auditor would: messages, readings, changes of alarms.

use std::collections::HashMap;
use std::path::Path;

use davy::entry;
use davy::journal::{Kind, Reader};
use davy_core::alarm::AlarmChange;
use davy_core::delivery::MessageNumber;
use davy_core::gateways::LinkChange;
use davy_core::reading::Timestamp;
use davy_core::sparkplug::{DataType, DeviceMessage, Topic, read_birth, walk};
use davy_core::watch::Effect;

/// A numbered message as it stands in the journal.
pub(crate) struct Message {
    /// Its entry.
    pub(crate) entry: u64,
    /// Its number.
    pub(crate) number: MessageNumber,
    /// The unit that it is about.
    pub(crate) unit: String,
    /// Out of the store.
    pub(crate) is_historical: bool,
    /// Tag, time and value of each good reading.
    pub(crate) good: Vec<(String, Timestamp, f64)>,
}

/// The journal.
#[derive(Default)]
pub(crate) struct Record {
    /// Topic of every message, by entry.
    pub(crate) topics: Vec<(u64, String)>,
    /// Numbered messages, in the order of their entries.
    pub(crate) messages: Vec<Message>,
    /// Changes of alarms, with their entries.
    pub(crate) alarms: Vec<(u64, AlarmChange)>,
    /// Changes of gateways, with their entries.
    pub(crate) links: Vec<(u64, LinkChange)>,
}

impl Message {
    /// The value of a tag, where it was good.
    pub(crate) fn value(&self, tag: &str) -> Option<(Timestamp, f64)> {
        let found = self.good.iter().find(|(name, ..)| name == tag)?;
        Some((found.1, found.2))
    }
}

impl Record {
    /// Reads all of it.
    pub(crate) fn read(data: &Path) -> Self {
        let reader = Reader::open(data).expect("the journal");
        let mut record = Self::default();
        let mut aliases: HashMap<u64, (String, DataType)> = HashMap::new();
        let mut number = 0;
        loop {
            let entries = reader.read_on(number, 1 << 20, 1_000).expect("entries");
            let Some(last) = entries.last() else { break };
            number = last.number;
            for stored in entries {
                if !stored.effects.is_empty() {
                    record.followed(stored.number, &stored.effects);
                }
                if stored.kind == Kind::Message {
                    let bytes = stored.input.expect("nothing is pruned");
                    let (topic, payload) = entry::message(&bytes).expect("a message");
                    record.came(stored.number, topic, payload, &mut aliases);
                }
            }
        }
        record
    }

    fn followed(&mut self, entry: u64, effects: &[u8]) {
        let effects: Vec<Effect> = serde_json::from_slice(effects).expect("effects");
        for effect in effects {
            match effect {
                Effect::Alarm(change) => self.alarms.push((entry, change)),
                Effect::Link(change) => self.links.push((entry, change)),
                _ => {}
            }
        }
    }

    fn came(
        &mut self,
        entry: u64,
        topic: &str,
        payload: &[u8],
        aliases: &mut HashMap<u64, (String, DataType)>,
    ) {
        self.topics.push((entry, topic.to_owned()));
        let Ok(Topic::Device {
            message, device, ..
        }) = Topic::parse(topic)
        else {
            return;
        };
        if message == DeviceMessage::Birth
            && let Ok(birth) = read_birth(payload)
        {
            for metric in birth.metrics {
                let alias = metric.alias.expect("an alias");
                aliases.insert(alias, (metric.name, metric.datatype));
            }
        }
        let Ok(walk) = walk(payload) else { return };
        let (DeviceMessage::Data, Ok(Some(number))) = (message, walk.number()) else {
            return;
        };
        let mut message = Message {
            entry,
            number,
            unit: device.to_owned(),
            is_historical: false,
            good: Vec::new(),
        };
        for metric in &walk {
            let metric = metric.expect("a metric");
            let Some((tag, datatype)) = metric.alias.and_then(|alias| aliases.get(&alias)) else {
                continue;
            };
            message.is_historical |= metric.is_historical;
            if let Some((value, quality)) = metric.measured(*datatype)
                && quality.is_good()
            {
                let at = metric.timestamp.expect("a time of its own");
                message.good.push((tag.clone(), at, value));
            }
        }
        self.messages.push(message);
    }
}
