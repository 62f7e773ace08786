//! The centre at its broker: what gateways are told, and what a bundle unfolds to.

use std::net::SocketAddr;

use davy_core::alarm::Command as AlarmCommand;
use davy_core::delivery::MessageNumber;
use davy_core::sparkplug::{Commands, NodeBirth, build_node_birth, read_commands};
use davy_core::watch::Input;
use rumqttc::{ConnAck, ConnectReturnCode, SubAck, SubscribeReasonCode};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::broker::Accounts;
use crate::serve::{self, Mqtt, Options, Serving};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

async fn serve(folder: &TempDir) -> Serving {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = Options {
        data: folder.path().to_path_buf(),
        files: crate::centre::tests::good_files(),
        mqtt: Mqtt::Embedded {
            listen: free,
            accounts: Accounts {
                group: "works".into(),
                gateways: [("gw".to_owned(), "secret".to_owned())].into(),
                centre: ("centre".into(), "secret".into()),
            },
        },
        host_id: "davy".into(),
        http: free,
        influxdb: None,
        accepted: crate::centre::Accepted::default(),
        retention: crate::retention::Retention::default(),
    };
    serve::start(options, |_| ()).await.unwrap()
}

/// A gateway that listens to the host's STATE.
struct Gateway(AsyncClient, EventLoop);

impl Gateway {
    async fn at(serving: &Serving) -> Self {
        let (host, port) = &serving.mqtt;
        let mut options = MqttOptions::new("gw", host, *port);
        options.set_credentials("gw", "secret");
        let (client, events) = AsyncClient::new(options, 16);
        let state = "spBv1.0/STATE/davy";
        client.subscribe(state, QoS::AtLeastOnce).await.unwrap();
        Self(client, events)
    }

    /// Waits until the host says that it is there, or that it is not.
    async fn hears(&mut self, online: bool) {
        let heard = async {
            loop {
                if let Event::Incoming(Packet::Publish(said)) = self.1.poll().await.unwrap() {
                    let said: HostState = serde_json::from_slice(&said.payload).unwrap();
                    if said.online == online {
                        return;
                    }
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        assert!(heard.is_ok(), "STATE online: {online}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_centre_that_cannot_commit_says_offline_until_it_can() {
    let folder = TempDir::new().unwrap();
    let serving = serve(&folder).await;
    let mut gateway = Gateway::at(&serving).await;
    gateway.hears(true).await;
    let health = serving.centre.health();
    health.test_full.store(true, Ordering::Release);
    let centre = serving.centre.clone();
    let command = tokio::spawn(async move {
        let command = AlarmCommand::Acknowledge {
            occurrence: 99,
            by: "Li".into(),
            comment: None,
        };
        centre.command(Input::Alarm(command)).await
    });
    gateway.hears(false).await;
    health.test_full.store(false, Ordering::Release);
    gateway.hears(true).await;
    assert!(command.await.unwrap().is_ok());
    drop(gateway.0);
    serving.stop().await;
}

/// The broker's end of the centre's connection, as the test plays it.
struct Peer(TcpStream, Vec<u8>);

impl Peer {
    async fn says(&mut self, packet: Packet) {
        let mut bytes = <_>::default();
        packet.write(&mut bytes, PACKET_BYTES_MAX).unwrap();
        self.0.write_all(&bytes).await.unwrap();
    }

    /// What the centre says next.
    async fn hears(&mut self) -> Packet {
        loop {
            let mut bytes = <_>::default();
            Extend::extend(&mut bytes, self.1.iter());
            if let Ok(packet) = Packet::read(&mut bytes, PACKET_BYTES_MAX) {
                self.1 = bytes.to_vec();
                return packet;
            }
            assert!(self.0.read_buf(&mut self.1).await.unwrap() > 0, "gone");
        }
    }
}

fn node_birth() -> Vec<u8> {
    let birth = NodeBirth {
        bd_seq: 0,
        last: MessageNumber {
            run: 1,
            sequence: 0,
        },
        stored: &[],
        lost: 0,
        instance: "first",
    };
    build_node_birth(Timestamp(1), 0, &birth)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_born_before_deaths_are_heard_is_unseen_and_asked_for_births() {
    let folder = TempDir::new().unwrap();
    let files = crate::centre::tests::good_files();
    let (outbound, answers) = mpsc::channel(16);
    let replay = crate::centre::Accepted::default();
    let (centre, thread) = Centre::start(folder.path(), files, replay, outbound).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = Link {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        account: ("centre".into(), "secret".into()),
        group: "works".into(),
        host_id: "davy".into(),
        gateways: vec!["gw".into()],
        is_embedded: true,
    };
    let (counters, cancel) = (Arc::default(), CancellationToken::new());
    let (own, ends) = (Arc::clone(&counters), cancel.clone());
    let running = tokio::spawn(run(link, centre.clone(), answers, own, ends));
    let online = || centre.ask(|watch| watch.gateways().get("gw").is_some_and(|gw| gw.online));

    let mut peer = Peer(listener.accept().await.unwrap().0, Vec::new());
    assert!(matches!(peer.hears().await, Packet::Connect(_)));
    let welcome = ConnAck::new(ConnectReturnCode::Success, false);
    peer.says(Packet::ConnAck(welcome)).await;
    let Packet::Subscribe(wanted) = peer.hears().await else {
        panic!("SUBSCRIBE");
    };
    // By way of the embedded broker; then it dies, and nobody has subscribed to deaths.
    let topic = "spBv1.0/works/NBIRTH/gw";
    take(&centre, topic, &node_birth(), &counters)
        .await
        .unwrap();
    assert!(online().await.unwrap());

    let granted = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
    let granted = SubAck::new(wanted.pkid, granted);
    peer.says(Packet::SubAck(granted)).await;
    // Before that it is told what is committed, which asks for nothing.
    let rebirth = Commands {
        known: vec![Command::Rebirth],
        ..Commands::default()
    };
    loop {
        if let Packet::Publish(said) = peer.hears().await
            && said.topic == "spBv1.0/works/NCMD/gw"
            && read_commands(&said.payload).unwrap() == rebirth
        {
            break;
        }
    }
    assert!(!online().await.unwrap(), "it may be dead");
    cancel.cancel();
    running.await.unwrap();
    centre.stop().await;
    tokio::task::spawn_blocking(move || thread.join().unwrap())
        .await
        .unwrap();
}

#[test]
fn a_death_that_is_far_too_long_is_taken_without_its_payload() {
    let (death, data) = ("spBv1.0/works/DDEATH/gw/any", "spBv1.0/works/DDATA/gw/any");
    let long = vec![1; DEATH_BYTES_MAX + 1];
    assert_eq!(kept(death, &long), b"");
    assert_eq!(kept(death, &long[1..]), &long[1..]);
    assert_eq!(kept(data, &long), long);
}

#[test]
fn what_is_no_message_is_no_bad_bundle() {
    let unfolded = unfold("works", "gw", b"\xff\xff", Timestamp(0)).unwrap();
    assert!(unfolded.is_empty());
}
