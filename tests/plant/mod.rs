//! A whole plant of real processes: Modbus device, gateway, broker, centre, each to be killed.
//!
//! All of it on loopback and free ports, in one folder that goes away with it. Waits end with
//! something observed and are bounded by [`PATIENCE`].

#![allow(dead_code, reason = "each test uses its part of it")]

pub(crate) mod device;
pub(crate) mod process;
pub(crate) mod record;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use davy::journal::Reader;
use davy_gateway::clock::monotonic;
use rusqlite::{Connection, OpenFlags};

use device::{Device, LOAD, UNITS};
use process::Process;

/// Longest wait for one thing.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at something that other processes change.
const LOOK: Duration = Duration::from_millis(10);

/// The group, the gateway, and the users of the broker.
pub(crate) const GROUP: &str = "crash";
pub(crate) const GATEWAY: &str = "gw";
pub(crate) const CENTRE: &str = "davy-centre";
pub(crate) const STRANGER: &str = "stranger";

/// The password of a user.
pub(crate) fn password(user: &str) -> String {
    format!("secret-of-{user}")
}

/// Which broker stands between gateway and centre.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    Mosquitto,
    Embedded,
}

/// The plant.
pub(crate) struct Plant {
    pub(crate) folder: PathBuf,
    pub(crate) device: Device,
    /// Port of the broker.
    pub(crate) port: u16,
    /// Port of the centre's HTTP.
    pub(crate) http: u16,
    pub(crate) mosquitto: Option<Process>,
    pub(crate) centre: Process,
    pub(crate) gateway: Process,
    _folder: tempfile::TempDir,
}

/// Where every message of the gateway is, by the books of its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) produced: u64,
    pub(crate) committed: u64,
    pub(crate) stored: u64,
    pub(crate) lost: u64,
}

impl Plant {
    /// Starts all of it.
    pub(crate) fn start(between: Between) -> Self {
        let own = tempfile::tempdir().expect("a folder");
        let folder = own.path().to_owned();
        let device = Device::start();
        let (port, http) = (free_port(), free_port());
        write_site(&folder, &device);
        write_gateway(&folder, port);
        write_centre(&folder, between, port, http);
        let mosquitto = (between == Between::Mosquitto).then(|| mosquitto(&folder, port));
        let config = folder.join("davy.toml").display().to_string();
        let centre = Process::start(
            Path::new(env!("CARGO_BIN_EXE_davy")),
            &["serve", "--config", &config],
            folder.join("centre.log"),
        );
        let config = folder.join("gateway.toml").display().to_string();
        let gateway = Process::start(
            &gateway_program(),
            &["run", "--config", &config],
            folder.join("gateway.log"),
        );
        Self {
            folder,
            device,
            port,
            http,
            mosquitto,
            centre,
            gateway,
            _folder: own,
        }
    }

    /// The centre's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("centre")
    }

    /// Entries in the journal so far; 0 while there is none.
    pub(crate) fn committed(&self) -> u64 {
        let reader = Reader::open(&self.data());
        reader.and_then(|reader| reader.latest()).unwrap_or(0)
    }

    /// Waits until `seen` is so.
    pub(crate) fn wait(&mut self, what: &str, mut seen: impl FnMut(&mut Self) -> bool) {
        let deadline = monotonic() + PATIENCE;
        while !seen(self) {
            assert!(
                monotonic() < deadline,
                "{what}: not within {PATIENCE:?}\n{}",
                self.last_words()
            );
            pause();
        }
    }

    /// Waits until the journal has grown by so many entries.
    pub(crate) fn grow(&mut self, entries: u64) {
        let until = self.committed() + entries;
        self.wait("the journal grows", |plant| plant.committed() >= until);
    }

    /// What every process said last.
    pub(crate) fn last_words(&self) -> String {
        let processes = [
            Some(&self.centre),
            Some(&self.gateway),
            self.mosquitto.as_ref(),
        ];
        let words = processes.into_iter().flatten().map(Process::last_words);
        words.collect::<Vec<_>>().join("\n\n")
    }

    fn outbox(&self) -> Connection {
        let file = self.folder.join("gateway").join("outbox.sqlite");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let outbox = Connection::open_with_flags(file, flags).expect("the outbox");
        outbox.busy_timeout(PATIENCE).expect("patience");
        outbox
    }

    /// The books of the outbox, all at one moment.
    pub(crate) fn account(&self) -> Account {
        let sql = "SELECT (SELECT value FROM number WHERE name = 'produced'),
            (SELECT value FROM number WHERE name = 'committed'),
            (SELECT count(*) FROM message),
            (SELECT value FROM number WHERE name = 'lost')";
        let account = self.outbox().query_row(sql, [], |row| {
            Ok(Account {
                produced: row.get(0)?,
                committed: row.get(1)?,
                stored: row.get(2)?,
                lost: row.get(3)?,
            })
        });
        account.expect("the books")
    }

    /// Run and sequence of every message that the outbox still keeps.
    pub(crate) fn kept(&self) -> Vec<(u64, u64)> {
        let sql = "SELECT (SELECT max(run) FROM run WHERE base < row) AS of,
            row - (SELECT base FROM run WHERE run =
                (SELECT max(run) FROM run WHERE base < row))
            FROM message ORDER BY row";
        let outbox = self.outbox();
        let mut statement = outbox.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }

    /// What the centre answers over HTTP; empty while it does not.
    pub(crate) fn get(&self, path: &str) -> String {
        let asked = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = asked().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
        body.unwrap_or_default().to_owned()
    }

    /// The value of a counter of the centre.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    }

    /// A client of the broker that is not ours, as a process that runs on.
    pub(crate) fn listener(&self, user: &str, name: &str, more: &[&str]) -> Process {
        let port = self.port.to_string();
        let secret = password(user);
        // Said line by line, though to a file.
        let mut arguments = vec!["-oL", "mosquitto_sub"];
        arguments.extend(["-h", "127.0.0.1", "-p", &port, "-u", user, "-P", &secret]);
        arguments.extend(more);
        let log = self.folder.join(format!("{name}.log"));
        Process::start(Path::new("stdbuf"), &arguments, log)
    }

    /// Publishes with a client that is not ours; whether the broker took it.
    pub(crate) fn publish(&self, account: Option<(&str, &str)>, more: &[&str]) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-q", "1"]);
        if let Some((user, secret)) = account {
            command.args(["-u", user, "-P", secret]);
        }
        let done = command.args(more).output().expect("mosquitto_pub");
        // With MQTT 5 a refusal is only a warning of it.
        done.status.success() && done.stderr.is_empty()
    }
}

/// Runs `davy` to its end.
pub(crate) fn davy(arguments: &[&str]) -> Output {
    let davy = Command::new(env!("CARGO_BIN_EXE_davy"))
        .args(arguments)
        .output();
    davy.expect("davy runs")
}

/// A short pause between two looks.
pub(crate) fn pause() {
    std::thread::park_timeout(LOOK);
}

/// A port that was free a moment ago. A process that is killed must come back at its own port, so
/// it cannot choose one by itself.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// The gateway's program, which cargo puts beside the centre's.
fn gateway_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_davy")).with_file_name("davy-gateway");
    assert!(
        program.exists(),
        "{} is not there; `cargo build --workspace` makes it",
        program.display()
    );
    program
}

/// Starts mosquitto with passwords, and with nothing kept on disk: a broker may forget everything.
fn mosquitto(folder: &Path, port: u16) -> Process {
    let passwords = folder.join("mosquitto.passwords");
    std::fs::write(&passwords, "").expect("a file");
    for user in [GATEWAY, CENTRE, STRANGER] {
        let made = Command::new("mosquitto_passwd")
            .arg("-b")
            .arg(&passwords)
            .args([user, &password(user)])
            .output()
            .expect("mosquitto_passwd (Debian package `mosquitto`)");
        assert!(made.status.success(), "{made:?}");
    }
    let file = folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\npersistence false\n\
         user root\nlog_type error\nlog_type warning\nlog_type notice\n",
        passwords.display()
    );
    std::fs::write(&file, text).expect("its file");
    let file = file.display().to_string();
    // Debian keeps it where only root's path looks.
    let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
    let program = program.iter().map(Path::new).find(|path| path.exists());
    let program = program.unwrap_or(Path::new("mosquitto"));
    Process::start(program, &["-c", &file], folder.join("mosquitto.log"))
}

fn write_site(folder: &Path, device: &Device) {
    let standards = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/standards");
    for name in ["system.toml", "warning.toml", "ledger.toml"] {
        let text = std::fs::read_to_string(standards.join(name)).expect("a standard");
        // A test waits a second for what an operator is told of after half a minute.
        let text = text.replace("on_delay = \"30s\"", "on_delay = \"1s\"");
        std::fs::write(folder.join(name), text).expect("a standard");
    }
    let mut site = format!(
        "group = \"{GROUP}\"\nname = {{ zh = \"试验现场\", en = \"Test site\" }}\n\
         points = [\"points.csv\"]\npositions = [\"test\"]\n\
         standards = [\"system.toml\", \"warning.toml\", \"ledger.toml\"]\n\
         [[gateway]]\nid = \"{GATEWAY}\"\nname = {{ zh = \"网关\", en = \"Gateway\" }}\n\
         [[gateway.bus]]\nname = \"field\"\naddress = \"{}\"\ntimeout = \"2s\"\n\
         registers_max = 125\nbits_max = 2000\ngap_max = 8\n",
        device.address
    );
    let mut points = String::from(
        "tag,name_zh,name_en,kind,position,unit,low,high,source,gateway,device,period,table,\
         address,type,order,signal,raw_low,raw_high\n",
    );
    let mut limits = String::new();
    for unit in 1..=UNITS {
        write!(
            site,
            "[[gateway.bus.unit]]\nid = \"u{unit}\"\nnumber = {unit}\n\
             name = {{ zh = \"单元\", en = \"Unit\" }}\n"
        )
        .expect("a string takes all");
        let mut point = |name: &str, kind: &str, high: u64, address: usize, form: &str| {
            writeln!(
                points,
                "u{unit}.{name},点,Point,{kind},test,1,0,{high},S,{GATEWAY},u{unit},100ms,\
                 holding_registers,{address},{form},ABCD,none,,"
            )
            .expect("a string takes all");
        };
        point("polls", "count", u64::from(u32::MAX), 0, "u32");
        point("level", "level", 100, 2, "f32");
        for load in 0..LOAD {
            point(&format!("load{load}"), "flow", 100, 4 + 2 * load, "f32");
        }
        write!(
            limits,
            "[[limit]]\npoint = \"u{unit}.level\"\nsetpoint = \"hh\"\nlimit = 80.0\n\
             deadband = 5.0\non_delay = \"0s\"\noff_delay = \"0s\"\nlatch = false\npriority = 1\n\
             shelvable = true\nguidance = \"level_hh\"\nfigure_source = {{ zh = \"仅供测试\", en = \"of this test\" }}\n"
        )
        .expect("a string takes all");
    }
    site.push_str(
        "[[source]]\nid = \"S\"\nname = { zh = \"源\", en = \"Source\" }\nindustry = \"chemical\"\n\
         level = 3\nowners = { main = \"a\", technical = \"b\", operation = \"c\" }\n",
    );
    site.push_str(&limits);
    let text = "{ zh = \"试验\", en = \"Test\" }";
    write!(
        site,
        "[guidance.level_hh]\ncause = {text}\nconsequence = {text}\naction = {text}\n\
         time_to_respond = \"10min\"\n"
    )
    .expect("a string takes all");
    std::fs::write(folder.join("site.toml"), site).expect("the site");
    std::fs::write(folder.join("points.csv"), points).expect("the points");
}

fn write_gateway(folder: &Path, port: u16) {
    let text = format!(
        "site = \"site.toml\"\nid = \"{GATEWAY}\"\ndata = \"gateway\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {port}\npassword_file = \"gateway.password\"\n\
         host_id = \"davy\"\nacknowledge = \"centre\"\n\
         [outbox]\nbytes_max = 1_000_000_000\nage_max = \"72h\"\n[backlog]\nrate = 4\n"
    );
    std::fs::write(folder.join("gateway.toml"), text).expect("its file");
    std::fs::write(folder.join("gateway.password"), password(GATEWAY)).expect("its password");
}

fn write_centre(folder: &Path, between: Between, port: u16, http: u16) {
    let broker = match between {
        Between::Mosquitto => format!("host = \"127.0.0.1\"\nport = {port}"),
        Between::Embedded => format!("listen = \"127.0.0.1:{port}\""),
    };
    let text = format!(
        "site = \"site.toml\"\ndata = \"centre\"\nhost_id = \"davy\"\n\
         [http]\nlisten = \"127.0.0.1:{http}\"\n\
         [mqtt]\n{broker}\nuser = \"{CENTRE}\"\naccounts = \"accounts.toml\"\n"
    );
    std::fs::write(folder.join("davy.toml"), text).expect("its file");
    let accounts = format!(
        "centre = \"{}\"\n[gateways]\n{GATEWAY} = \"{}\"\n",
        password(CENTRE),
        password(GATEWAY)
    );
    std::fs::write(folder.join("accounts.toml"), accounts).expect("its accounts");
}
