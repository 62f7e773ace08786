//! Drives the built binary as a stranger would: over its command line, HTTP and MQTT only.
//!
//! Starts the demo on free ports in a folder of its own, sees a gas alarm of level 2 come,
//! acknowledges it, sees the ledger's entry with its evidence, kills the process, starts it again,
//! finds the same state, and has the journal proved. Each check is a line; the last line is
//! `N passed, N failed`, and a failure is the exit code.
//!
//! `DAVY_BIN` names the binary; without it the one that cargo built for this test is driven. Waits
//! end with an event of the live stream (which beats once a second) and are bounded by
//! [`PATIENCE`]; nothing sleeps.

#![allow(clippy::print_stdout, reason = "its lines are what it is for")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Longest wait for one thing. The demo's leak passes level 2 about half a minute after the start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who acknowledges. Long enough to be found in a file.
const OPERATOR: &str = "smoke-operator-Wang";

/// The same length: who did not.
const FORGER: &str = "smoke-operator-Wong";

fn main() -> ExitCode {
    // `cargo test` may ask for a list, or for tests of another name.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filtered = arguments
        .iter()
        .any(|word| !word.starts_with('-') && !"smoke".contains(word.as_str()));
    if arguments.iter().any(|word| word == "--list") {
        println!("smoke: test");
        return ExitCode::SUCCESS;
    }
    if filtered {
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ran = runtime
        .context("starting the runtime")
        .and_then(|runtime| runtime.block_on(story(&mut report)));
    if let Err(error) = ran {
        report.note::<()>("the story goes on to its end", Err(error));
    }
    println!("{} passed, {} failed", report.passed, report.failed);
    if report.failed == 0 && report.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What was checked, a line each.
#[derive(Default)]
struct Report {
    passed: u32,
    failed: u32,
}

impl Report {
    /// Counts one check and hands on what it found.
    fn note<T>(&mut self, what: &str, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(found) => {
                self.passed += 1;
                println!("ok      {what}");
                Some(found)
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {what}: {error:#}");
                None
            }
        }
    }

    /// As [`Report::note`], for a check that the rest of the story stands on.
    fn must<T>(&mut self, what: &str, outcome: Result<T>) -> Result<T> {
        self.note(what, outcome)
            .with_context(|| format!("cannot go on without: {what}"))
    }
}

async fn story(report: &mut Report) -> Result<()> {
    let davy = Davy::find()?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let data = folder.path().join("data");
    println!(
        "smoke: {} in {}",
        davy.binary.display(),
        folder.path().display()
    );
    report.note("says its version", davy.says(&["--version"], "davy "));
    report.note("finds the demo's configuration sound", davy.finds_sound());
    report.note(
        "names file and line of a fault",
        davy.names_fault(folder.path()),
    );

    let first = report.must("demo starts on free ports", Demo::start(&davy, &data))?;
    report.note("demo names its data folder", first.names(&data));
    doors(report, &first).await;
    let seen = alarm(report, &first).await?;
    let hazard = ledger(report, &first, &seen).await?;
    let before = report.must("lists alarms and gateways", first.state().await)?;

    report.must(
        "dies by kill -9",
        first.end("KILL").and_then(|output| killed(&output)),
    )?;
    let anchor = report.must("chain holds after kill -9", davy.verify(&data, &[]))?;
    report.note(
        "replay gives the same effects",
        davy.verify(&data, &["--replay"]),
    );

    let second = report.must("demo starts again on its data", Demo::start(&davy, &data))?;
    report.note("says that it goes on", second.said("goes on where it was"));
    same_state(report, &second, &before, &seen, &hazard).await?;

    let copy = folder.path().join("copy.sqlite");
    let copied = davy.run(&[OsStr::new("backup"), data.as_os_str(), copy.as_os_str()]);
    report.note(
        "backs up while it runs",
        copied.and_then(|output| succeeded(&output)),
    );
    let anchored = davy.verify(&copy, &["--anchor", &anchor]);
    report.note("backup holds, by an anchor noted before", anchored);
    report.note(
        "another name in the copy is found out",
        forged(&davy, &copy),
    );
    let last = if anchor.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &anchor[..anchor.len() - 1]);
    let refused = davy.verify(&data, &["--anchor", &wrong]);
    report.note("refuses an anchor that is not its own", fails(&refused));

    report.note(
        "ends cleanly by Ctrl-C",
        second.end("INT").and_then(|output| succeeded(&output)),
    );
    report.note(
        "chain holds after Ctrl-C",
        davy.verify(&data, &["--replay"]),
    );
    Ok(())
}

/// What a stranger finds at the doors before signing in.
async fn doors(report: &mut Report, demo: &Demo) {
    report.note("is alive", demo.get("/healthz").await.map(drop));
    let ready = demo
        .wait_for("ready", async |demo| Ok(demo.get("/readyz").await.ok()))
        .await;
    report.note("is ready", ready);
    report.note("serves a page", demo.page().await);
    let described = demo.get("/api/v1/openapi.json").await;
    report.note(
        "describes its interface",
        described.and_then(|document| {
            let paths = document["paths"].as_object().context("no `paths`")?;
            ensure!(paths.len() >= 10, "{} paths", paths.len());
            Ok(())
        }),
    );
    let metrics = demo.text("/metrics").await;
    report.note(
        "counts for Prometheus",
        metrics.and_then(|text| {
            ensure!(text.contains("davy_journal_entries_total "), "found {text}");
            Ok(())
        }),
    );
    let foreign = demo
        .request(Method::GET, "/api/v1/site")
        .header("host", "elsewhere.example");
    report.note(
        "refuses a foreign host name",
        refuses(foreign, StatusCode::MISDIRECTED_REQUEST).await,
    );
    let path = "/api/v1/alarms/1/acknowledge";
    let bare = demo.request(Method::POST, path).json(&json!({}));
    report.note(
        "refuses a command of another page",
        refuses(bare, StatusCode::FORBIDDEN).await,
    );
    let unsigned = demo.command(path, None);
    report.note(
        "refuses a command without a session",
        refuses(unsigned, StatusCode::UNAUTHORIZED).await,
    );
    report.note(
        "MQTT refuses who has no name",
        mqtt_refuses(&demo.mqtt, None),
    );
    report.note(
        "MQTT refuses a wrong password",
        mqtt_refuses(&demo.mqtt, Some(("tank-farm", "guess"))),
    );
    let points = demo.wait_for("good values", async |demo| {
        let points = demo.get("/api/v1/points").await?;
        let points = points.as_array().context("no list")?;
        let good = points
            .iter()
            .filter(|p| p["quality"] == "good" && p["value"].is_number());
        Ok((!points.is_empty() && good.count() * 10 >= points.len() * 9).then_some(points.len()))
    });
    report.note("shows good values of nine points in ten", points.await);
}

/// The alarm that the story follows.
struct Seen {
    occurrence: u64,
    /// The journal's number before it was seen.
    number: u64,
    acknowledged_at: u64,
}

/// Sees an alarm of level 2 come and answers for it.
async fn alarm(report: &mut Report, demo: &Demo) -> Result<Seen> {
    let site = demo.get("/api/v1/site").await?;
    let number = site["number"].as_u64().context("no number")?;
    let found = demo.wait_for("an alarm of level 2", async |demo| {
        let listed = demo.get("/api/v1/alarms").await?;
        let rows = listed["alarms"].as_array().context("no list")?.iter();
        let mut gas = rows.filter(|row| row["setpoint"] == "gas2" && row["state"] == "unacked");
        Ok(gas.next().cloned())
    });
    let row = report.must("an alarm of gas level 2 comes by itself", found.await)?;
    let occurrence = row["occurrence"].as_u64().context("no occurrence")?;
    report.note("it sounds, with the highest priority", {
        let as_it_should = row["sounds"] == true && row["priority"] == 1;
        as_it_should
            .then_some(())
            .with_context(|| format!("found {row}"))
    });
    let path = format!("/api/v1/alarms/{occurrence}");
    report.note(
        "it says cause, action and source of its figure",
        demo.get(&path).await.and_then(|one| {
            for words in [&one["guidance"]["cause"], &one["guidance"]["action"]] {
                ensure!(
                    words["zh"].as_str().is_some_and(|text| !text.is_empty()),
                    "found {words}"
                );
                ensure!(
                    words["en"].as_str().is_some_and(|text| !text.is_empty()),
                    "found {words}"
                );
            }
            for language in ["zh", "en"] {
                let source = one["figure_source"][language].as_str().unwrap_or_default();
                ensure!(source.contains("GB"), "found {source}");
            }
            Ok(())
        }),
    );
    let cookie = report.must("signs in", demo.sign_in().await)?;
    let acknowledge = format!("{path}/acknowledge");
    let sent = demo
        .command(&acknowledge, Some(&cookie))
        .json(&json!({ "comment": "going there" }));
    let answered = answer(sent).await.and_then(|done| {
        done["number"]
            .as_u64()
            .with_context(|| format!("found {done}"))
    });
    let acknowledged_at = report.must("acknowledges it", answered)?;
    report.note(
        "is shown as acknowledged by the operator",
        acknowledged(demo, occurrence).await,
    );
    let again = demo.command(&acknowledge, Some(&cookie)).json(&json!({}));
    report.note(
        "refuses to acknowledge it twice",
        refuses(again, StatusCode::CONFLICT).await,
    );
    Ok(Seen {
        occurrence,
        number,
        acknowledged_at,
    })
}

async fn acknowledged(demo: &Demo, occurrence: u64) -> Result<()> {
    let one = demo.get(&format!("/api/v1/alarms/{occurrence}")).await?;
    ensure!(one["axes"]["acknowledged"] == true, "axes {}", one["axes"]);
    ensure!(
        one["acknowledged_by"] == OPERATOR,
        "by {}",
        one["acknowledged_by"]
    );
    Ok(())
}

/// The ledger's entry of that alarm, with what was frozen.
async fn ledger(report: &mut Report, demo: &Demo, seen: &Seen) -> Result<Value> {
    let found = demo.wait_for("an entry in the ledger", async |demo| {
        let listed = demo.get("/api/v1/hazards").await?;
        let rows = listed.as_array().context("no list")?.iter();
        let mut of_alarm = rows.filter(|row| {
            let occurrences = row["occurrences"].as_array();
            occurrences.is_some_and(|all| all.contains(&seen.occurrence.into()))
        });
        Ok(of_alarm.next().cloned())
    });
    let row = report.must("the alarm is in the ledger by itself", found.await)?;
    let id = row["id"].as_str().context("no id")?.to_owned();
    report.note("the entry is open and has a deadline", {
        let open =
            row["state"] == "found" && row["deadline_ms"].as_i64() > row["found_at_ms"].as_i64();
        open.then_some(()).with_context(|| format!("found {row}"))
    });
    let path = format!("/api/v1/hazards/{id}");
    let filed = demo.wait_for("the entry's evidence", async |demo| {
        let entry = demo.get(&path).await?;
        let evidence = &entry["evidence"];
        let limits = evidence["limits"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        let mut trends = evidence["trend"].as_array().into_iter().flatten();
        let readings = trends.any(|one| {
            one["readings"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        });
        let proved = evidence["entries"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        Ok((limits && readings && proved).then_some(entry))
    });
    let what = "its evidence is frozen: trend, limits, entries of the chain";
    let entry = match report.note(what, filed.await) {
        Some(entry) => entry,
        None => demo.get(&path).await?,
    };
    let actions = entry["evidence"]["actions"].to_string();
    report.note("its evidence names who acknowledged", {
        actions
            .contains(OPERATOR)
            .then_some(())
            .with_context(|| format!("found {actions}"))
    });
    Ok(entry)
}

/// After the restart: the same alarms, the same entry, and the live stream from where one was.
async fn same_state(
    report: &mut Report,
    demo: &Demo,
    before: &State,
    seen: &Seen,
    hazard: &Value,
) -> Result<()> {
    let after = report.must("lists alarms and gateways again", demo.state().await)?;
    report.note("the journal goes on", {
        let goes_on = after.number >= before.number.max(seen.acknowledged_at);
        goes_on
            .then_some(())
            .with_context(|| format!("{} after {}", after.number, before.number))
    });
    report.note(
        "every alarm is there as it was raised",
        before.raised.iter().try_for_each(|alarm| {
            ensure!(after.raised.contains(alarm), "{alarm:?} is gone");
            Ok(())
        }),
    );
    report.note(
        "the acknowledgement is kept",
        acknowledged(demo, seen.occurrence).await,
    );
    let id = hazard["id"].as_str().context("no id")?;
    report.note(
        "the entry is kept with its evidence",
        demo.get(&format!("/api/v1/hazards/{id}"))
            .await
            .and_then(|now| {
                for part in ["id", "alarm", "found_at_ms", "deadline_ms", "rule", "class"] {
                    ensure!(
                        now[part] == hazard[part],
                        "{part}: {} was {}",
                        now[part],
                        hazard[part]
                    );
                }
                ensure!(
                    now["evidence"]["limits"] == hazard["evidence"]["limits"],
                    "limits changed"
                );
                Ok(())
            }),
    );
    let told = demo.told_since(seen).await;
    report.note("the live stream tells what was missed", told);
    let online = demo.wait_for("gateways online", async |demo| {
        let gateways = demo.get("/api/v1/gateways").await?;
        let gateways = gateways.as_array().context("no list")?;
        let all = !gateways.is_empty() && gateways.iter().all(|one| one["online"] == true);
        Ok(all.then_some(()))
    });
    report.note("the gateways are back", online.await);
    let number = after.number;
    let flows = demo.wait_for("new entries", async |demo| {
        let site = demo.get("/api/v1/site").await?;
        Ok((site["number"].as_u64() > Some(number)).then_some(()))
    });
    report.note("readings flow again", flows.await);
    Ok(())
}

/// The binary.
struct Davy {
    binary: PathBuf,
}

impl Davy {
    fn find() -> Result<Self> {
        let binary =
            std::env::var_os("DAVY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_davy").into());
        let binary = PathBuf::from(binary);
        ensure!(
            binary.exists(),
            "`{}` is not there; `make build` builds it",
            binary.display()
        );
        Ok(Self { binary })
    }

    fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Result<Output> {
        let run = Command::new(&self.binary).args(arguments).output();
        run.with_context(|| format!("running {}", self.binary.display()))
    }

    fn says(&self, arguments: &[&str], wanted: &str) -> Result<()> {
        let output = self.run(arguments)?;
        succeeded(&output)?;
        let said = all_of(&output);
        ensure!(said.contains(wanted), "found `{said}`; wanted `{wanted}`");
        Ok(())
    }

    fn finds_sound(&self) -> Result<()> {
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo/site.toml");
        succeeded(&self.run(&[OsStr::new("check"), site.as_os_str()])?)
    }

    fn names_fault(&self, folder: &Path) -> Result<()> {
        let site = folder.join("site.toml");
        let text = "group = \"g\"\nname = { zh = \"x\", en = \"x\" }\npoints = []\nstandards = []\nwrong = 1\n";
        std::fs::write(&site, text).context("writing a site with a fault")?;
        let output = self.run(&[OsStr::new("check"), site.as_os_str()])?;
        let said = all_of(&output);
        ensure!(!output.status.success(), "found it sound");
        ensure!(
            said.contains("site.toml:5") && said.contains("wrong"),
            "found `{said}`"
        );
        Ok(())
    }

    /// Starts the demo on free ports; gives the process and what it says, line by line.
    fn spawn(&self, data: &Path, ready_file: &Path) -> Result<(Child, Receiver<String>)> {
        let _old = std::fs::remove_file(ready_file);
        let free = "127.0.0.1:0";
        let mut command = Command::new(&self.binary);
        command.args([
            "demo",
            "--headless",
            "--http",
            free,
            "--mqtt",
            free,
            "--data",
        ]);
        command.arg(data).arg("--ready-file").arg(ready_file);
        command.env("RUST_LOG", "error").stdout(Stdio::piped());
        let mut process = command.spawn().context("starting the demo")?;
        let said = process.stdout.take().context("its output is no pipe")?;
        let (tell, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Ok((process, lines))
    }

    /// Proves the chain; gives the anchor that it names.
    fn verify(&self, data: &Path, more: &[&str]) -> Result<String> {
        let mut arguments = vec![OsStr::new("verify"), data.as_os_str()];
        arguments.extend(more.iter().map(OsStr::new));
        let output = self.run(&arguments)?;
        succeeded(&output)?;
        let said = all_of(&output);
        ensure!(said.contains("the chain holds"), "found `{said}`");
        let anchor = said
            .split("anchor ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        Ok(anchor
            .with_context(|| format!("no anchor in `{said}`"))?
            .to_owned())
    }
}

fn all_of(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

fn succeeded(output: &Output) -> Result<()> {
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        all_of(output)
    );
    Ok(())
}

fn killed(output: &Output) -> Result<()> {
    use std::os::unix::process::ExitStatusExt;
    ensure!(
        output.status.signal() == Some(9),
        "{}: {}",
        output.status,
        all_of(output)
    );
    Ok(())
}

fn fails<T>(outcome: &Result<T>) -> Result<()> {
    ensure!(outcome.is_err(), "it was taken");
    Ok(())
}

/// Puts another name in place of the operator's in a copy of the journal, which must not pass.
fn forged(davy: &Davy, copy: &Path) -> Result<()> {
    let mut bytes = std::fs::read(copy).context("reading the copy")?;
    let (from, to) = (OPERATOR.as_bytes(), FORGER.as_bytes());
    let places: Vec<usize> = (0..bytes.len().saturating_sub(from.len()))
        .filter(|at| bytes[*at..].starts_with(from))
        .collect();
    ensure!(!places.is_empty(), "`{OPERATOR}` is not in the copy");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    let forged = copy.with_extension("forged");
    std::fs::write(&forged, bytes).context("writing the forged copy")?;
    fails(&davy.verify(&forged, &[]))
}

/// A running demo, killed with this value.
struct Demo {
    process: Child,
    lines: Vec<String>,
    rest: Receiver<String>,
    http: String,
    mqtt: String,
    client: Client,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Does nothing to a process that has ended.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

/// What must outlive a restart.
struct State {
    number: u64,
    raised: Vec<(u64, String, i64)>,
}

impl Demo {
    /// Starts it and waits until it says that it is ready.
    fn start(davy: &Davy, data: &Path) -> Result<Self> {
        let ready_file = data.with_extension("ready");
        let (process, rest) = davy.spawn(data, &ready_file)?;
        let client = Client::builder().read_timeout(PATIENCE).build();
        let mut demo = Self {
            process,
            lines: Vec::new(),
            rest,
            http: String::new(),
            mqtt: String::new(),
            client: client.context("making a client")?,
        };
        while demo.http.is_empty() {
            let line = demo.rest.recv_timeout(PATIENCE);
            let line =
                line.with_context(|| format!("it was never ready; it said {:?}", demo.lines))?;
            if let Some(http) = line.strip_prefix("ready: ") {
                http.trim_end_matches('/').clone_into(&mut demo.http);
            }
            demo.lines.push(line);
        }
        let ready = std::fs::read(&ready_file).context("reading the ready file")?;
        let ready: Value = serde_json::from_slice(&ready).context("the ready file is no JSON")?;
        let told = ready["http"].as_str().unwrap_or_default();
        let same = told.trim_end_matches('/') == demo.http;
        ensure!(
            same,
            "the ready file says {told}, the last line {}",
            demo.http
        );
        let mqtt = ready["mqtt"].as_str();
        mqtt.context("the ready file has no `mqtt`")?
            .clone_into(&mut demo.mqtt);
        Ok(demo)
    }

    fn names(&self, data: &Path) -> Result<()> {
        self.said(&data.display().to_string())
    }

    fn said(&self, wanted: &str) -> Result<()> {
        let found = self.lines.iter().any(|line| line.contains(wanted));
        ensure!(found, "found {:?}; wanted `{wanted}`", self.lines);
        Ok(())
    }

    /// Ends it by a signal and waits for it.
    fn end(mut self, signal: &str) -> Result<Output> {
        let id = self.process.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .context("sending it")?;
        ensure!(sent.success(), "kill: {sent}");
        // Its output closes when it ends: that is the bounded wait.
        let mut said = String::new();
        loop {
            use std::sync::mpsc::RecvTimeoutError;
            match self.rest.recv_timeout(PATIENCE) {
                Ok(line) => said.push_str(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("it did not end"),
            }
        }
        let status = self.process.wait().context("waiting for it")?;
        Ok(Output {
            status,
            stdout: said.into_bytes(),
            stderr: Vec::new(),
        })
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.http))
    }

    fn command(&self, path: &str, cookie: Option<&str>) -> reqwest::RequestBuilder {
        let request = self.request(Method::POST, path).header("x-davy-csrf", "1");
        match cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request.json(&json!({})),
        }
    }

    async fn get(&self, path: &str) -> Result<Value> {
        answer(self.request(Method::GET, path))
            .await
            .with_context(|| format!("GET {path}"))
    }

    async fn text(&self, path: &str) -> Result<String> {
        let answer = self
            .request(Method::GET, path)
            .send()
            .await?
            .error_for_status()?;
        Ok(answer.text().await?)
    }

    async fn page(&self) -> Result<()> {
        let answer = self
            .request(Method::GET, "/")
            .send()
            .await?
            .error_for_status()?;
        let kind = answer
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        ensure!(
            kind.is_some_and(|kind| kind.starts_with("text/html")),
            "found {kind:?}"
        );
        let text = answer.text().await?;
        ensure!(
            text.to_lowercase().contains("<!doctype html>"),
            "found {text}"
        );
        Ok(())
    }

    /// Opens a session; gives its cookie.
    async fn sign_in(&self) -> Result<String> {
        let request = self
            .request(Method::POST, "/api/v1/session")
            .header("x-davy-csrf", "1");
        let answer = request
            .json(&json!({ "user": OPERATOR }))
            .send()
            .await?
            .error_for_status()?;
        let cookie = answer
            .headers()
            .get("set-cookie")
            .context("no cookie")?
            .to_str()?;
        ensure!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "found {cookie}"
        );
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }

    async fn state(&self) -> Result<State> {
        let listed = self.get("/api/v1/alarms").await?;
        let number = listed["number"].as_u64().context("no number")?;
        let rows = listed["alarms"].as_array().context("no list")?.iter();
        let raised = rows.map(|row| {
            let occurrence = row["occurrence"].as_u64().context("no occurrence")?;
            let alarm = row["alarm"].as_str().context("no name")?.to_owned();
            Ok((
                occurrence,
                alarm,
                row["raised_at_ms"].as_i64().context("no time")?,
            ))
        });
        Ok(State {
            number,
            raised: raised.collect::<Result<_>>()?,
        })
    }

    /// The live stream from now on, or after a number.
    async fn live(&self, after: Option<u64>) -> Result<Response> {
        let path = after.map_or_else(
            || "/api/v1/live".into(),
            |n| format!("/api/v1/live?after={n}"),
        );
        Ok(self
            .request(Method::GET, &path)
            .send()
            .await?
            .error_for_status()?)
    }

    /// Asks at once and after every event of the live stream until there is an answer.
    async fn wait_for<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let asking = async {
            let mut live = self.live(None).await?;
            loop {
                if let Some(found) = ask(self).await? {
                    return Ok(found);
                }
                live.chunk().await?.context("the live stream ended")?;
            }
        };
        let found = timeout(PATIENCE, asking).await;
        found.with_context(|| format!("no {what} within {} s", PATIENCE.as_secs()))?
    }

    /// The live stream from before the alarm was raised tells its acknowledgement, with its number.
    async fn told_since(&self, seen: &Seen) -> Result<()> {
        let wanted = format!("\"occurrence\":{}", seen.occurrence);
        let id = format!("id: {}", seen.acknowledged_at);
        let reading = async {
            let mut live = self.live(Some(seen.number)).await?;
            let mut text = String::new();
            loop {
                let chunk = live.chunk().await?.context("the live stream ended")?;
                text.push_str(&String::from_utf8_lossy(&chunk));
                let mut events = text.split("\n\n");
                if events.any(|event| {
                    event.lines().any(|line| line == id)
                        && event.contains(&wanted)
                        && event.contains(OPERATOR)
                }) {
                    return Ok(());
                }
            }
        };
        timeout(PATIENCE, reading)
            .await
            .context("it does not come")?
    }
}

/// The JSON of an answer that is no failure.
async fn answer(request: reqwest::RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
}

/// The request is refused with this status, as problem details.
async fn refuses(request: reqwest::RequestBuilder, wanted: StatusCode) -> Result<()> {
    let answer = request.send().await?;
    let status = answer.status();
    let kind = answer.headers().get("content-type").cloned();
    let text = answer.text().await?;
    ensure!(status == wanted, "{status}; wanted {wanted}: {text}");
    ensure!(
        kind.is_some_and(|kind| kind == "application/problem+json"),
        "no problem details: {text}"
    );
    Ok(())
}

/// Signs in at the broker by hand (MQTT 3.1.1, section 3.1) and is answered with a refusal.
fn mqtt_refuses(address: &str, user: Option<(&str, &str)>) -> Result<()> {
    let field = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let mut body = field("MQTT");
    // Version 4; clean session, and user and password when there are any; keep alive 10 s.
    body.extend([4, if user.is_some() { 0xC2 } else { 0x02 }, 0, 10]);
    body.extend(field("stranger"));
    if let Some((name, password)) = user {
        body.extend([field(name), field(password)].concat());
    }
    let length = u8::try_from(body.len()).context("a short packet")?;
    let mut socket = TcpStream::connect(address).context("connecting")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&[&[0x10, length], body.as_slice()].concat())?;
    let mut reply = [0; 4];
    match socket.read(&mut reply)? {
        // Closed without a word is a refusal as well.
        0 => Ok(()),
        4 if reply[0] == 0x20 && reply[3] != 0 => Ok(()),
        _ => bail!("found {reply:02x?}; wanted a refusal"),
    }
}
