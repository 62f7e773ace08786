//! The binary as it is called: what it says, and by which code it exits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use davy::centre::{Accepted, Centre};
use davy::journal::file_of;
use davy_core::alarm;
use davy_core::config::SourceFile;
use davy_core::watch::Input;
use tempfile::TempDir;
use tokio::sync::mpsc;

const SITE: &str = include_str!("../core/src/watch/testdata/site.toml");
const POINTS: &str = include_str!("../core/src/watch/testdata/points.csv");
const STANDARDS: &str = include_str!("../core/src/config/testdata/good/standards.toml");

fn davy(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
    command.args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Standard output of a call, and whether it succeeded.
fn said(output: &Output) -> (bool, String) {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.success(), said)
}

/// A site with a centre's file in a folder; the data folder.
fn site(folder: &Path, points: &str, listen: &str) -> PathBuf {
    let centre = format!(
        "site = \"site.toml\"\ndata = \"data\"\nhost_id = \"davy\"\n\n\
         [http]\nlisten = \"{listen}\"\n\n\
         [mqtt]\nlisten = \"127.0.0.1:0\"\nuser = \"centre\"\naccounts = \"accounts.toml\"\n"
    );
    let accounts = "centre = \"a\"\n\n[gateways]\ngw = \"b\"\nother = \"c\"\n";
    for (name, text) in [
        ("davy.toml", centre.as_str()),
        ("accounts.toml", accounts),
        ("site.toml", SITE),
        ("points.csv", points),
        ("standards.toml", STANDARDS),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder.join("data")
}

/// A journal with some entries.
fn journal(folder: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let files = [
            ("site.toml", SITE),
            ("points.csv", POINTS),
            ("standards.toml", STANDARDS),
        ]
        .map(|(name, text)| SourceFile {
            name: name.into(),
            text: text.into(),
        });
        let (outbound, _nobody) = mpsc::channel(1);
        let (centre, thread) =
            Centre::start(folder, files.into(), Accepted::default(), outbound).unwrap();
        for occurrence in 1..20 {
            let command = alarm::Command::Acknowledge {
                occurrence,
                by: "Li".into(),
                comment: None,
            };
            centre.command(Input::Alarm(command)).await.unwrap();
        }
        centre.stop().await;
        thread.join().unwrap();
    });
}

fn spoil(folder: &Path, statement: &str) {
    let connection = rusqlite::Connection::open(file_of(folder)).unwrap();
    assert_eq!(connection.execute(statement, []).unwrap(), 1);
}

#[test]
fn check_says_all_faults_with_file_and_line() {
    let folder = TempDir::new().unwrap();
    let spoilt = POINTS
        .replace("TF.a,甲", "TF a,甲")
        .replace("cl2,,mg/m3,0,10,TF,gw,far", "cl2,,mg/m3,10,0,TF,gw,far")
        .replace("TF,other,gas", "TF,nobody,gas");
    site(folder.path(), &spoilt, "127.0.0.1:0");
    for file in ["site.toml", "davy.toml"] {
        let (success, said) = said(&davy(&["check", text(&folder.path().join(file))]));
        assert!(!success);
        for line in ["points.csv:2", "points.csv:4", "points.csv:5"] {
            assert!(said.contains(line), "{line} in:\n{said}");
        }
        assert!(said.contains("nothing was started"), "{said}");
    }
    let output = davy(&["check", text(&folder.path().join("site.toml"))]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn check_finds_the_demo_in_order() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo/site.toml");
    let (success, said) = said(&davy(&["check", text(&demo)]));
    assert!(success, "{said}");
    assert!(said.contains("in order"), "{said}");
}

#[test]
fn serve_starts_nothing_with_faults() {
    let folder = TempDir::new().unwrap();
    let data = site(
        folder.path(),
        &POINTS.replace("TF.a,", "TF a,"),
        "127.0.0.1:0",
    );
    let centre = folder.path().join("davy.toml");
    let (success, told) = said(&davy(&["serve", "--config", text(&centre)]));
    assert!(!success);
    assert!(told.contains("points.csv:2"), "{told}");
    assert!(!data.exists(), "no folder, no journal");
    // A file that is not there, and one that is no TOML, are faults with their names.
    std::fs::write(&centre, "site = \n").unwrap();
    let (success, told) = said(&davy(&["serve", "--config", text(&centre)]));
    assert!(!success && told.contains("davy.toml:1"), "{told}");
    let (success, told) = said(&davy(&["serve", "--config", "/nowhere/davy.toml"]));
    assert!(!success && told.contains("/nowhere/davy.toml"), "{told}");
}

#[test]
fn doors_beyond_loopback_are_refused() {
    let folder = TempDir::new().unwrap();
    let data = site(folder.path(), POINTS, "0.0.0.0:0");
    let centre = folder.path().join("davy.toml");
    let (success, told) = said(&davy(&["serve", "--config", text(&centre)]));
    assert!(
        !success && told.contains("0.0.0.0:0") && told.contains("loopback"),
        "{told}"
    );
    assert!(!data.exists());
    let demo = folder.path().join("demo");
    for door in ["--http", "--mqtt"] {
        let output = davy(&[
            "demo",
            "--headless",
            "--data",
            text(&demo),
            door,
            "0.0.0.0:0",
        ]);
        let (success, told) = said(&output);
        assert!(!success && told.contains("loopback"), "{door}: {told}");
        assert!(!demo.exists(), "{door}");
    }
}

#[test]
fn verify_proves_a_journal_its_replay_and_its_backup() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    journal(&data);
    let (success, told) = said(&davy(&["verify", text(&data), "--replay"]));
    assert!(success, "{told}");
    assert!(
        told.contains("the chain holds") && told.contains("replay gives the same"),
        "{told}"
    );
    let copy = folder.path().join("copy.sqlite");
    let (success, told) = said(&davy(&["backup", text(&data), text(&copy)]));
    assert!(success, "{told}");
    let (success, told) = said(&davy(&["verify", text(&copy), "--replay"]));
    assert!(success, "{told}");
    let (success, _) = said(&davy(&["backup", text(&data), text(&copy)]));
    assert!(!success, "nothing is overwritten");
    let (success, told) = said(&davy(&["verify", text(&folder.path().join("nothing"))]));
    assert!(!success && told.contains("no journal"), "{told}");
    let (success, told) = said(&davy(&[
        "backup",
        text(&folder.path().join("nothing")),
        "x",
    ]));
    assert!(!success && told.contains("no journal"), "{told}");
}

#[test]
fn verify_names_the_entry_that_was_tampered_with() {
    for (statement, entry) in [
        ("UPDATE entry SET now_ms = now_ms + 1 WHERE number = 7", 7),
        (
            "UPDATE input SET bytes = CAST(bytes || x'20' AS BLOB) WHERE number = 5",
            5,
        ),
        ("UPDATE entry SET effects = x'5b5d' WHERE number = 9", 9),
        ("DELETE FROM entry WHERE number = 11", 11),
        ("UPDATE alarm SET changed_in = 2 WHERE occurrence = 1", 3),
    ] {
        let folder = TempDir::new().unwrap();
        journal(folder.path());
        spoil(folder.path(), statement);
        let output = davy(&["verify", text(folder.path())]);
        let (success, told) = said(&output);
        assert!(!success, "{statement}");
        assert_eq!(output.status.code(), Some(1));
        let near = [entry, entry + 1]
            .iter()
            .any(|n| told.contains(&format!("entry {n}")));
        assert!(near, "{statement}: {told}");
    }
}

/// A centre that runs until it is dropped.
struct Running(Child);

impl Running {
    fn start(centre: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_davy"))
            .args(["serve", "--config", text(centre)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines
            .map_while(Result::ok)
            .any(|line| line.starts_with("ready: "));
        let running = Self(child);
        assert!(ready, "it starts");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

#[test]
fn a_second_centre_on_a_folder_is_refused_in_words() {
    let folder = TempDir::new().unwrap();
    let data = site(folder.path(), POINTS, "127.0.0.1:0");
    let centre = folder.path().join("davy.toml");
    let first = Running::start(&centre);
    let (success, told) = said(&davy(&["serve", "--config", text(&centre)]));
    assert!(!success);
    assert!(told.contains("in use by another centre"), "{told}");
    assert!(
        told.contains(&first.0.id().to_string()),
        "it names the other one: {told}"
    );
    // It can be verified and copied while it runs.
    let (success, told) = said(&davy(&["verify", text(&data)]));
    assert!(success, "{told}");
    drop(first);
    // After a kill it goes on.
    drop(Running::start(&centre));
}
