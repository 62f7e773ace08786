//! Where a message goes: `spBv1.0/{group}/{type}/{node}[/{device}]` and `spBv1.0/STATE/{host}`.
//!
//! Names are not empty and hold none of `+`, `/`, `#` (Sparkplug 3.0, 4.1); no topic is longer
//! than MQTT allows.

use std::fmt;

use thiserror::Error;

/// First level of every topic.
const NAMESPACE: &str = "spBv1.0";

/// Third level (second for the host) of a STATE topic.
const STATE: &str = "STATE";

/// MQTT writes the length of a topic in 16 bits.
const TOPIC_BYTES_MAX: usize = 65_535;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic<'a> {
    /// To or from an edge node: a gateway.
    Node {
        /// The enterprise.
        group: &'a str,
        /// What kind of message.
        message: NodeMessage,
        /// The gateway.
        node: &'a str,
    },
    /// To or from a device of an edge node: a Modbus unit.
    Device {
        /// The enterprise.
        group: &'a str,
        /// What kind of message.
        message: DeviceMessage,
        /// The gateway.
        node: &'a str,
        /// The unit.
        device: &'a str,
    },
    /// Whether a host is there.
    Host {
        /// The host's id.
        host: &'a str,
    },
}

/// What is said to or by an edge node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeMessage {
    /// NBIRTH: it is there, and this is what it has.
    Birth,
    /// NDEATH: it is gone (also the last will).
    Death,
    /// NDATA: values of its own metrics.
    Data,
    /// NCMD: a command to it.
    Command,
}

/// What is said to or by a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceMessage {
    /// DBIRTH: it is there, and this is what it measures.
    Birth,
    /// DDEATH: it does not answer any more.
    Death,
    /// DDATA: readings.
    Data,
    /// DCMD: a command to it. Davy's gateway takes none.
    Command,
}

/// Why a text is not the topic of a Sparkplug message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopicError {
    /// It does not begin with the namespace.
    #[error("topic `{topic}`: first level is `{found}`; allowed: `spBv1.0`")]
    Namespace {
        /// The whole topic.
        topic: String,
        /// Its first level.
        found: String,
    },
    /// The kind of message is not known.
    #[error(
        "topic `{topic}`: message type is `{found}`; allowed: NBIRTH, NDEATH, NDATA, NCMD, \
         DBIRTH, DDEATH, DDATA, DCMD, or spBv1.0/STATE/<host>"
    )]
    Type {
        /// The whole topic.
        topic: String,
        /// The level where the type belongs.
        found: String,
    },
    /// Too few or too many levels for its kind.
    #[error("topic `{topic}`: {found} levels; allowed for this type: {allowed}")]
    Levels {
        /// The whole topic.
        topic: String,
        /// How many it has.
        found: usize,
        /// How many it must have.
        allowed: usize,
    },
    /// A name is empty or holds a character with a meaning in MQTT.
    #[error("{what} name `{found}`: allowed is a name that is not empty, without +, / and #")]
    Name {
        /// Which name: group, node, device or host.
        what: &'static str,
        /// As it stands.
        found: String,
    },
    /// Longer than MQTT allows.
    #[error("topic: {found} bytes; at most 65535 allowed")]
    TooLong {
        /// Its bytes.
        found: usize,
    },
}

/// Checks a name for use in a topic; `what` says whose it is.
pub fn check_name(what: &'static str, name: &str) -> Result<(), TopicError> {
    if name.is_empty() || name.contains(['+', '/', '#', '\0']) {
        return Err(TopicError::Name {
            what,
            found: name.to_owned(),
        });
    }
    Ok(())
}

impl<'a> Topic<'a> {
    /// Reads a topic; its names borrow from `text`.
    pub fn parse(text: &'a str) -> Result<Self, TopicError> {
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong { found: text.len() });
        }
        let mut levels = text.split('/');
        let namespace = levels.next().unwrap_or_default();
        if namespace != NAMESPACE {
            return Err(TopicError::Namespace {
                topic: text.to_owned(),
                found: namespace.to_owned(),
            });
        }
        let group = levels.next().unwrap_or_default();
        let kind = levels.next();
        let count = text.split('/').count();
        // A group may be called STATE; a host's topic has three levels, a group's four or more.
        if let (STATE, Some(host), 3) = (group, kind, count) {
            check_name("host", host)?;
            return Ok(Self::Host { host });
        }
        let kind = kind.unwrap_or_default();
        let node = levels.next().unwrap_or_default();
        let need = |allowed: usize| {
            if count == allowed {
                return Ok(());
            }
            Err(TopicError::Levels {
                topic: text.to_owned(),
                found: count,
                allowed,
            })
        };
        let topic = if let Some(message) = NodeMessage::from_word(kind) {
            need(4)?;
            Self::Node {
                group,
                message,
                node,
            }
        } else if let Some(message) = DeviceMessage::from_word(kind) {
            need(5)?;
            let device = levels.next().unwrap_or_default();
            Self::Device {
                group,
                message,
                node,
                device,
            }
        } else {
            return Err(TopicError::Type {
                topic: text.to_owned(),
                found: kind.to_owned(),
            });
        };
        topic.check()?;
        Ok(topic)
    }

    /// Checks the names, for a topic that was not parsed but put together.
    pub fn check(&self) -> Result<(), TopicError> {
        match *self {
            Self::Node { group, node, .. } => {
                check_name("group", group)?;
                check_name("node", node)
            }
            Self::Device {
                group,
                node,
                device,
                ..
            } => {
                check_name("group", group)?;
                check_name("node", node)?;
                check_name("device", device)
            }
            Self::Host { host } => check_name("host", host),
        }
    }
}

/// The topic as text. Its names are taken as they are; see [`Topic::check`].
impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node {
                group,
                message,
                node,
            } => write!(f, "{NAMESPACE}/{group}/{}/{node}", message.word()),
            Self::Device {
                group,
                message,
                node,
                device,
            } => write!(f, "{NAMESPACE}/{group}/{}/{node}/{device}", message.word()),
            Self::Host { host } => write!(f, "{NAMESPACE}/{STATE}/{host}"),
        }
    }
}

impl NodeMessage {
    /// As the topic writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Birth => "NBIRTH",
            Self::Death => "NDEATH",
            Self::Data => "NDATA",
            Self::Command => "NCMD",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Birth, Self::Death, Self::Data, Self::Command]
            .into_iter()
            .find(|message| message.word() == word)
    }
}

impl DeviceMessage {
    /// As the topic writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Birth => "DBIRTH",
            Self::Death => "DDEATH",
            Self::Data => "DDATA",
            Self::Command => "DCMD",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Birth, Self::Death, Self::Data, Self::Command]
            .into_iter()
            .find(|message| message.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_topic_reads_and_writes() {
        for text in [
            "spBv1.0/G/NBIRTH/gw-1",
            "spBv1.0/G/NDEATH/gw-1",
            "spBv1.0/G/NDATA/gw-1",
            "spBv1.0/G/NCMD/gw-1",
            "spBv1.0/G/DBIRTH/gw-1/TF1",
            "spBv1.0/G/DDEATH/gw-1/TF1",
            "spBv1.0/G/DDATA/gw-1/TF1",
            "spBv1.0/G/DCMD/gw-1/罐区",
            "spBv1.0/STATE/davy",
            "spBv1.0/STATE/NDATA/gw-1",
        ] {
            let topic = Topic::parse(text).expect(text);
            assert_eq!(topic.to_string(), text);
        }
        assert!(matches!(
            Topic::parse("spBv1.0/STATE/NDATA/gw-1"),
            Ok(Topic::Node { group: "STATE", .. })
        ));
    }

    #[test]
    fn a_fault_says_what_is_found_and_what_is_allowed() {
        let cases = [
            ("spAv1.0/G/NDATA/n", "first level is `spAv1.0`"),
            ("spBv1.0/G/NDATUM/n", "message type is `NDATUM`"),
            ("spBv1.0/G/NDATA/n/d", "5 levels; allowed for this type: 4"),
            ("spBv1.0/G/DDATA/n", "4 levels; allowed for this type: 5"),
            (
                "spBv1.0/G/DDATA/n/d/e",
                "6 levels; allowed for this type: 5",
            ),
            ("spBv1.0/G/NDATA/a+", "node name `a+`"),
            ("spBv1.0//NDATA/a", "group name ``"),
            ("spBv1.0/G/DDATA/a/#", "device name `#`"),
            ("spBv1.0/STATE/", "host name ``"),
            ("", "first level is ``"),
            ("spBv1.0", "message type is ``"),
        ];
        for (text, part) in cases {
            let error = Topic::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_is_written_the_same(text in "(spBv1\\.0/)?[A-Z/a+#]{0,24}") {
            if let Ok(topic) = Topic::parse(&text) {
                prop_assert_eq!(topic.to_string(), text);
            }
        }
    }
}
