//! The embedded MQTT broker: MQTT 3.1.1 and 5 on one listener.
//!
//! The only file that knows which broker it is; any outside broker can take its place by config.
//!
//! Invariants: nobody is let in without a name and a password; a gateway publishes under its own
//! node and reads its own commands only; the broker keeps nothing on disk, since nothing is freed
//! at a gateway before the centre has committed it. What a gateway publishes is in the loop's queue
//! before the broker acknowledges it: while the queue is full, the gateway waits.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use davy_core::sparkplug::PACKET_BYTES_MAX;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::events::{BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::centre::Centre;
use crate::ingest;

/// Most clients at once: a city's gateways, ten times over.
const CLIENTS_MAX: usize = 2_500;

/// Messages waiting for one client.
const CLIENT_QUEUE_MAX: usize = 10_000;

/// Messages on their way to one client that it has not acknowledged. The broker looks through all
/// of them at each acknowledgement: at 1,024 that was a tenth of its CPU.
const INFLIGHT_MAX: u16 = 128;

/// Who may sign in at the broker, and as what.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// The MQTT group of the site.
    pub group: String,
    /// Passwords of gateways by id. The id is the user and the Sparkplug edge node.
    pub gateways: BTreeMap<String, String>,
    /// User and password of the centre itself.
    pub centre: (String, String),
}

/// Why the broker did not start.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// The listener or the configuration was refused.
    #[error("starting the MQTT broker at {address}: {cause}")]
    Start {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the broker said.
        cause: String,
    },
}

/// A running broker; it stops when [`Broker::stop`] is called.
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl Broker {
    /// Binds `listen` (port 0 takes a free one) and serves until stopped. What gateways publish
    /// goes to `inlet`.
    pub async fn start(
        listen: SocketAddr,
        accounts: Accounts,
        inlet: Inlet,
    ) -> Result<Self, BrokerError> {
        let failed = |cause: String| BrokerError::Start {
            address: listen,
            cause,
        };
        let counters = Arc::clone(&inlet.counters);
        let mut config = BrokerConfig {
            bind_addresses: vec![listen],
            max_clients: CLIENTS_MAX,
            max_packet_size: PACKET_BYTES_MAX,
            client_channel_capacity: CLIENT_QUEUE_MAX,
            max_outbound_inflight: INFLIGHT_MAX,
            sys_topics_enabled: false,
            maximum_qos: 1,
            storage_config: StorageConfig {
                backend: StorageBackend::Memory,
                enable_persistence: false,
                ..StorageConfig::default()
            },
            event_handler: Some(Arc::new(inlet)),
            ..BrokerConfig::default()
        };
        // Its own list of users is not used: the doorkeeper, who takes its place, lets nobody in
        // without a name and a password.
        config.auth_config.allow_anonymous = true;
        // Its lock-out is by address: gateways behind one address would lock each other out.
        config.auth_config.rate_limit.enabled = false;
        let broker = MqttBroker::with_config(config)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let doorkeeper = Doorkeeper { accounts, counters };
        let mut broker = broker.with_auth_provider(Arc::new(doorkeeper));
        let address = broker
            .local_addr()
            .ok_or_else(|| failed("no listener was bound".into()))?;
        let shutdown = broker.shutdown_handle();
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "the MQTT broker has stopped");
            }
        });
        Ok(Self {
            address,
            shutdown,
            task,
        })
    }

    /// Stops it and waits until its connections are closed.
    pub async fn stop(self) {
        self.shutdown.shutdown();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the MQTT broker did not end cleanly");
        }
    }
}

/// Hands what gateways publish to the loop, without another trip through a socket.
pub struct Inlet {
    /// The loop.
    pub centre: Centre,
    /// Where bundles that cannot be read, and those who are refused, are counted.
    pub counters: Arc<ingest::Counters>,
}

impl BrokerEventHandler for Inlet {
    fn on_client_publish(&self, event: ClientPublishEvent) -> Answer<'_, PublishAction> {
        Box::pin(async move {
            let (topic, payload) = (event.topic.as_ref(), event.payload.as_ref());
            // An error is the end of the loop: then the gateway keeps what it has.
            if ingest::is_direct(topic)
                && let Err(error) = ingest::take(&self.centre, topic, payload, &self.counters).await
            {
                tracing::debug!(%error, topic, "a message came too late");
            }
            // Whoever else has subscribed gets it as well.
            PublishAction::Continue
        })
    }
}

/// Lets in whom the accounts name, and to their own topics only.
struct Doorkeeper {
    accounts: Accounts,
    counters: Arc<ingest::Counters>,
}

/// Counts a refusal, and says each one up to the tenth, then one of each thousand: whoever is
/// refused may try on without end.
fn refused(counter: &AtomicU64, user: &str, what: &dyn Display) {
    let refused = counter.fetch_add(1, Ordering::Relaxed) + 1;
    if refused <= 10 || refused.is_multiple_of(1_000) {
        tracing::warn!(user, refused, "refused at the MQTT broker: {what}");
    }
}

impl Doorkeeper {
    fn knows(&self, user: &str, password: &[u8]) -> bool {
        let (centre, centre_password) = &self.accounts.centre;
        let expected = if user == centre {
            Some(centre_password)
        } else {
            self.accounts.gateways.get(user)
        };
        expected.is_some_and(|expected| same(expected.as_bytes(), password))
    }

    /// Whether a user may come under a client id: the broker ends the connection that had it
    /// before, so nobody takes a gateway's or the centre's.
    fn may_be(&self, user: &str, client_id: &str) -> bool {
        let is_gateway = self.accounts.gateways.contains_key(client_id);
        let is_centre = client_id.starts_with(ingest::CENTRE_ID);
        user == client_id || !is_gateway && (!is_centre || user == self.accounts.centre.0)
    }

    fn may_publish(&self, user: &str, topic: &str) -> bool {
        let group = &self.accounts.group;
        let mut levels = topic.split('/');
        let (namespace, second) = (levels.next(), levels.next());
        if namespace != Some("spBv1.0") {
            return false;
        }
        if user == self.accounts.centre.0 {
            return second == Some("STATE") || topic.contains("/NCMD/") || topic.contains("/DCMD/");
        }
        let (kind, node) = (levels.next(), levels.next());
        let own_kinds = ["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"];
        second == Some(group)
            && kind.is_some_and(|kind| own_kinds.contains(&kind))
            && node == Some(user)
    }

    fn may_subscribe(&self, user: &str, filter: &str) -> bool {
        if user == self.accounts.centre.0 {
            return true;
        }
        let group = &self.accounts.group;
        let own = [
            format!("spBv1.0/{group}/NCMD/{user}"),
            format!("spBv1.0/{group}/DCMD/{user}/#"),
        ];
        own.iter().any(|allowed| allowed == filter)
            || filter
                .strip_prefix("spBv1.0/STATE/")
                .is_some_and(|host| !host.contains('/'))
    }
}

/// Compares in a time that does not tell how much of it was right.
fn same(expected: &[u8], given: &[u8]) -> bool {
    expected.len() == given.len()
        && expected
            .iter()
            .zip(given)
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Doorkeeper {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        from: SocketAddr,
    ) -> Answer<'a, mqtt5::error::Result<AuthResult>> {
        let user = connect.username.as_deref().unwrap_or_default();
        let password = connect.password.as_deref().unwrap_or_default();
        let known =
            !user.is_empty() && self.knows(user, password) && self.may_be(user, &connect.client_id);
        if !known {
            let what = format!("sign-in from {from}");
            refused(&self.counters.refused_sign_ins, user, &what);
        }
        Box::pin(ready(Ok(if known {
            AuthResult::success_with_user(user)
        } else {
            AuthResult::fail(ReasonCode::BadUsernameOrPassword)
        })))
    }

    fn authorize_publish<'a>(
        &'a self,
        _client_id: &str,
        user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        let may = user.is_some_and(|user| self.may_publish(user, topic));
        if !may {
            let what = format!("publishing `{topic}`");
            refused(
                &self.counters.refused_topics,
                user.unwrap_or_default(),
                &what,
            );
        }
        Box::pin(ready(may))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client_id: &str,
        user: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let may = user.is_some_and(|user| self.may_subscribe(user, filter));
        if !may {
            let what = format!("subscribing to `{filter}`");
            refused(
                &self.counters.refused_topics,
                user.unwrap_or_default(),
                &what,
            );
        }
        Box::pin(ready(may))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::net::Ipv4Addr;

    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    use tokio::sync::mpsc;

    use super::*;

    fn doorkeeper() -> Doorkeeper {
        Doorkeeper {
            counters: Arc::default(),
            accounts: Accounts {
                group: "g".into(),
                gateways: BTreeMap::from([("a".into(), "pa".into()), ("b".into(), "pb".into())]),
                centre: ("davy".into(), "pd".into()),
            },
        }
    }

    #[test]
    fn only_the_right_password_opens() {
        let door = doorkeeper();
        assert!(door.knows("a", b"pa") && door.knows("davy", b"pd"));
        assert!(!door.knows("a", b"pb") && !door.knows("a", b"") && !door.knows("x", b""));
    }

    #[test]
    fn nobody_takes_the_place_of_another() {
        let door = doorkeeper();
        assert!(door.may_be("a", "a") && door.may_be("davy", "davy-host"));
        assert!(door.may_be("a", "any") && door.may_be("davy", "any"));
        assert!(!door.may_be("a", "b") && !door.may_be("a", "davy-host"));
        assert!(!door.may_be("davy", "a"));
    }

    #[test]
    fn a_gateway_publishes_under_its_own_node_only() {
        let door = doorkeeper();
        for own in ["NBIRTH/a", "DDATA/a/u1", "NDEATH/a"] {
            assert!(door.may_publish("a", &format!("spBv1.0/g/{own}")));
        }
        for foreign in [
            "spBv1.0/g/DDATA/b/u1",
            "spBv1.0/h/DDATA/a/u1",
            "spBv1.0/g/NCMD/a",
            "spBv1.0/STATE/davy",
            "other",
        ] {
            assert!(!door.may_publish("a", foreign), "{foreign}");
        }
        assert!(door.may_publish("davy", "spBv1.0/g/NCMD/a"));
        assert!(!door.may_publish("davy", "spBv1.0/g/DDATA/a/u1"));
    }

    #[test]
    fn a_gateway_reads_its_own_commands_only() {
        let door = doorkeeper();
        assert!(door.may_subscribe("a", "spBv1.0/g/NCMD/a"));
        assert!(door.may_subscribe("a", "spBv1.0/STATE/davy"));
        for foreign in ["#", "spBv1.0/g/#", "spBv1.0/g/NCMD/b", "spBv1.0/g/NCMD/+"] {
            assert!(!door.may_subscribe("a", foreign), "{foreign}");
        }
    }

    /// Publishes as gateway `a` and waits until the broker has acknowledged it.
    async fn publish(broker: &Broker, topics: &[&str]) {
        let mut options = MqttOptions::new("a", "127.0.0.1", broker.address.port());
        options.set_credentials("a", "pa");
        let (client, mut events) = AsyncClient::new(options, topics.len());
        for topic in topics {
            let sent = client.publish(*topic, QoS::AtLeastOnce, false, "no payload");
            sent.await.unwrap();
        }
        let mut acknowledged = 0;
        while acknowledged < topics.len() {
            let packet = events.poll().await.unwrap();
            acknowledged += usize::from(matches!(packet, Event::Incoming(Packet::PubAck(_))));
        }
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_in_the_queue_of_the_loop() {
        let folder = tempfile::tempdir().unwrap();
        let files = crate::centre::tests::good_files();
        let (outbound, _answers) = mpsc::channel(16);
        let (centre, thread) = Centre::start(
            folder.path(),
            files,
            crate::centre::Accepted::default(),
            outbound,
        )
        .unwrap();
        let inlet = Inlet {
            centre: centre.clone(),
            counters: Arc::default(),
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let broker = Broker::start(listen, doorkeeper().accounts, inlet);
        let broker = broker.await.unwrap();
        let taken = [
            "NBIRTH/a",
            "DBIRTH/a/u",
            "DDATA/a/u",
            "NDATA/a",
            "DDEATH/a/u",
        ];
        // A death is left to those who have subscribed: last wills come to nobody else.
        let all = taken.iter().chain(&["NDEATH/a"]);
        let all: Vec<_> = all.map(|topic| format!("spBv1.0/g/{topic}")).collect();
        publish(&broker, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
        // The queue keeps its order, so what came before the question has been taken.
        centre.ask(|_| ()).await.unwrap();
        let messages = centre.health().messages.load(Ordering::Relaxed);
        assert_eq!(messages, taken.len() as u64);
        broker.stop().await;
        centre.stop().await;
        tokio::task::spawn_blocking(move || thread.join().unwrap())
            .await
            .unwrap();
    }
}
