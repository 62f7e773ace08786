//! The embedded MQTT broker: MQTT 3.1.1 and 5 on one listener.
//!
//! The only file that knows which broker it is; any outside broker can take its place by config.
//! Of the library, its handler of one connection and its router are used. Connections are taken by a
//! [`Door`] of ours: the library's own way takes any number of them, and where the system has no more
//! to give, it tries on without a pause and logs each time.
//!
//! Invariants: nobody is let in without a name and a password; a gateway publishes under its own
//! node and reads its own commands only; the broker keeps nothing on disk, since nothing is freed
//! at a gateway before the centre has committed it. What a gateway publishes is in the loop's queue
//! before the broker acknowledges it: while the queue is full, the gateway waits. Nothing is retained
//! but the host's STATE, as Sparkplug has it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use davy_core::sparkplug::PACKET_BYTES_MAX;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::config::BrokerConfig;
use mqtt5::broker::events::{BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::broker::resource_monitor::{ResourceLimits, ResourceMonitor};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::QueueLimits;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::transport::BrokerTransport;
use mqtt5::error::MqttError;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::packet::publish::PublishPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use thiserror::Error;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::centre::Centre;
use crate::door::{self, Door, Guest, STALLED};
use crate::ingest;

/// Most connections at once: a city's gateways, ten times over. One that does not sign in within
/// the 10 s of the library's own is hung up on.
pub const CONNECTIONS_MAX: usize = 2_500;

/// Retained messages: STATE of the host, and of those it was called before.
const RETAINED_MAX: usize = 16;

/// How often sessions that have expired are let go.
const SWEEP: Duration = Duration::from_hours(1);

/// How long connections may take to end with the broker.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Messages waiting for one client.
const CLIENT_QUEUE_MAX: usize = 10_000;

/// Bytes waiting for one client.
const CLIENT_BYTES_MAX: usize = 64 << 20;

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
    /// The system gave no listener.
    #[error("starting the MQTT broker at {address}: {source}")]
    Start {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running broker; it stops when [`Broker::stop`] is called.
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    closing: CancellationToken,
    task: JoinHandle<()>,
}

impl Broker {
    /// Binds `listen` (port 0 takes a free one) and serves until stopped. What gateways publish
    /// goes to `inlet`. Runs on the runtime that it is called from.
    pub fn start(
        listen: SocketAddr,
        accounts: Accounts,
        inlet: Inlet,
    ) -> Result<Self, BrokerError> {
        let failed = |source| BrokerError::Start {
            address: listen,
            source,
        };
        let listener = door::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let counters = Arc::clone(&inlet.counters.door);
        let door = Door::new("MQTT", listener, CONNECTIONS_MAX, STALLED, counters);
        let closing = CancellationToken::new();
        let hall = Hall::new(accounts, inlet);
        let task = tokio::spawn(serve(door, hall, closing.clone()));
        Ok(Self {
            address,
            closing,
            task,
        })
    }

    /// Stops it and waits until its connections are closed.
    pub async fn stop(self) {
        self.closing.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the MQTT broker did not end cleanly");
        }
    }
}

/// Takes connections until `closing`.
async fn serve(door: Door, hall: Hall, closing: CancellationToken) {
    let hall = Arc::new(hall);
    let tasks = TaskTracker::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            guest = door.next(&closing) => {
                let Some(guest) = guest else { break };
                let hall = Arc::clone(&hall);
                tasks.spawn(async move { hall.attend(guest).await });
            }
            _ = sweep.tick() => hall.router.sweep_sessions().await,
        }
    }
    drop(door);
    // An error is nobody there to be told.
    drop(hall.closing.send(()));
    tasks.close();
    if tokio::time::timeout(CLOSE_MAX, tasks.wait()).await.is_err() {
        tracing::warn!("connections of the MQTT broker did not end in time");
    }
}

/// What every connection is served with.
struct Hall {
    config: Arc<BrokerConfig>,
    router: Arc<MessageRouter>,
    doorkeeper: Arc<Doorkeeper>,
    stats: Arc<BrokerStats>,
    monitor: Arc<ResourceMonitor>,
    counters: Arc<ingest::Counters>,
    closing: broadcast::Sender<()>,
}

impl Hall {
    fn new(accounts: Accounts, inlet: Inlet) -> Self {
        let counters = Arc::clone(&inlet.counters);
        let inlet: Arc<dyn BrokerEventHandler> = Arc::new(inlet);
        let config = BrokerConfig {
            max_packet_size: PACKET_BYTES_MAX,
            client_channel_capacity: CLIENT_QUEUE_MAX,
            max_outbound_inflight: INFLIGHT_MAX,
            maximum_qos: 1,
            event_handler: Some(Arc::clone(&inlet)),
            ..BrokerConfig::default()
        };
        // Nothing is kept on disk: without a store, sessions and queues are the router's own.
        let router = MessageRouter::new()
            .with_fallback_queue_limits(QueueLimits {
                max_messages: CLIENT_QUEUE_MAX,
                max_bytes: CLIENT_BYTES_MAX,
            })
            .with_event_handler(inlet)
            .with_retained_limits(RETAINED_MAX, 0);
        // Connections are bounded by the door; messages by the loop's queue, for which they wait.
        let limits = ResourceLimits {
            max_message_rate_per_client: 0,
            max_bandwidth_per_client: 0,
            ..ResourceLimits::default()
        };
        Self {
            config: Arc::new(config),
            router: Arc::new(router),
            doorkeeper: Arc::new(Doorkeeper {
                accounts,
                counters: Arc::clone(&counters),
            }),
            stats: Arc::new(BrokerStats::new()),
            monitor: Arc::new(ResourceMonitor::new(limits)),
            counters,
            closing: broadcast::channel(1).0,
        }
    }

    /// Serves one connection to its end.
    async fn attend(&self, guest: Guest) {
        let handler = ClientHandler::new(
            BrokerTransport::tcp(guest.stream),
            guest.from,
            Arc::clone(&self.config),
            Arc::clone(&self.router),
            Arc::clone(&self.doorkeeper) as Arc<dyn AuthProvider>,
            None,
            Arc::clone(&self.stats),
            Arc::clone(&self.monitor),
            self.closing.subscribe(),
        );
        if let Err(error) = handler.run().await {
            tracing::debug!(%error, from = %guest.from, "a connection of MQTT has broken");
            if matches!(error, MqttError::Timeout) {
                let timed_out = &self.counters.door.timed_out;
                timed_out.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(guest.place);
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
            if !event.retain || is_retained(topic) {
                return PublishAction::Continue;
            }
            let user = event.user_id.as_deref().unwrap_or_default();
            let what = format!("retaining `{topic}`; it is passed on all the same");
            refused(&self.counters.refused_retained, user, &what);
            let mut packet = PublishPacket::new(topic, event.payload.clone(), event.qos);
            packet.packet_id = event.packet_id;
            PublishAction::Transform(packet)
        })
    }
}

/// Whether the broker keeps the last message of a topic for who comes later: Sparkplug retains the
/// state of hosts and nothing else, and what is retained is never let go.
fn is_retained(topic: &str) -> bool {
    topic.starts_with("spBv1.0/STATE/")
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
        // Wills come past [`Inlet`], so one that would be retained is refused with who brings it.
        let will = connect.will.as_ref().filter(|will| will.retain);
        let will = will.filter(|will| known && !is_retained(&will.topic));
        if let Some(will) = will {
            let what = format!("a retained last will at `{}`", will.topic);
            refused(&self.counters.refused_retained, user, &what);
            return Box::pin(ready(Ok(AuthResult::fail(ReasonCode::NotAuthorized))));
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

    use rumqttc::{AsyncClient, Event, LastWill, MqttOptions, Packet, QoS};
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

    async fn publish(broker: &Broker, topics: &[&str]) {
        publish_as(broker, topics, false).await;
    }

    fn client(broker: &Broker, user: &str) -> MqttOptions {
        let mut options = MqttOptions::new(user, "127.0.0.1", broker.address.port());
        options.set_credentials(user, format!("p{}", &user[..1]));
        options
    }

    /// Publishes as gateway `a` and waits until the broker has acknowledged it.
    async fn publish_as(broker: &Broker, topics: &[&str], retain: bool) {
        let (client, mut events) = AsyncClient::new(client(broker, "a"), topics.len());
        for topic in topics {
            let sent = client.publish(*topic, QoS::AtLeastOnce, retain, "no payload");
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
        let house = House::start();
        let (broker, centre) = (&house.broker, &house.centre);
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
        publish(broker, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
        // The queue keeps its order, so what came before the question has been taken.
        centre.ask(|_| ()).await.unwrap();
        let messages = centre.health().messages.load(Ordering::Relaxed);
        assert_eq!(messages, taken.len() as u64);
        house.stop().await;
    }

    #[tokio::test]
    async fn nothing_of_a_gateway_is_retained() {
        let house = House::start();
        let topic = "spBv1.0/g/DDEATH/a/u";
        publish_as(&house.broker, &[topic], true).await;
        let counted = || house.counters.refused_retained.load(Ordering::Relaxed);
        assert_eq!(counted(), 1);
        // It was taken all the same.
        house.centre.ask(|_| ()).await.unwrap();
        let messages = house.centre.health().messages.load(Ordering::Relaxed);
        assert_eq!(messages, 1);
        // Whoever comes later hears of STATE, which the centre retains, and of nothing else.
        let (centre, mut events) = AsyncClient::new(client(&house.broker, "davy"), 8);
        let last = "spBv1.0/g/NCMD/a";
        let (state, qos) = ("spBv1.0/STATE/h", QoS::AtLeastOnce);
        centre.publish(state, qos, true, "online").await.unwrap();
        centre.subscribe("spBv1.0/#", qos).await.unwrap();
        centre.publish(last, qos, false, "the end").await.unwrap();
        let mut heard = Vec::new();
        while heard.last().is_none_or(|topic| topic != last) {
            if let Event::Incoming(Packet::Publish(said)) = events.poll().await.unwrap() {
                heard.push(said.topic);
            }
        }
        assert_eq!(heard, [state, last]);
        house.stop().await;
    }

    #[tokio::test]
    async fn who_brings_a_will_to_be_retained_is_not_let_in() {
        let house = House::start();
        for (user, retain, enters) in [("a", true, false), ("a", false, true)] {
            let mut options = client(&house.broker, user);
            let will = LastWill::new("spBv1.0/g/NDEATH/a", "dead", QoS::AtLeastOnce, retain);
            options.set_last_will(will);
            let (_client, mut events) = AsyncClient::new(options, 1);
            let answer = events.poll().await;
            assert_eq!(answer.is_ok(), enters, "{answer:?}");
        }
        house.stop().await;
    }

    /// A broker with the loop behind it.
    struct House {
        broker: Broker,
        centre: Centre,
        counters: Arc<ingest::Counters>,
        thread: std::thread::JoinHandle<()>,
        _answers: mpsc::Receiver<crate::centre::Outbound>,
        _folder: tempfile::TempDir,
    }

    impl House {
        fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = crate::centre::tests::good_files();
            let (outbound, answers) = mpsc::channel(16);
            let (centre, thread) = Centre::start(
                folder.path(),
                files,
                crate::centre::Accepted::default(),
                outbound,
            )
            .unwrap();
            let counters = Arc::<ingest::Counters>::default();
            let inlet = Inlet {
                centre: centre.clone(),
                counters: Arc::clone(&counters),
            };
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let broker = Broker::start(listen, doorkeeper().accounts, inlet);
            Self {
                broker: broker.unwrap(),
                centre,
                counters,
                thread,
                _answers: answers,
                _folder: folder,
            }
        }

        async fn stop(self) {
            self.broker.stop().await;
            self.centre.stop().await;
            let joined = tokio::task::spawn_blocking(move || self.thread.join());
            joined.await.unwrap().unwrap();
        }
    }
}
