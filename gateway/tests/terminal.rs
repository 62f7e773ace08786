//! The simulator on a real terminal, as a person types it: `script` gives the terminal, bash the
//! foreground and the background.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use davy_core::point::Table;
use davy_gateway::modbus::{Reader, TcpLink};

/// Longest wait for anything: a simulator that stands still fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell on a terminal, ended with the test; what it started gets the terminal's hang-up.
struct Shell {
    process: Child,
    keys: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.keys.take());
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

impl Shell {
    fn start() -> Self {
        let mut command = Command::new("script");
        command.args(["-qefc", "bash --norc --noprofile -i", "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("script (util-linux) starts");
        let keys = process.stdin.take();
        let screen = process.stdout.take().expect("it is a pipe");
        let (tell, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(screen).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            keys,
            lines,
        }
    }

    fn type_line(&mut self, line: &str) {
        let keys = self.keys.as_mut().expect("open until the end");
        writeln!(keys, "{line}").expect("the terminal takes keys");
        keys.flush().expect("the terminal takes keys");
    }

    /// The next line on the screen that holds `text`.
    fn see(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("`{text}` never came on the screen"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn a_simulator_in_the_background_answers_and_takes_orders_when_it_is_fetched() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/site.toml");
    let mut shell = Shell::start();
    shell.type_line(&format!(
        "{} simulate --config {} --gateway tank-farm --listen 127.0.0.1:0 --story &",
        env!("CARGO_BIN_EXE_davy-gateway"),
        site.display()
    ));
    let line = shell.see("simulated units listen");
    let (_, address) = line.split_once("127.0.0.1:").expect("it says where");
    let port: String = address.chars().take_while(char::is_ascii_digit).collect();
    // bash tells of a stopped job when it is asked; a running one is in the list as such.
    shell.type_line("jobs");
    assert!(shell.see("[1]+ ").contains("Running"));
    let address = format!("127.0.0.1:{port}");
    let mut reader = Reader::connect(&TcpLink { address }, PATIENCE)
        .await
        .expect("it listens");
    let answer = reader.read(1, Table::HoldingRegisters, 0, 1).await;
    assert!(reader.is_open(), "{answer:?}");

    shell.type_line("fg");
    shell.type_line("no such order");
    shell.see("is no order");
    shell.type_line("clear all");
    shell.see("cleared");
    shell.type_line("\u{3}");
    shell.see("interrupted");
}
