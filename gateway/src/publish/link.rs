//! The connection to the broker: packets out, news in, and connected again when it is lost.
//!
//! Each attempt has a client of its own, since the last will (NDEATH with a `bdSeq` of its own) is
//! part of it. Nothing is carried over from one connection to the next: what was on its way is in
//! the outbox, and the session decides anew.
//!
//! Limits: [`UNACKED_MAX`] packets that the broker has not acknowledged; [`PACKET_BYTES_MAX`]
//! bytes a packet, which no birth exceeds ([`super::catalogue`]).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use davy_core::reading::Timestamp;
use davy_core::sparkplug::{NodeMessage, PACKET_BYTES_MAX, Topic, build_node_death};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing,
    Packet as Mqtt, QoS, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pipeline::{News, Packet};
use crate::clock::{Clock, monotonic};
use crate::pause::{Pause, SHORT_MANY};
use crate::status::Status;

/// Packets that the broker has not acknowledged.
pub const UNACKED_MAX: u16 = 256;

/// Packets between the pipeline's queue and the socket. Few: what is in here goes before a live
/// message.
const CLIENT_QUEUE: usize = 8;

/// A broker that does not answer a ping for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long the broker may take to close a connection after the last word. Ours: less than the
/// goodbye may take in all.
const HANG_UP_MAX: Duration = Duration::from_secs(1);

/// The broker, and who the gateway is there.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The gateway's id.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The MQTT group.
    pub group: String,
    /// The host whose STATE is waited for.
    pub host_id: Option<String>,
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("connecting to, or talking with, the broker: {0}")]
    Connection(#[from] Box<ConnectionError>),
    #[error("the broker refused a subscription")]
    Refused,
    #[error("goodbye was said")]
    Left,
    #[error("the gateway ends")]
    Over,
}

/// Keeps a connection until no packet can come any more, or `cancel`.
pub async fn run(
    broker: Broker,
    clock: Clock,
    mut packets: mpsc::Receiver<Packet>,
    news: mpsc::Sender<News>,
    status: Arc<Status>,
    cancel: CancellationToken,
) {
    let mut connection = 0;
    let mut pause = Pause::default();
    loop {
        connection += 1;
        let Some(bd_seq) = ask_bd_seq(&news).await else {
            return;
        };
        let (client, events) = connect(&broker, bd_seq, clock.now());
        let line = Line {
            news: &news,
            connection,
            tickets: Mutex::new(VecDeque::new()),
        };
        let (up_since, ended) = line.serve(client, events, &broker, &mut packets).await;
        if up_since.is_some() && news.send(News::Lost).await.is_err() {
            return;
        }
        let was_first = pause.is_first();
        let held = up_since.map(|since| monotonic() - since);
        let wait = pause.after(held, chance());
        status.short_connections.store(pause.short(), Relaxed);
        match ended {
            Ended::Over => return,
            Ended::Left => tracing::info!("said goodbye to the broker"),
            ended if up_since.is_some() => {
                tracing::warn!(reason = %ended, "the connection to the broker ended");
            }
            // Told once, not at each attempt.
            ended if was_first => {
                tracing::warn!(reason = %ended, "no connection to the broker; trying on");
            }
            ended => tracing::debug!(reason = %ended, "no connection to the broker"),
        }
        if up_since.is_some() && pause.short() == SHORT_MANY {
            tracing::error!(
                user = broker.user,
                "connections end soon after they begin; most likely a second gateway runs under \
                 this name"
            );
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Each attempt has its own: the broker may have the will of one that was never subscribed. None
/// when the pipeline is gone.
async fn ask_bd_seq(news: &mpsc::Sender<News>) -> Option<u8> {
    let (ask, answer) = oneshot::channel();
    news.send(News::Calls(ask)).await.ok()?;
    answer.await.ok()
}

/// 0 to 1, seeded by the system: a city's gateways, and two under one name, do not all come at
/// once.
fn chance() -> f64 {
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1_u64 << 53) as f64
}

fn connect(broker: &Broker, bd_seq: u8, now: Timestamp) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(&broker.user, &broker.host, broker.port);
    options.set_credentials(&broker.user, &broker.password);
    options.set_clean_session(true);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    options.set_inflight(UNACKED_MAX);
    options.set_last_will(LastWill::new(
        node_topic(broker, NodeMessage::Death),
        build_node_death(now, bd_seq),
        QoS::AtLeastOnce,
        false,
    ));
    let (client, mut events) = AsyncClient::new(options, CLIENT_QUEUE);
    let mut network = events.network_options();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (client, events)
}

fn node_topic(broker: &Broker, message: NodeMessage) -> String {
    Topic::Node {
        group: &broker.group,
        message,
        node: &broker.user,
    }
    .to_string()
}

/// One connection.
struct Line<'a> {
    news: &'a mpsc::Sender<News>,
    connection: u64,
    /// Tickets of packets that have been handed to the client, in order.
    tickets: Mutex<VecDeque<u64>>,
}

impl Line<'_> {
    /// Since when the connection was up, if it was, and why it is no more.
    async fn serve(
        &self,
        client: AsyncClient,
        events: EventLoop,
        broker: &Broker,
        packets: &mut mpsc::Receiver<Packet>,
    ) -> (Option<Instant>, Ended) {
        let mut up_since = None;
        let ended = tokio::select! {
            ended = self.listen(&client, events, broker, &mut up_since) => ended,
            over = self.speak(&client, packets) => over,
        };
        (up_since, ended)
    }

    /// Hands packets to the client. Ends when the pipeline is gone and there was no last packet.
    async fn speak(&self, client: &AsyncClient, packets: &mut mpsc::Receiver<Packet>) -> Ended {
        while let Some(packet) = packets.recv().await {
            if packet.connection != self.connection {
                continue;
            }
            self.tickets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(packet.ticket);
            let topic = packet.topic.as_ref();
            let sent = client
                .publish(topic, QoS::AtLeastOnce, false, packet.payload)
                .await;
            let sent = match sent {
                Ok(()) if packet.is_last => client.disconnect().await,
                other => other,
            };
            if sent.is_err() || packet.is_last {
                // The other half sees the end of the connection.
                return std::future::pending().await;
            }
        }
        Ended::Over
    }

    async fn listen(
        &self,
        client: &AsyncClient,
        mut events: EventLoop,
        broker: &Broker,
        up_since: &mut Option<Instant>,
    ) -> Ended {
        let mut on_their_way: HashMap<u16, u64> = HashMap::new();
        loop {
            let event = match events.poll().await {
                Ok(event) => event,
                Err(error) => return Ended::Connection(Box::new(error)),
            };
            let news = match event {
                Event::Incoming(Mqtt::ConnAck(_)) => {
                    let mut wanted = vec![node_topic(broker, NodeMessage::Command)];
                    if let Some(host) = &broker.host_id {
                        wanted.push(Topic::Host { host }.to_string());
                    }
                    let filters = wanted
                        .into_iter()
                        .map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce));
                    if client.try_subscribe_many(filters).is_err() {
                        return Ended::Refused;
                    }
                    continue;
                }
                Event::Incoming(Mqtt::SubAck(answer)) => {
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                        return Ended::Refused;
                    }
                    tracing::info!(host = broker.host, port = broker.port, "connected");
                    *up_since = Some(monotonic());
                    News::Connected {
                        connection: self.connection,
                    }
                }
                Event::Incoming(Mqtt::Publish(publish)) => News::Arrived {
                    topic: publish.topic,
                    payload: publish.payload.to_vec(),
                },
                Event::Outgoing(Outgoing::Publish(id)) => {
                    let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(ticket @ 1..) = tickets.pop_front() {
                        on_their_way.insert(id, ticket);
                    }
                    continue;
                }
                Event::Incoming(Mqtt::PubAck(ack)) => match on_their_way.remove(&ack.pkid) {
                    Some(ticket) => News::Acked(ticket),
                    None => continue,
                },
                Event::Outgoing(Outgoing::Disconnect) => {
                    hang_up(events).await;
                    return Ended::Left;
                }
                _ => continue,
            };
            if self.news.send(news).await.is_err() {
                return self.flush(events).await;
            }
        }
    }

    /// The pipeline is gone: what it said last still goes out.
    async fn flush(&self, mut events: EventLoop) -> Ended {
        loop {
            match events.poll().await {
                Ok(Event::Outgoing(Outgoing::Disconnect)) => {
                    hang_up(events).await;
                    return Ended::Over;
                }
                Err(_) => return Ended::Over,
                Ok(_) => {}
            }
        }
    }
}

/// Reads on until the broker closes the connection. A socket that is closed with something unread
/// is reset, and what was said last may be lost with it.
async fn hang_up(mut events: EventLoop) {
    let ends = async { while events.poll().await.is_ok() {} };
    if tokio::time::timeout(HANG_UP_MAX, ends).await.is_err() {
        tracing::debug!("the broker did not close the connection");
    }
}

#[cfg(test)]
pub(crate) mod peer;

#[cfg(test)]
mod tests;
