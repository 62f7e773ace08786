//! The link with a broker that the test plays.

use davy_core::sparkplug::read_node_death;
use tokio::sync::mpsc;

use super::peer::{Client, Peer};
use super::*;

const COMMANDS: &str = "spBv1.0/g/NCMD/gw";
const STATE: &str = "spBv1.0/STATE/davy";

struct Running {
    peer: Peer,
    packets: mpsc::Sender<Packet>,
    news: mpsc::Receiver<News>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// A link whose first attempt has this `bdSeq`.
async fn start(bd_seq: u8) -> Running {
    let mut running = begin().await;
    running.give(bd_seq).await;
    running
}

async fn begin() -> Running {
    let peer = Peer::listen().await;
    let broker = Broker {
        host: "127.0.0.1".into(),
        port: peer.port(),
        user: "gw".into(),
        password: "secret".into(),
        group: "g".into(),
        host_id: Some("davy".into()),
    };
    let (packets, packets_out) = mpsc::channel(8);
    let (news_in, news) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let clock = Clock::from_fn(|| Timestamp(5));
    let task = tokio::spawn(run(
        broker,
        clock,
        packets_out,
        news_in,
        Arc::default(),
        cancel.clone(),
    ));
    Running {
        peer,
        packets,
        news,
        cancel,
        task,
    }
}

impl Running {
    /// Answers the next attempt's question.
    async fn give(&mut self, bd_seq: u8) {
        match self.news.recv().await {
            Some(News::Calls(answer)) => answer.send(bd_seq).expect("it waits"),
            other => panic!("{other:?}"),
        }
    }
}

fn packet(connection: u64, ticket: u64, topic: &str) -> Packet {
    Packet {
        connection,
        ticket,
        topic: topic.into(),
        payload: vec![1],
        is_last: false,
    }
}

fn will_bd_seq(client: &Client) -> u64 {
    let will = client.connect.last_will.as_ref().expect("a last will");
    assert_eq!(will.topic, "spBv1.0/g/NDEATH/gw");
    assert!(!will.retain);
    read_node_death(&will.message).expect("NDEATH")
}

#[tokio::test]
async fn packets_go_out_and_their_acknowledgements_come_back() {
    let mut running = start(255).await;
    let (mut client, filters) = running.peer.accept().await;
    let connect = &client.connect;
    assert!(connect.clean_session);
    let login = connect.login.as_ref().expect("login");
    assert!(login.username == "gw" && login.password == "secret");
    assert_eq!(filters, [COMMANDS, STATE]);
    assert_eq!(will_bd_seq(&client), 255);
    let Some(News::Connected { connection }) = running.news.recv().await else {
        panic!("connected");
    };

    let stale = packet(connection + 1, 1, "stale");
    running.packets.send(stale).await.expect("room");
    for (ticket, topic) in [(0, "a"), (7, "b")] {
        let packet = packet(connection, ticket, topic);
        running.packets.send(packet).await.expect("room");
    }
    for topic in ["a", "b"] {
        let message = client.message().await.expect("there").expect("a message");
        assert_eq!(message.topic, topic);
    }
    let acked = running.news.recv().await;
    assert!(matches!(acked, Some(News::Acked(7))), "{acked:?}");

    client.say(COMMANDS, vec![3]).await;
    let arrived = running.news.recv().await;
    assert!(
        matches!(&arrived, Some(News::Arrived { topic, payload }) if topic == COMMANDS && payload == &[3]),
        "{arrived:?}"
    );
    running.cancel.cancel();
}

#[tokio::test]
async fn a_lost_connection_is_made_again_with_a_will_of_its_own() {
    let mut running = start(255).await;
    let (client, _) = running.peer.accept().await;
    assert!(matches!(
        running.news.recv().await,
        Some(News::Connected { connection: 1 })
    ));
    drop(client);
    assert!(matches!(running.news.recv().await, Some(News::Lost)));
    running.give(0).await;
    // Meant for the old connection: it must not come out of the new one.
    running
        .packets
        .send(packet(1, 1, "old"))
        .await
        .expect("room");
    let (mut client, _) = running.peer.accept().await;
    assert_eq!(will_bd_seq(&client), 0);
    let connected = running.news.recv().await;
    assert!(
        matches!(connected, Some(News::Connected { connection: 2 })),
        "{connected:?}"
    );
    running
        .packets
        .send(packet(2, 2, "new"))
        .await
        .expect("room");
    let message = client.message().await.expect("there").expect("a message");
    assert_eq!(message.topic, "new");
    running.cancel.cancel();
}

#[tokio::test]
async fn a_will_that_the_broker_has_is_not_used_again() {
    let mut running = start(7).await;
    let client = running.peer.welcome().await;
    assert_eq!(will_bd_seq(&client), 7);
    // Gone before it was subscribed: the broker may send that will whenever it likes.
    drop(client);
    running.give(8).await;
    let (client, _) = running.peer.accept().await;
    assert_eq!(will_bd_seq(&client), 8);
    running.cancel.cancel();
}

#[tokio::test]
async fn without_a_birth_sequence_it_does_not_call() {
    let mut running = begin().await;
    let Some(News::Calls(answer)) = running.news.recv().await else {
        panic!("it asks first");
    };
    // The pipeline ends instead of answering.
    drop((answer, running.news));
    running.task.await.expect("it ends");
}

#[tokio::test]
async fn the_last_packet_ends_the_connection_with_a_word() {
    let mut running = start(1).await;
    let (mut client, _) = running.peer.accept().await;
    assert!(matches!(
        running.news.recv().await,
        Some(News::Connected { .. })
    ));
    let mut last = packet(1, 0, "spBv1.0/g/NDEATH/gw");
    last.is_last = true;
    running.packets.send(last).await.expect("room");
    let message = client.message().await.expect("there").expect("a message");
    assert_eq!(message.topic, "spBv1.0/g/NDEATH/gw");
    assert_eq!(
        client.message().await.map(|more| more.is_none()),
        Ok(true),
        "DISCONNECT"
    );
    drop(client);
    assert!(matches!(running.news.recv().await, Some(News::Lost)));
    running.cancel.cancel();
    running.task.await.expect("it ends");
}

#[tokio::test]
async fn it_ends_when_the_pipeline_is_gone() {
    let running = start(1).await;
    let (client, _) = running.peer.accept().await;
    drop((running.packets, running.news));
    running.task.await.expect("it ends");
    drop(client);
}

#[test]
fn pauses_are_spread() {
    let all: Vec<_> = (0..200).map(|_| chance()).collect();
    assert!(all.iter().all(|chance| (0.0..1.0).contains(chance)));
    let low = all.iter().filter(|chance| **chance < 0.5).count();
    assert!((60..140).contains(&low), "{low}");
}
