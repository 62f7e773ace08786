//! Writes against a server that answers as a script says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use davy_core::reading::{PointId, Quality, Timestamp};
use tempfile::TempDir;

use super::super::tests::{files, runtime};
use super::*;

/// What the server does with a body: a status and words, or nothing at all.
type Script = Box<dyn FnMut(&str) -> Option<(u16, &'static str)> + Send>;

const INVALID: &str = r#"{"code":"invalid","message":"unable to parse"}"#;

/// A server on a port of its own.
struct Server {
    url: String,
    /// Head and body of each request.
    seen: Arc<Mutex<Vec<(String, String)>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(mut script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (noted, ending) = (Arc::clone(&seen), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if ending.load(Ordering::Acquire) {
                    break;
                }
                let mut stream = stream.unwrap();
                let Some((head, body)) = read_request(&mut stream) else {
                    continue;
                };
                let answer = script(&body);
                noted.lock().unwrap().push((head, body));
                if let Some((status, words)) = answer {
                    let length = words.len();
                    write!(
                        stream,
                        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{words}"
                    )
                    .unwrap();
                } else {
                    silent.push(stream); // open, and nothing said
                }
            }
        });
        Self {
            url,
            seen,
            ends,
            thread: Some(thread),
        }
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16_384]);
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let lower = head.to_lowercase();
        let length = lower.split_once("content-length: ")?.1;
        let length: usize = length.lines().next()?.trim().parse().ok()?;
        if body.len() >= length {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

struct Setup {
    folder: TempDir,
    influx: Influx,
    config: Config,
    runtime: Runtime,
}

impl Setup {
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = davy_core::config::check(&files()).unwrap();
        let influx = open(&folder, url, &config);
        Self {
            folder,
            influx,
            config,
            runtime: runtime(),
        }
    }

    fn take(&mut self, values: impl IntoIterator<Item = f64>) {
        for (at, value) in (0..).zip(values) {
            let reading = Reading::new(PointId(0), value, Quality::Good, Timestamp(at));
            self.influx.take(&self.config, &reading, Lane::Live);
        }
    }

    fn commit(&mut self, cursor: u64) -> Result<(), SinkError> {
        self.influx.commit(cursor, Some(b"state"), &self.runtime)
    }

    fn aside(&self) -> Vec<String> {
        let file = rusqlite::Connection::open(self.folder.path().join("influxdb.sqlite")).unwrap();
        let mut select = file.prepare("SELECT line FROM aside ORDER BY id").unwrap();
        let lines = select.query_map([], |row| row.get(0)).unwrap();
        lines.map(Result::unwrap).collect()
    }

    /// What is there after a crash.
    fn reopen(&mut self, url: &str) {
        self.influx = open(&self.folder, url, &self.config);
    }
}

fn open(folder: &TempDir, url: &str, config: &Config) -> Influx {
    let to = InfluxConfig {
        url: url.into(),
        org: "works".into(),
        bucket: "davy".into(),
        token: "secret".into(),
    };
    let mut influx = Influx::open(folder.path(), to, CancellationToken::new()).unwrap();
    influx.timeout = Duration::from_millis(200);
    influx.configure(config);
    influx
}

#[test]
fn lines_are_written_in_batches_and_the_cursor_follows() {
    let server = Server::new(Box::new(|_| Some((204, ""))));
    let mut setup = Setup::new(&server.url);
    setup.take((0..12_000).map(f64::from));
    setup.commit(7).unwrap();
    let seen = server.seen.lock().unwrap();
    let lines: Vec<_> = seen.iter().map(|(_, body)| body.lines().count()).collect();
    assert_eq!(lines, [5_000, 5_000, 2_000]);
    let (head, body) = &seen[0];
    assert!(head.starts_with("POST /api/v2/write?bucket=davy&org=works&precision=ms HTTP/1.1"));
    assert!(
        head.to_lowercase().contains("authorization: token secret"),
        "{head}"
    );
    let first =
        "reading,gateway=gw,kind=cl2,source=TF,tag=TF.gas value=0.0,quality=0i,lane=\"live\" 0\n";
    assert!(body.starts_with(first), "{body}");
    drop(seen);
    setup.reopen(&server.url);
    assert_eq!(setup.influx.cursor(), 7);
    assert_eq!(setup.influx.state().unwrap().unwrap(), b"state");
}

#[test]
fn faulty_lines_are_put_aside_and_all_others_are_stored() {
    let faulty = |body: &str| body.contains("value=3.0,") || body.contains("value=77.0,");
    let server = Server::new(Box::new(move |body| {
        Some(if faulty(body) {
            (400, INVALID)
        } else {
            (204, "")
        })
    }));
    let mut setup = Setup::new(&server.url);
    setup.take((0..100).map(f64::from));
    setup.commit(1).unwrap();
    let seen = server.seen.lock().unwrap();
    let stored = seen.iter().filter(|(_, body)| !faulty(body));
    let lines: usize = stored.map(|(_, body)| body.lines().count()).sum();
    assert_eq!(lines, 98, "each of the others once");
    assert!(seen.len() <= 2 * 2 * 7 + 1, "{} requests", seen.len());
    drop(seen);
    let aside = setup.aside();
    assert_eq!(aside.len(), 2);
    assert!(aside[0].contains("value=3.0,") && aside[1].contains("value=77.0,"));
    assert_eq!(setup.influx.refused(), 2);
    setup.reopen(&server.url);
    assert_eq!((setup.influx.refused(), setup.influx.cursor()), (2, 1));
}

#[test]
fn what_the_server_dropped_of_a_batch_is_counted() {
    let partial = r#"{"code":"unprocessable entity","message":"partial write: dropped=4"}"#;
    let server = Server::new(Box::new(move |_| Some((422, partial))));
    let mut setup = Setup::new(&server.url);
    setup.take((0..10).map(f64::from));
    setup.commit(1).unwrap();
    assert_eq!((server.requests(), setup.influx.refused()), (1, 4));
}

/// The first answers are `answer`; nothing may be lost, and what was stored is not sent again.
fn check_kept(answer: Option<(u16, &'static str)>, cause: Cause) {
    let mut batch = 0;
    let server = Server::new(Box::new(move |_| {
        batch += 1;
        // The first batch is stored, the second is not at first.
        if batch == 2 || batch == 3 {
            answer
        } else {
            Some((204, ""))
        }
    }));
    let mut setup = Setup::new(&server.url);
    setup.take((0..6_000).map(f64::from));
    for _ in 0..2 {
        let error = setup.commit(1).unwrap_err();
        assert_eq!(error.cause, cause, "{error}");
        assert_eq!(setup.influx.cursor(), 0);
    }
    setup.commit(1).unwrap();
    assert_eq!(setup.influx.cursor(), 1);
    assert_eq!((setup.influx.refused(), setup.aside().len()), (0, 0));
    let seen = server.seen.lock().unwrap();
    let lines: Vec<_> = seen.iter().map(|(_, body)| body.lines().count()).collect();
    assert_eq!(lines, [5_000, 1_000, 1_000, 1_000]);
    assert!(seen[1..].iter().all(|(_, body)| *body == seen[1].1));
}

#[test]
fn a_busy_or_failing_server_is_tried_again() {
    for status in [408, 429, 500, 503] {
        check_kept(
            Some((status, r#"{"code":"x","message":"y"}"#)),
            Cause::Passing,
        );
    }
}

#[test]
fn what_only_a_person_can_put_right_is_kept() {
    for status in [200, 401, 403, 404] {
        check_kept(Some((status, "")), Cause::Person);
    }
    check_kept(Some((400, "<html>from a proxy</html>")), Cause::Person);
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_the_timeout() {
    check_kept(None, Cause::Passing);
}

#[test]
fn nothing_is_lost_where_nobody_listens() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let mut setup = Setup::new(&url);
    setup.take([1.0]);
    for _ in 0..3 {
        let error = setup.commit(1).unwrap_err();
        assert_eq!(error.cause, Cause::Passing);
        assert!(error.what.contains("refused"), "{error}");
    }
    assert_eq!((setup.influx.cursor(), setup.influx.waiting.len()), (0, 1));
}

#[test]
fn a_stop_does_not_wait_for_the_server() {
    let server = Server::new(Box::new(|_| None));
    let mut setup = Setup::new(&server.url);
    setup.influx.timeout = Duration::from_hours(1);
    setup.take([1.0]);
    setup.influx.stop.cancel();
    let error = setup.commit(1).unwrap_err();
    assert_eq!(error.cause, Cause::Stopping);
    assert_eq!(setup.influx.cursor(), 0);
}

#[test]
fn addresses_that_the_client_would_misread_are_refused() {
    let check = |url: &str| {
        let config = InfluxConfig {
            url: url.into(),
            org: "o".into(),
            bucket: "b".into(),
            token: String::new(),
        };
        config.check().is_ok()
    };
    for good in [
        "http://127.0.0.1:8086",
        "https://influx.works.cn/",
        "http://[::1]:1",
    ] {
        assert!(check(good), "{good}");
    }
    let bad = [
        "",
        "127.0.0.1:8086",
        "/a",
        "ftp://a",
        "http://a/influx",
        "http://a?b",
        "http://u@a",
        "http://a:99999",
        "http://1.2.3.4.5",
    ];
    for bad in bad {
        assert!(!check(bad), "{bad}");
    }
}
