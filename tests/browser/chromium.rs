//! A headless Chromium, driven over the `DevTools` protocol on two pipes: no port, no library.
//!
//! Invariants: keys and clicks go in where a person's would; every wait is bounded; the browser
//! ends with the test, by its own process id, and its profile with it. It reaches nothing but the
//! page: no updates, no sync, no reports.
//!
//! Limits: one page; messages as JSON, each ended by a zero byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Names under which Chromium is installed.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// What it is started with: nothing to see, and nobody to call.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--window-size=1920,1080",
    "--remote-debugging-pipe",
];

/// Messages that wait to be read.
const MESSAGES_MAX: usize = 10_000;

/// Longest wait for the answer to a command that does not wait for the page.
const ANSWER: Duration = Duration::from_secs(30);

/// The browser with its one page.
pub(crate) struct Chromium {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    last: u64,
    session: String,
    /// What the page reported to its console as an error.
    pub(crate) complaints: Vec<String>,
    said: PathBuf,
    _profile: TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Does nothing to a process that has ended; its children end with it.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

impl Chromium {
    /// Starts it on an empty page.
    pub(crate) fn start() -> Result<Self> {
        let program = find()?;
        let profile = tempfile::tempdir().context("making a profile")?;
        let said = profile.path().join("said");
        let errors = std::fs::File::create(&said).context("making a file for what it says")?;
        // It reads commands from descriptor 3 and answers on 4: the shell puts our pipes there.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(&program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let commands = process.stdin.take().context("its input is no pipe")?;
        let output = process.stdout.take().context("its output is no pipe")?;
        let mut browser = Self {
            process,
            commands,
            answers: listen(output),
            last: 0,
            session: String::new(),
            complaints: Vec::new(),
            said,
            _profile: profile,
        };
        let page = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", &attach)?;
        let session = attached["sessionId"].as_str();
        session
            .context("no session with the page")?
            .clone_into(&mut browser.session);
        browser.ask("Runtime.enable", &json!({}))?;
        browser.ask("Page.enable", &json!({}))?;
        Ok(browser)
    }

    /// Opens an address.
    pub(crate) fn open(&mut self, address: &str) -> Result<()> {
        let answer = self.ask("Page.navigate", &json!({ "url": address }))?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("opening {address}: {error}");
        }
        Ok(())
    }

    /// What an expression comes to in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        self.evaluate_within(expression, ANSWER)
    }

    fn evaluate_within(&mut self, expression: &str, patience: Duration) -> Result<Value> {
        let asked = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let answer = self.ask_within("Runtime.evaluate", &asked, patience)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let words = &thrown["exception"]["description"];
            bail!(
                "the page threw {}",
                words.as_str().unwrap_or(&thrown.to_string())
            );
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true in the page, and answers what it came to. The page looks
    /// at it whenever it draws; the bound is kept by the page's own clock.
    pub(crate) fn until(
        &mut self,
        what: &str,
        expression: &str,
        patience: Duration,
    ) -> Result<Value> {
        let waiting = format!(
            "new Promise((done, fail) => {{
               const end = performance.now() + {};
               const look = () => {{
                 const found = {expression};
                 if (found) done(found);
                 else if (performance.now() > end) fail(new Error(document.body.innerText));
                 else setTimeout(look, 20);
               }};
               look();
             }})",
            patience.as_millis()
        );
        let found = self.evaluate_within(&waiting, patience + ANSWER);
        found.with_context(|| format!("waiting {} s until {what}", patience.as_secs()))
    }

    /// Presses and releases a key.
    pub(crate) fn press(&mut self, key: &str) -> Result<()> {
        let text = match key {
            "Enter" => "\r",
            one if one.chars().count() == 1 => one,
            _ => "",
        };
        let down = json!({ "type": "keyDown", "key": key, "text": text });
        self.ask("Input.dispatchKeyEvent", &down)?;
        self.ask(
            "Input.dispatchKeyEvent",
            &json!({ "type": "keyUp", "key": key }),
        )?;
        Ok(())
    }

    /// Types into what has the focus.
    pub(crate) fn type_words(&mut self, words: &str) -> Result<()> {
        self.ask("Input.insertText", &json!({ "text": words }))?;
        Ok(())
    }

    /// Clicks in the middle of what a selector finds, where a person would.
    pub(crate) fn click(&mut self, selector: &str) -> Result<()> {
        let place = self.evaluate(&format!(
            "(() => {{
               const found = document.querySelector({});
               if (!found) return null;
               found.scrollIntoView({{ block: 'nearest' }});
               const box = found.getBoundingClientRect();
               return [box.x + box.width / 2, box.y + box.height / 2];
             }})()",
            json!(selector)
        ))?;
        ensure!(place.is_array(), "nothing to click at `{selector}`");
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.ask("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.ask_within(method, parameters, ANSWER)
    }

    fn ask_within(
        &mut self,
        method: &str,
        parameters: &Value,
        patience: Duration,
    ) -> Result<Value> {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        let mut bytes = serde_json::to_vec(&command)?;
        bytes.push(0);
        let sent = self.commands.write_all(&bytes);
        sent.with_context(|| format!("telling Chromium to {method}: {}", words_of(&self.said)))?;
        loop {
            let answer = self.answers.recv_timeout(patience);
            let answer = answer
                .with_context(|| format!("Chromium on {method}: {}", words_of(&self.said)))?;
            if answer["id"] == self.last {
                if let Some(error) = answer.get("error") {
                    bail!("Chromium refused {method}: {error}");
                }
                return Ok(answer["result"].clone());
            }
            self.note(&answer);
        }
    }

    /// Keeps what the page complains of: a fault that nobody sees is one all the same.
    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &parameters["exceptionDetails"],
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                &parameters["args"]
            }
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }
}

fn listen(output: impl Read + Send + 'static) -> Receiver<Value> {
    let (tell, answers) = sync_channel(MESSAGES_MAX);
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while matches!(output.read_until(0, &mut bytes), Ok(read) if read > 0) {
            let message = serde_json::from_slice(bytes.strip_suffix(&[0]).unwrap_or(&bytes));
            bytes.clear();
            if message.is_ok_and(|message| tell.send(message).is_err()) {
                break;
            }
        }
    });
    answers
}

/// The last words on its error output.
fn words_of(file: &Path) -> String {
    let said = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = said.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// The browser named by `DAVY_CHROMIUM`, or the first that is installed.
fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("DAVY_CHROMIUM") {
        return Ok(named.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    found.with_context(|| {
        format!("no Chromium: none of {NAMES:?} is installed; `make tools` installs it, or name one in DAVY_CHROMIUM")
    })
}
