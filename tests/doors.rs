//! The doors of a centre under load: a thousand connections that say nothing, at a process with few
//! files. The built binary as a child; everything on loopback and free ports.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use davy_gateway::clock::monotonic;
use rumqttc::{Client, ConnectReturnCode, Event, MqttOptions, Packet};

const SITE: &str = include_str!("../core/src/watch/testdata/site.toml");
const POINTS: &str = include_str!("../core/src/watch/testdata/points.csv");
const STANDARDS: &str = include_str!("../core/src/config/testdata/good/standards.toml");

/// Longest wait for one thing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Idle connections at each door. Together they are more than the files of most systems' processes,
/// and at HTTP more than it has places.
const IDLE: usize = 1_100;

/// Lines that the centre may say meanwhile.
const LINES_MAX: usize = 50;

/// A centre under a limit of files, ended with this.
struct Centre {
    child: Child,
    http: SocketAddr,
    mqtt: SocketAddr,
    folder: tempfile::TempDir,
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// `davy serve` by way of a shell that sets a limit first.
fn serve(folder: &Path, http: SocketAddr, mqtt: SocketAddr, limit: &str) -> Command {
    let centre = format!(
        "site = \"site.toml\"\ndata = \"data\"\nhost_id = \"davy\"\n\n\
         [http]\nlisten = \"{http}\"\n\n\
         [mqtt]\nlisten = \"{mqtt}\"\nuser = \"centre\"\naccounts = \"accounts.toml\"\n"
    );
    let accounts = "centre = \"a\"\n\n[gateways]\ngw = \"b\"\nother = \"c\"\n";
    for (name, text) in [
        ("davy.toml", centre.as_str()),
        ("accounts.toml", accounts),
        ("site.toml", SITE),
        ("points.csv", POINTS),
        ("standards.toml", STANDARDS),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut command = Command::new("sh");
    let script = format!("{limit} && exec \"$0\" serve --config \"$1\"");
    let davy = env!("CARGO_BIN_EXE_davy");
    command.args(["-c", &script, davy]);
    command.arg(folder.join("davy.toml")).stdin(Stdio::null());
    command
}

impl Centre {
    fn start(limit: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (http, mqtt) = (free(), free());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = serve(folder.path(), http, mqtt, limit);
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        let mut centre = Self {
            child,
            http,
            mqtt,
            folder,
        };
        let begun = monotonic();
        while get(http, "/readyz").is_none_or(|answer| !answer.contains(" 200 ")) {
            let ended = centre.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", centre.said());
            assert!(monotonic() - begun < PATIENCE, "{}", centre.said());
        }
        centre
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An answer of HTTP, if there is one.
fn get(at: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Connections that say nothing.
fn idle(at: SocketAddr) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect_timeout(&at, PATIENCE).unwrap();
    (0..IDLE).map(connect).collect()
}

/// Signs in as a gateway that starts anew.
fn sign_in(at: SocketAddr) {
    let mut options = MqttOptions::new("gw", "127.0.0.1", at.port());
    options.set_credentials("gw", "b");
    let (_client, mut events) = Client::new(options, 1);
    let first = events.recv_timeout(PATIENCE);
    let Ok(Ok(Event::Incoming(Packet::ConnAck(answer)))) = first else {
        panic!("{first:?}");
    };
    assert_eq!(answer.code, ConnectReturnCode::Success);
}

#[test]
fn a_thousand_silent_connections_shut_nobody_out() {
    // This test holds the other ends.
    davy_gateway::files::allow(4 * IDLE as u64).unwrap();
    // What systemd gives: few files, and as many as are asked for.
    let centre = Centre::start("ulimit -Sn 1024");
    let (_http, _mqtt) = (idle(centre.http), idle(centre.mqtt));
    let alive = get(centre.http, "/healthz").unwrap();
    assert!(alive.starts_with("HTTP/1.1 200 "), "{alive}");
    sign_in(centre.mqtt);
    let metrics = get(centre.http, "/metrics").unwrap();
    assert!(metrics.contains("\ndavy_mqtt_connections 1"), "{metrics}");
    let lines = centre.said().lines().count();
    assert!(lines <= LINES_MAX, "{lines} lines");
}

#[test]
fn a_centre_whose_connections_would_not_fit_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve(folder.path(), free(), free(), "ulimit -n 1024");
    let Output { status, stdout, .. } = command.output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert!(!status.success(), "{said}");
    let needed = davy::serve::FILES;
    let wanted = format!("found a hard limit of 1024; allowed: {needed} or more");
    assert!(said.contains(&wanted), "{said}");
}
