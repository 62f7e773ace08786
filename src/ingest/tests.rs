//! The centre at its broker: what gateways are told, and what a bundle unfolds to.

use std::net::SocketAddr;

use davy_core::alarm::Command as AlarmCommand;
use davy_core::watch::Input;
use tempfile::TempDir;

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
        replay: crate::centre::Replay::MustMatch,
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

#[test]
fn what_is_no_message_is_no_bad_bundle() {
    let unfolded = unfold("works", "gw", b"\xff\xff", Timestamp(0)).unwrap();
    assert!(unfolded.is_empty());
}
