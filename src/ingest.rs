//! MQTT in and out: messages of gateways to the loop, its answers back to gateways.
//!
//! One client of the broker, embedded or outside. It reads everything of the site's group, tells
//! gateways that the host is there (Sparkplug's STATE, retained, with a last will), and passes on
//! what the loop has to say to them.
//!
//! A centre that cannot commit hangs up: its last will says offline, and the gateways annunciate by
//! themselves. Once commits work it connects again.
//!
//! The embedded broker hands over itself what gateways publish ([`is_direct`]), without a second
//! trip through a socket; from it the client reads deaths only, since last wills come from nobody
//! who publishes. A death that is overtaken by the next birth names another `bdSeq` and is old.
//!
//! Until it is subscribed the centre is cut off, and says so: whoever is born before that may die
//! unheard, so all gateways are unseen from there on and asked for births.
//!
//! Invariants: a message that the loop has no room for is waited with while the connection lasts;
//! nothing of a gateway is freed by what happens here; the loop is told of every connection and of
//! its end.
//!
//! What is in hand when a connection to an outside broker ends, a hang-up too, goes with it, like
//! all that is published until the next one. A gateway that numbers its messages sends them again;
//! of a node that does not they are lost. They count as one that was skipped where the node goes on
//! with another `seq`, and are uncounted where it is born anew first: the entries of the end and of
//! the next connection say from when to when. A session that outlives the connection, acknowledged by hand,
//! would not help where such a node speaks by aliases: they are forgotten with the connection.
//!
//! Limits: one compressed bundle unfolds to [`BUNDLE_BYTES_MAX`] bytes at most; of the death of a
//! unit, which may be one that nobody has configured, [`DEATH_BYTES_MAX`] bytes are journaled or none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use davy_core::reading::Timestamp;
use davy_core::sparkplug::{
    BUNDLE_BYTES_MAX, Command, DeviceMessage, HostState, NodeMessage, PACKET_BYTES_MAX, Topic,
    build_commands, finish, read_bundle, read_node_data,
};
use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, SubscribeFilter,
    SubscribeReasonCode,
};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::centre::{Centre, Ended, Outbound};
use crate::door::DoorCounters;

/// How the client id of a centre begins.
pub const CENTRE_ID: &str = "davy-";

/// How long to wait before the broker is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked at whether the loop turns.
const LOOK: Duration = Duration::from_secs(1);

/// A loop that has not turned for so many looks cannot commit. It turns once a second when nothing
/// comes.
const STALLED_LOOKS: u32 = 5;

/// Packets on their way to the broker.
const PACKETS_MAX: usize = 1_024;

/// Largest death of a unit that is handed on with its payload: a time and a place in the node's
/// order, some twenty bytes, ten score times over.
const DEATH_BYTES_MAX: usize = 4_096;

/// The broker, and who the centre is there.
#[derive(Clone, Debug)]
pub struct Link {
    /// Host of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub account: (String, String),
    /// The site's MQTT group.
    pub group: String,
    /// The host id of Sparkplug's STATE.
    pub host_id: String,
    /// Gateways that are asked for births at each connection.
    pub gateways: Vec<String>,
    /// Whether the broker hands over itself what [`is_direct`].
    pub is_embedded: bool,
}

/// What others may see of it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connected and subscribed.
    pub connected: AtomicBool,
    /// Times that the connection was lost.
    pub reconnects: AtomicU64,
    /// Bundles that could not be unfolded.
    pub bad_bundles: AtomicU64,
    /// Deaths of units whose payload was left behind: it was no death's.
    pub long_deaths: AtomicU64,
    /// Sign-ins that the embedded broker refused.
    pub refused_sign_ins: AtomicU64,
    /// Messages and subscriptions that it refused to those who had signed in.
    pub refused_topics: AtomicU64,
    /// Messages that it was to retain and did not, and sign-ins with a last will of that kind.
    pub refused_retained: AtomicU64,
    /// Its connections.
    pub door: Arc<DoorCounters>,
}

/// Why a bundle could not be unfolded.
#[derive(Debug, Error)]
pub(crate) enum BundleError {
    #[error("unpacking a bundle: {0}")]
    Zstd(std::io::Error),
    #[error("reading a bundle: {0}")]
    Wire(#[from] davy_core::sparkplug::WireError),
}

/// Runs until cancelled. An error of the connection is logged and tried again.
///
/// Each attempt has a client of its own: its last will says the same time as its STATE, else
/// gateways would pass the will over as an older word.
pub async fn run(
    link: Link,
    centre: Centre,
    mut outbound: mpsc::Receiver<Outbound>,
    counters: Arc<Counters>,
    cancel: CancellationToken,
) {
    let mut full = centre.full();
    tokio::select! {
        () = cancel.cancelled() => return,
        told = centre.broker(false) => if told.is_err() { return },
    }
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = full.wait_for(|full| !*full) => {}
        }
        let since = centre.now();
        let (client, events) = connect(&link, since);
        let mut is_stalled = false;
        // An answer that is cut off by the end of the connection is given again: gateways say
        // their messages again until they hear that those are committed.
        let centre_ended = tokio::select! {
            () = cancel.cancelled() => true,
            ended = listen(&link, &centre, client.clone(), since, events, &counters) => ended,
            () = answer(&client, &link, &centre, &mut outbound) => true,
            () = stalled(&centre) => {
                is_stalled = true;
                false
            }
        };
        let was_connected = counters.connected.swap(false, Ordering::AcqRel);
        if was_connected {
            counters.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        if centre_ended {
            return;
        }
        if is_stalled {
            tracing::error!("nothing can be committed: hanging up, so that gateways annunciate");
        }
        let goes_on = async {
            if was_connected {
                centre.broker(false).await?;
            }
            if is_stalled {
                recovered(&centre).await;
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
            Ok::<(), Ended>(())
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            done = goes_on => if done.is_err() { return },
        }
    }
}

/// Waits until commits no longer work: the disk refuses them, or the loop does not turn.
async fn stalled(centre: &Centre) {
    let mut full = centre.full();
    let (mut turned, mut looks) = (turn(centre), 0);
    while looks < STALLED_LOOKS {
        tokio::select! {
            biased;
            _ = full.wait_for(|full| *full) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let before = std::mem::replace(&mut turned, turn(centre));
        looks = if before == turned { looks + 1 } else { 0 };
    }
}

/// Waits until the loop turns again, or has ended.
async fn recovered(centre: &Centre) {
    let before = turn(centre);
    while turn(centre) == before && !centre.health().ended.load(Ordering::Acquire) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Another value with each turn of the loop whose commit worked.
fn turn(centre: &Centre) -> i64 {
    centre.health().alive_at_ms.load(Ordering::Acquire)
}

/// Hands on what the loop has to say, until it has ended.
async fn answer(
    client: &AsyncClient,
    link: &Link,
    centre: &Centre,
    outbound: &mut mpsc::Receiver<Outbound>,
) {
    while let Some(one) = outbound.recv().await {
        speak(client, link, centre.now(), one).await;
    }
}

fn connect(link: &Link, now: Timestamp) -> (AsyncClient, EventLoop) {
    let id = format!("{CENTRE_ID}{}", link.host_id);
    let mut options = MqttOptions::new(id, &link.host, link.port);
    let (user, password) = &link.account;
    options.set_credentials(user, password);
    options.set_keep_alive(Duration::from_secs(10));
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    options.set_last_will(LastWill::new(
        state_topic(link),
        state(false, now),
        QoS::AtLeastOnce,
        true,
    ));
    let (client, mut events) = AsyncClient::new(options, PACKETS_MAX);
    // "Committed" is one small segment; held back it would wait for the broker's delayed ACK.
    let mut network = events.network_options();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

fn state_topic(link: &Link) -> String {
    let host = &link.host_id;
    Topic::Host { host }.to_string()
}

fn state(online: bool, timestamp: Timestamp) -> String {
    HostState { online, timestamp }.to_json()
}

/// Takes what comes until the connection or the centre has ended; `true` for the centre.
async fn listen(
    link: &Link,
    centre: &Centre,
    client: AsyncClient,
    since: Timestamp,
    mut events: EventLoop,
    counters: &Counters,
) -> bool {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                tracing::info!(
                    host = link.host,
                    port = link.port,
                    "connected to the broker"
                );
                // On a task of its own, as below: it waits for room that only this loop makes.
                tokio::spawn(subscribe(client.clone(), link.clone()));
            }
            Ok(Event::Incoming(Packet::SubAck(answer))) => {
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                    tracing::error!("the broker refused a subscription; trying again");
                    return false;
                }
                // Before births are asked for: gateways are unseen until they are born again.
                if centre.broker(true).await.is_err() {
                    return true;
                }
                counters.connected.store(true, Ordering::Release);
                tokio::spawn(greet(client.clone(), link.clone(), since));
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let (topic, payload) = (&publish.topic, &publish.payload);
                if take(centre, topic, payload, counters).await.is_err() {
                    return true;
                }
            }
            Ok(_) => {}
            Err(error) => {
                if counters.connected.load(Ordering::Acquire) {
                    tracing::warn!(%error, "lost the broker; trying again");
                }
                return false;
            }
        }
    }
}

/// Asks the broker for what gateways say.
async fn subscribe(client: AsyncClient, link: Link) {
    let own = format!("spBv1.0/{}", link.group);
    let kinds = ["NDEATH", "NBIRTH", "NDATA", "DBIRTH", "DDEATH", "DDATA"];
    let wanted = if link.is_embedded { 1 } else { kinds.len() };
    let filters = (kinds.iter().take(wanted))
        .map(|kind| SubscribeFilter::new(format!("{own}/{kind}/#"), QoS::AtLeastOnce));
    if let Err(error) = client.subscribe_many(filters).await {
        tracing::warn!(%error, "could not subscribe");
    }
}

/// Says that the host is there, and asks for births.
async fn greet(client: AsyncClient, link: Link, now: Timestamp) {
    let online = state(true, now);
    if let Err(error) = client
        .publish(state_topic(&link), QoS::AtLeastOnce, true, online)
        .await
    {
        tracing::warn!(%error, "could not publish STATE");
        return;
    }
    for gateway in &link.gateways {
        let gateway = gateway.clone();
        speak(&client, &link, now, Outbound::Rebirth { gateway }).await;
    }
}

async fn speak(client: &AsyncClient, link: &Link, now: Timestamp, outbound: Outbound) {
    let (gateway, instance, command) = match outbound {
        Outbound::Committed {
            gateway,
            runs,
            instance,
        } => (gateway, Some(instance), Command::Committed(runs)),
        Outbound::Resend {
            gateway,
            runs,
            instance,
        } => (gateway, Some(instance), Command::Resend(runs)),
        Outbound::Rebirth { gateway } => (gateway, None, Command::Rebirth),
    };
    let topic = Topic::Node {
        group: &link.group,
        message: NodeMessage::Command,
        node: &gateway,
    };
    let payload = build_commands(now, instance.as_deref(), &[command]);
    let sent = client.publish(topic.to_string(), QoS::AtLeastOnce, false, payload);
    if let Err(error) = sent.await {
        tracing::warn!(%error, gateway, "could not answer a gateway");
    }
}

/// Whether the embedded broker hands a message over itself: what a gateway publishes, but for its
/// death, which comes after all of it.
pub fn is_direct(topic: &str) -> bool {
    match Topic::parse(topic) {
        Ok(Topic::Node { message, .. }) => {
            matches!(message, NodeMessage::Birth | NodeMessage::Data)
        }
        Ok(Topic::Device { message, .. }) => message != DeviceMessage::Command,
        _ => false,
    }
}

/// Hands a message to the loop, a bundle of stored ones as what is in it; waits while there is no
/// room.
pub async fn take(
    centre: &Centre,
    topic: &str,
    payload: &[u8],
    counters: &Counters,
) -> Result<(), Ended> {
    if let Ok(Topic::Node {
        group,
        message: NodeMessage::Data,
        node,
    }) = Topic::parse(topic)
    {
        match unfold(group, node, payload, centre.now()) {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => {
                for (topic, payload) in messages {
                    centre.message(topic, payload).await?;
                }
                return Ok(());
            }
            Err(error) => {
                // It goes on as it is: the loop keeps its bytes and raises the alarm.
                counters.bad_bundles.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, node, "a bundle of stored messages cannot be read");
            }
        }
    }
    let kept = kept(topic, payload);
    if kept.len() < payload.len() {
        let deaths = counters.long_deaths.fetch_add(1, Ordering::Relaxed) + 1;
        if deaths <= 10 || deaths.is_multiple_of(1_000) {
            let bytes = payload.len();
            tracing::warn!(topic, bytes, deaths, "a death is taken without its payload");
        }
    }
    centre.message(topic.to_owned(), kept.to_vec()).await
}

/// What is journaled of a message: of the death of a unit the unit is gone, whatever else it says,
/// and so what is far too long for one stays out of the journal.
fn kept<'a>(topic: &str, payload: &'a [u8]) -> &'a [u8] {
    let is_long = payload.len() > DEATH_BYTES_MAX;
    match Topic::parse(topic) {
        Ok(Topic::Device {
            message: DeviceMessage::Death,
            ..
        }) if is_long => &[],
        _ => payload,
    }
}

/// The stored messages in a bundle, as the gateway would have sent them one by one. None when the
/// message carries no bundle.
pub(crate) fn unfold(
    group: &str,
    node: &str,
    payload: &[u8],
    now: Timestamp,
) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
    // What is no message at all is no bundle: the loop judges it.
    let Some(backlog) = read_node_data(payload).ok().and_then(|data| data.backlog) else {
        return Ok(Vec::new());
    };
    let bytes = zstd::bulk::decompress(&backlog, BUNDLE_BYTES_MAX).map_err(BundleError::Zstd)?;
    let mut messages = Vec::new();
    for message in read_bundle(&bytes)? {
        let topic = Topic::Device {
            group,
            message: DeviceMessage::Data,
            node,
            device: message.device,
        };
        let mut payload = Vec::with_capacity(message.payload.len() + 256);
        if finish(message.payload, now, 0, true, &mut payload).is_err() {
            // One that is no message does not hold up the others: the loop puts it aside.
            payload = message.payload.to_vec();
        }
        messages.push((topic.to_string(), payload));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests;
