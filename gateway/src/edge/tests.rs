//! A whole gateway: simulated instruments before it, a broker that the test plays behind it.

use std::collections::BTreeSet;
use std::path::Path;

use davy_core::delivery::Ranges;
use davy_core::reading::Timestamp;
use davy_core::sparkplug::{
    Command, DeviceMessage, HostState, NodeMessage, RunRanges, Topic, build_commands, read_birth,
    walk,
};
use tokio::net::TcpListener;

use super::*;
use crate::publish::link::peer::{Client, Peer};
use crate::publish::session::Phase;
use crate::simulator::{Action, Fault, Simulator, Story, Target};

const GATEWAY: &str = "tank-farm";

struct Plant {
    options: Options,
    simulator: Arc<Simulator>,
    peer: Peer,
    cancel: CancellationToken,
    _folder: tempfile::TempDir,
}

/// A plant two minutes after its story began.
async fn plant(story: Story) -> Plant {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/site.toml");
    let config = Arc::new(crate::config::read_site(&site).expect("the demo has no fault"));
    let cancel = CancellationToken::new();
    let simulator = Arc::new(Simulator::new(&config, 1, story, Arc::new(|| 120.0)));
    let mut addresses = HashMap::new();
    for bus in &find(&config, GATEWAY).expect("it is there").buses {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("address");
        addresses.insert(bus.name.clone(), address);
        let (simulator, name) = (Arc::clone(&simulator), bus.name.clone());
        let cancel = cancel.clone();
        tokio::spawn(async move { simulator.serve(listener, GATEWAY, &name, cancel).await });
    }
    let siren = addresses.values().next().copied();
    let peer = Peer::listen().await;
    let folder = tempfile::tempdir().expect("folder");
    let options = Options {
        config,
        gateway: GATEWAY.into(),
        data: folder.path().to_owned(),
        mqtt: Mqtt {
            host: "127.0.0.1".into(),
            port: peer.port(),
            password: "secret".into(),
            host_id: Some("davy".into()),
            acknowledge: Acknowledge::Centre,
        },
        addresses,
        annunciator_address: siren,
        outbox: Limits {
            bytes_max: 1 << 30,
            age_max: Duration::from_hours(72),
        },
        backlog_rate: 50,
        status: Arc::new(Status::default()),
        clock: Clock::system(),
    };
    Plant {
        options,
        simulator,
        peer,
        cancel,
        _folder: folder,
    }
}

/// The next message: its kind and unit, and its payload.
async fn next(client: &mut Client) -> (String, Vec<u8>) {
    let message = client.message().await.expect("there").expect("a message");
    let what = match Topic::parse(&message.topic).expect("a topic") {
        Topic::Node { message, node, .. } => format!("{} {node}", message.word()),
        Topic::Device {
            message, device, ..
        } => format!("{} {device}", message.word()),
        Topic::Host { .. } => panic!("a gateway sends no STATE"),
    };
    (what, message.payload.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_travel_from_the_register_to_the_host_and_are_freed() {
    let plant = plant(Story::quiet()).await;
    let status = Arc::clone(&plant.options.status);
    let group = plant.options.config.group.clone();
    let running = tokio::spawn(run(plant.options, plant.cancel.clone()));
    let (mut client, _) = plant.peer.accept().await;
    let (online, timestamp) = (true, Timestamp(1));
    let state = HostState { online, timestamp };
    client
        .say("spBv1.0/STATE/davy", state.to_json().into_bytes())
        .await;

    let (what, birth) = next(&mut client).await;
    assert_eq!(what, format!("{} {GATEWAY}", NodeMessage::Birth.word()));
    let instance = read_birth(&birth).expect("birth").instance;
    let mut born = BTreeSet::new();
    let mut polled = BTreeSet::new();
    let mut ranges = Ranges::default();
    let mut run = 0;
    while polled.len() < 2 {
        let (what, payload) = next(&mut client).await;
        let (kind, unit) = what.split_once(' ').expect("two words");
        if kind == DeviceMessage::Birth.word() {
            born.insert(unit.to_owned());
        } else if kind == DeviceMessage::Data.word() {
            assert!(born.contains(unit), "{unit} before its birth");
            let number = walk(&payload).expect("data").number().expect("number");
            let number = number.expect("numbered");
            (run, _) = (number.run, ranges.insert(number.sequence));
            polled.insert(unit.to_owned());
        }
    }
    assert_eq!(status.phase(), Phase::Born);
    assert_eq!(status.account().committed, 0, "nobody has committed");
    let committed = Command::Committed(vec![RunRanges {
        run,
        ranges: ranges.clone(),
    }]);
    let payload = build_commands(Timestamp(1), instance.as_deref(), &[committed]);
    client
        .say(&format!("spBv1.0/{group}/NCMD/{GATEWAY}"), payload)
        .await;
    let freed: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    while status.account().committed < freed {
        next(&mut client).await;
    }
    plant.cancel.cancel();
    let mut last = String::new();
    while let Ok(Some(message)) = client.message().await {
        last = message.topic;
    }
    drop(client);
    assert_eq!(last, format!("spBv1.0/{group}/NDEATH/{GATEWAY}"));
    running.await.expect("no panic").expect("no error");
    let account = status.account();
    assert!(account.balances());
    assert_eq!(account.committed, freed);
    assert!(status.buses().iter().all(|bus| !bus.units.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_siren_sounds_when_the_centre_is_pulled() {
    let tank = Target::equipment("TF.CL2-T2");
    let leak = Fault::Leak { grams_per_s: 2.0 };
    let leak = (1.0, Action::Inject(tank, leak));
    let plant = plant(Story::new(vec![leak], None)).await;
    let siren = |on| {
        let simulator = Arc::clone(&plant.simulator);
        async move {
            while simulator.annunciates(GATEWAY, 0) != on {
                tokio::task::yield_now().await;
            }
        }
    };
    let running = tokio::spawn(run(plant.options, plant.cancel.clone()));
    siren(true).await;
    let (mut client, _) = plant.peer.accept().await;
    let (online, timestamp) = (true, Timestamp(1));
    let state = HostState { online, timestamp };
    client
        .say("spBv1.0/STATE/davy", state.to_json().into_bytes())
        .await;
    siren(false).await;
    drop(client);
    siren(true).await;
    plant.cancel.cancel();
    running.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn an_unknown_gateway_does_not_start() {
    let mut plant = plant(Story::quiet()).await;
    plant.options.gateway = "nobody".into();
    let error = run(plant.options, plant.cancel).await.expect_err("refused");
    assert!(matches!(error, EdgeError::UnknownGateway { id } if id == "nobody"));
}
