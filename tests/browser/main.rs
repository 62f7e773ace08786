//! The console as an operator has it: the built binary, and a headless Chromium in front of it.
//!
//! Signs in, sees the gas alarm of level 2 rise, acknowledges it on the page and finds at the
//! centre that it is acknowledged by that person; reads the page in English; goes to another row, to
//! the guidance and to the trend by keys; opens the ledger's entry; kills the centre and sees the page say within 3 s that its data is invalid; starts it
//! again and sees the page come back by itself. Waits end with what the page shows and are
//! bounded by [`PATIENCE`]; nothing sleeps.
//!
//! Needs Chromium (`make tools`) and the built console (`make console`).

mod chromium;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use chromium::Chromium;

/// Longest wait for one thing. The demo's leak passes level 2 about half a minute after the start.
const PATIENCE: Duration = Duration::from_secs(90);

/// Until then the page must say that the centre is lost (`console/src/live.ts`).
const LOSS_SAID_WITHIN_MS: u64 = 3_000;

/// Who sits at the console.
const OPERATOR: &str = "张伟";

/// The demo, a process of its own.
struct Demo {
    process: Child,
    http: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Does nothing to a process that has ended.
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

impl Demo {
    /// Starts it and waits until it says that it is ready.
    fn start(data: &Path, http: &str) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        command.args([
            "demo",
            "--headless",
            "--mqtt",
            "127.0.0.1:0",
            "--http",
            http,
        ]);
        command.arg("--data").arg(data).env("RUST_LOG", "error");
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the demo")?;
        let output = process.stdout.take().context("its output is no pipe")?;
        let lines = lines_of(output);
        let mut demo = Self {
            process,
            http: String::new(),
        };
        while demo.http.is_empty() {
            let line = lines.recv_timeout(PATIENCE);
            let line = line.context("the demo does not say `ready`")?;
            if let Some(at) = line.strip_prefix("ready: ") {
                at.trim_end_matches('/').clone_into(&mut demo.http);
            }
        }
        Ok(demo)
    }

    /// SIGKILL: no goodbye.
    fn kill(&mut self) -> Result<()> {
        self.process.kill().context("killing the centre")?;
        self.process.wait().context("waiting for its end")?;
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let address = format!("{}/api/v1/{path}", self.http);
        runtime.block_on(async {
            let answer = reqwest::get(&address).await?.error_for_status()?;
            Ok(serde_json::from_slice(&answer.bytes().await?)?)
        })
    }
}

fn lines_of(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = sync_channel(10_000);
    std::thread::spawn(move || {
        // Read to its end even when nobody listens any more: a full pipe would hold the demo up.
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _nobody = tell.try_send(line);
        }
    });
    lines
}

#[test]
fn an_operator_answers_an_alarm_and_sees_the_centre_lost() -> Result<()> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("console/dist/index.html");
    ensure!(
        pages.is_file(),
        "the console is not built; `make console` builds it"
    );
    let data = tempfile::tempdir()?;
    let mut browser = Chromium::start()?;
    let mut demo = Demo::start(data.path(), "127.0.0.1:0")?;

    sign_in(&mut browser, &demo)?;
    let occurrence = acknowledge(&mut browser)?;
    let alarm = demo.get(&format!("alarms/{occurrence}"))?;
    ensure!(
        alarm["axes"]["acknowledged"] == true && alarm["acknowledged_by"] == OPERATOR,
        "the page shows occurrence {occurrence} acknowledged; the centre has {alarm}"
    );
    read_english(&mut browser, occurrence)?;
    use_keys(&mut browser, occurrence)?;
    open_ledger(&mut browser)?;

    browser.evaluate("void (window.killedAt = performance.now())")?;
    demo.kill()?;
    lose_centre(&mut browser)?;

    let address = demo.http.trim_start_matches("http://").to_owned();
    let _again = Demo::start(data.path(), &address)?;
    browser.until(
        "the page comes back by itself",
        "!document.querySelector('.lost-banner') && document.querySelector('.frame:not(.lost)')",
        PATIENCE,
    )?;
    read_account(&mut browser)?;
    ensure!(
        browser.complaints.is_empty(),
        "the page complained: {:?}",
        browser.complaints
    );
    Ok(())
}

fn sign_in(browser: &mut Chromium, demo: &Demo) -> Result<()> {
    browser.open(&demo.http)?;
    browser.until(
        "the door asks for a name",
        "document.querySelector('form.door input[name=user]')?.checkVisibility()",
        PATIENCE,
    )?;
    browser.click("form.door input[name=user]")?;
    browser.type_words(OPERATOR)?;
    browser.press("Enter")?;
    let shown = format!(
        "document.querySelector('.who')?.innerText.includes({})",
        json!(OPERATOR)
    );
    browser.until("the page says who has signed in", &shown, PATIENCE)?;
    Ok(())
}

/// Waits for a gas alarm of level 2 and answers it with a click and a key. Its occurrence.
fn acknowledge(browser: &mut Chromium) -> Result<u64> {
    browser.press("2")?;
    let occurrence = browser.until(
        "a gas alarm of level 2 is in the list",
        "[...document.querySelectorAll('.row.owed')]
           .find((row) => row.innerText.includes('气体二级报警') && row.innerText.includes('未确认'))
           ?.dataset.occurrence",
        PATIENCE,
    )?;
    let occurrence: u64 = occurrence.as_str().context("it has no number")?.parse()?;
    let row = row(occurrence);
    browser.click(&row)?;
    let selected = format!(
        "document.querySelector({})",
        json!(format!("{row}.selected"))
    );
    browser.until("the row is selected", &format!("!!{selected}"), PATIENCE)?;
    browser.press("a")?;
    let answered = format!("{selected}?.innerText.includes('已确认')");
    browser.until("the page shows it acknowledged", &answered, PATIENCE)?;
    Ok(occurrence)
}

fn row(occurrence: u64) -> String {
    format!(".row[data-occurrence='{occurrence}']")
}

fn read_english(browser: &mut Chromium, occurrence: u64) -> Result<()> {
    browser.click(".side-foot .pair button")?;
    let words = format!(
        "document.documentElement.lang === 'en'
           && document.querySelector('.page-head h2').innerText === 'Live alarms'
           && ['Gas level 2', 'Acknowledged', 'Chlorine detector'].every((words) =>
                document.querySelector({}).innerText.includes(words))",
        json!(row(occurrence))
    );
    browser.until("the page speaks English", &words, PATIENCE)?;
    Ok(())
}

/// The list by its keys alone, which it names below: another row and back, guidance, trend.
fn use_keys(browser: &mut Chromium, occurrence: u64) -> Result<()> {
    let named = "['A acknowledge', 'G guidance', 'T trend'].every((words) =>
                   document.querySelector('.foot').innerText.includes(words))";
    browser.until("the keys are named", named, PATIENCE)?;
    let selected = |is: &str| {
        format!("document.querySelector('.row.selected').dataset.occurrence {is} '{occurrence}'")
    };
    let first = browser.evaluate(
        "document.querySelector('.row.selected').matches('.rows-all .row:first-child')",
    )?;
    let (away, back) = if first == true {
        ("ArrowDown", "ArrowUp")
    } else {
        ("ArrowUp", "ArrowDown")
    };
    browser.press(away)?;
    browser.until("another row is selected", &selected("!=="), PATIENCE)?;
    browser.press(back)?;
    browser.until("the row is selected again", &selected("==="), PATIENCE)?;
    browser.press("g")?;
    let guidance = "document.querySelectorAll('.drawer .todo p').length > 1
                      && document.querySelector('.drawer').innerText.includes('Respond within')";
    browser.until("what to do stands step by step", guidance, PATIENCE)?;
    browser.press("t")?;
    let trend = "document.querySelector('.trend-main canvas')
                   && !!document.querySelector('.picker li.selected')";
    browser.until("the trend of the point is drawn", trend, PATIENCE)?;
    Ok(())
}

/// The entry that the alarm became, with its frozen trend and what may be done next.
fn open_ledger(browser: &mut Chromium) -> Result<()> {
    browser.press("4")?;
    let listed = "!!document.querySelector('.ledger tbody tr')";
    browser.until("the ledger has an entry", listed, PATIENCE)?;
    browser.click(".ledger tbody tr td:nth-child(2)")?;
    browser.until(
        "the entry shows where it stands, its evidence and its next step",
        "document.querySelector('.way .here')?.innerText === 'Found'
           && document.querySelector('.entry figure canvas')
           && ['Frozen evidence', 'Evidence filed', 'Verify and register'].every((words) =>
                document.querySelector('.entry').innerText.includes(words))",
        PATIENCE,
    )?;
    Ok(())
}

/// After the restart nobody has to sign in again, and each gateway's account is there.
fn read_account(browser: &mut Chromium) -> Result<()> {
    browser.press("5")?;
    browser.until(
        "every gateway is online, with what it has committed",
        "!document.querySelector('form.door')
           && document.querySelectorAll('tr[data-gateway]').length > 1
           && [...document.querySelectorAll('tr[data-gateway]')].every((row) =>
                row.innerText.includes('online') && /[1-9]/.test(row.children[4].innerText))",
        PATIENCE,
    )?;
    Ok(())
}

fn lose_centre(browser: &mut Chromium) -> Result<()> {
    let after = browser.until(
        "the page says that the centre is lost",
        "document.querySelector('.lost-banner')?.innerText.includes('Data invalid since')
           && performance.now() - window.killedAt",
        PATIENCE,
    )?;
    let after = after.as_f64().context("no time")?;
    ensure!(
        after <= Duration::from_millis(LOSS_SAID_WITHIN_MS).as_secs_f64() * 1e3,
        "the page said that the centre is lost after {after:.0} ms; allowed {LOSS_SAID_WITHIN_MS}"
    );
    let locked = "[...document.querySelectorAll('.strip button')].every((button) =>
                    button.disabled || !button.innerText.includes('Ack'))";
    browser.until("nothing can be answered", locked, PATIENCE)?;
    Ok(())
}
