//! The gateway's read path against Modbus software that is not ours: pymodbus and libmodbus as
//! devices, mbpoll as a second opinion about the simulator.
//!
//! The devices put each value into their registers with their own code; here it must come out of
//! plan, poll and decode as the same number, for every type in every order. `make tools` installs
//! and builds the three.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use davy_core::config::{Bus, Config, SourceFile, Unit, check, wanted};
use davy_core::point::{ByteOrder, Encoding, Point, Range, Register, Scaling, Table, Text};
use davy_core::reading::{BadCause, PointId, Quality, Reading, Timestamp};
use davy_gateway::clock::Clock;
use davy_gateway::modbus::{Failure, Reader, TcpLink, Values};
use davy_gateway::plan::{Limits, Request, plan};
use davy_gateway::poll::{Batch, BusPoll};
use davy_gateway::simulator::{Simulator, Story};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything: a device that does not come up fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Registers of each table that a device has.
const SIZE: u16 = 512;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A process that is ended with the test.
struct Device {
    process: Child,
    address: String,
}

impl Drop for Device {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _waited = self.process.wait();
    }
}

impl Device {
    /// Starts a device, tells it its values, and waits until it says where it listens.
    fn start(program: &Path, script: Option<&str>, values: &str) -> Self {
        assert!(
            program.exists(),
            "{} is missing: run `make tools`",
            program.display()
        );
        let mut command = Command::new(program);
        command.args(script.map(|script| root().join("tests/devices").join(script)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the device starts");
        let mut told = process.stdin.take().expect("it is a pipe");
        let said = process.stdout.take().expect("it is a pipe");
        let mut device = Self {
            process,
            address: String::new(),
        };
        told.write_all(values.as_bytes()).expect("it listens to us");
        told.write_all(b"end\n").expect("it listens to us");
        let (tell, line) = sync_channel(1);
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(said).read_line(&mut line);
            let _gone = tell.send(read.map(|_| line));
        });
        let line = line
            .recv_timeout(PATIENCE)
            .expect("it comes up")
            .expect("it speaks");
        let port = line.trim().strip_prefix("listening ");
        let port = port.unwrap_or_else(|| panic!("found `{line}`; wanted `listening PORT`"));
        device.address = format!("127.0.0.1:{port}");
        device
    }

    fn pymodbus(values: &str) -> Self {
        let python = root().join("target/venv/bin/python");
        Self::start(&python, Some("pymodbus_server.py"), values)
    }

    fn libmodbus(values: &str) -> Self {
        Self::start(&root().join("target/tools/libmodbus-server"), None, values)
    }
}

const ORDERS: [(ByteOrder, &str); 4] = [
    (ByteOrder::Abcd, "ABCD"),
    (ByteOrder::Cdab, "CDAB"),
    (ByteOrder::Badc, "BADC"),
    (ByteOrder::Dcba, "DCBA"),
];

/// Each type with values that would show a wrong sign, width, order or rounding. All are exact in
/// f64, as what is written here as in what is read.
const VALUES: &[(Encoding, &str, &[&str])] = &[
    (Encoding::BitOf(0), "bit0", &["0", "1"]),
    (Encoding::BitOf(9), "bit9", &["0", "1"]),
    (Encoding::BitOf(15), "bit15", &["0", "1"]),
    (Encoding::U8, "u8", &["0", "1", "200", "255"]),
    (Encoding::I8, "i8", &["-128", "-1", "127"]),
    (Encoding::U16, "u16", &["0", "258", "65535"]),
    (Encoding::I16, "i16", &["-32768", "-2", "32767"]),
    (Encoding::U32, "u32", &["1", "16909060", "4294967295"]),
    (Encoding::I32, "i32", &["-2147483648", "-3", "16909060"]),
    (
        Encoding::U64,
        "u64",
        &["1", "283686952306183", "9007199254740992"],
    ),
    (
        Encoding::I64,
        "i64",
        &["-9007199254740992", "-4", "283686952306183"],
    ),
    (
        Encoding::F16,
        "f16",
        &["-0.5", "65504", "5.960464477539063e-08"],
    ),
    (
        Encoding::F32,
        "f32",
        &["-12.5", "3.4028234663852886e+38", "1.401298464324817e-45"],
    ),
    (
        Encoding::F64,
        "f64",
        &["0.1", "-1.7976931348623157e+308", "5e-324"],
    ),
];

/// A bus with its points, the values that they must have, and the lines that a device is told.
struct Bench {
    points: Vec<Point>,
    expected: Vec<f64>,
    told: String,
    units: Vec<Unit>,
}

impl Bench {
    /// Every type of `VALUES` that `suits`, in every order, in both tables of registers; bits in
    /// both tables of bits. Some stand side by side, some apart.
    fn new(unit_numbers: &[u8], suits: impl Fn(&str) -> bool) -> Self {
        let units = unit_numbers.iter().map(|number| Unit {
            id: format!("unit{number}"),
            number: *number,
            name: Text::default(),
        });
        let mut bench = Self {
            points: Vec::new(),
            expected: Vec::new(),
            told: String::new(),
            units: units.collect(),
        };
        for number in unit_numbers {
            for (table, shift) in [(Table::HoldingRegisters, 0), (Table::InputRegisters, 3)] {
                let mut address = shift;
                for (place, (encoding, kind, values)) in VALUES.iter().enumerate() {
                    for (order, value) in ORDERS
                        .iter()
                        .flat_map(|o| values.iter().map(move |v| (o, v)))
                    {
                        if suits(kind) {
                            bench.add(*number, table, address, (*encoding, kind), *order, value);
                            address += encoding.width();
                        }
                    }
                    // Now next to each other, now over a small gap, now over a wide one.
                    address += [0, 1, 20][place % 3];
                }
            }
            for (table, value) in [(Table::Coils, "1"), (Table::DiscreteInputs, "0")] {
                for address in [0, 1, 7, 8, 9, 40, 131] {
                    bench.add(
                        *number,
                        table,
                        address,
                        (Encoding::Bit, "bit"),
                        ORDERS[0],
                        value,
                    );
                }
            }
        }
        bench
    }

    fn add(
        &mut self,
        unit: u8,
        table: Table,
        address: u16,
        (encoding, kind): (Encoding, &str),
        (order, order_word): (ByteOrder, &str),
        value: &str,
    ) {
        let table_word = match table {
            Table::Coils => "coils",
            Table::DiscreteInputs => "discrete_inputs",
            Table::HoldingRegisters => "holding_registers",
            Table::InputRegisters => "input_registers",
        };
        let line = format!("{unit} {table_word} {address} {kind} {order_word} {value}");
        writeln!(self.told, "{line}").expect("a string takes all");
        self.expected.push(value.parse().expect("it is a number"));
        self.points.push(Point {
            tag: line,
            name: Text::default(),
            kind: "level".into(),
            position: None,
            unit: "%".into(),
            range: Range {
                low: f64::MIN,
                high: f64::MAX,
            },
            source: None,
            gateway: "gateway".into(),
            device: format!("unit{unit}"),
            period: Duration::from_secs(1),
            register: Register {
                table,
                address,
                encoding,
                order,
                scaling: Scaling::None,
            },
        });
    }

    /// The first reading of every point, by plan, poll and decode.
    async fn poll(&self, address: &str, gap_max: u16) -> BTreeMap<PointId, Reading> {
        let bus = Bus {
            name: "bus".into(),
            address: address.into(),
            timeout: Duration::from_secs(10),
            registers_max: 125,
            bits_max: 2000,
            gap_max,
            units: self.units.clone(),
        };
        let link = TcpLink {
            address: address.into(),
        };
        let clock = Clock::from_fn(|| Timestamp(1_000));
        let (out, mut batches) = mpsc::channel::<Batch>(64);
        let polls = BusPoll::new("gateway", &bus, &self.points);
        let mut readings = BTreeMap::new();
        let collect = async {
            while readings.len() < self.points.len() {
                let batch = batches.recv().await.expect("the poll goes on");
                for reading in batch.readings {
                    readings.entry(reading.point).or_insert(reading);
                }
            }
        };
        tokio::select! {
            () = polls.run(&link, &clock, out) => panic!("the poll ended"),
            collected = timeout(PATIENCE, collect) => collected.expect("every point is read"),
        }
        readings
    }

    /// Polls and compares every point, bit for bit.
    async fn check(&self, address: &str) {
        for gap_max in [0, 8, 124] {
            let readings = self.poll(address, gap_max).await;
            for (place, (point, expected)) in self.points.iter().zip(&self.expected).enumerate() {
                let reading = readings[&PointId(place as u32)];
                assert_eq!(
                    reading.quality,
                    Quality::Good,
                    "gap {gap_max}: {}",
                    point.tag
                );
                assert_eq!(
                    reading.value.to_bits(),
                    expected.to_bits(),
                    "gap {gap_max}: {}: found {}",
                    point.tag,
                    reading.value
                );
            }
        }
    }
}

#[tokio::test]
async fn pymodbus_values_come_out_as_they_went_in() {
    let bench = Bench::new(&[1, 7, 247], |_| true);
    assert!(bench.points.len() > 1_000);
    let device = Device::pymodbus(&bench.told);
    bench.check(&device.address).await;
}

#[tokio::test]
async fn libmodbus_values_come_out_as_they_went_in() {
    let bench = Bench::new(&[1], |kind| kind != "f16");
    assert!(bench.points.len() > 300);
    let device = Device::libmodbus(&bench.told);
    bench.check(&device.address).await;
}

#[tokio::test]
async fn an_exception_of_a_device_makes_its_point_bad_and_no_other() {
    let mut bench = Bench::new(&[1], |kind| kind == "u16");
    // A device must not be told a value that stands outside of it.
    let told = bench.told.clone();
    let register = (Encoding::U16, "u16");
    bench.add(
        1,
        Table::HoldingRegisters,
        SIZE + 100,
        register,
        ORDERS[0],
        "0",
    );
    for device in [Device::pymodbus(&told), Device::libmodbus(&told)] {
        let mut readings = bench.poll(&device.address, 8).await;
        let (_, outside) = readings.pop_last().expect("there are points");
        assert_eq!(outside.quality, Quality::Bad(BadCause::Exception));
        assert!(readings.values().all(|reading| reading.quality.is_good()));

        let link = TcpLink {
            address: device.address.clone(),
        };
        let mut reader = Reader::connect(&link, PATIENCE).await.expect("it listens");
        let refused = reader.read(1, Table::InputRegisters, SIZE, 1).await;
        assert_eq!(refused, Err(Failure::Exception(2)), "illegal data address");
        let read = reader.read(1, Table::DiscreteInputs, 2, 3).await;
        assert_eq!(
            read,
            Ok(Values::Bits(vec![true; 3])),
            "the connection goes on"
        );
    }
}

fn demo() -> Config {
    let folder = root().join("config/demo");
    let read = |name: &str| SourceFile {
        name: name.into(),
        text: std::fs::read_to_string(folder.join(name)).expect("the demo has it"),
    };
    let mut files = vec![read("site.toml")];
    let names = wanted(&files[0]).expect("the demo is sound");
    files.extend(names.iter().map(|name| read(name)));
    check(&files).expect("the demo is sound")
}

/// What mbpoll reads for a request: one number a register or bit.
fn mbpoll(port: u16, unit: u8, request: &Request) -> Vec<u16> {
    let table = match request.table {
        Table::Coils => "0",
        Table::DiscreteInputs => "1",
        Table::InputRegisters => "3:hex",
        Table::HoldingRegisters => "4:hex",
    };
    let asked = [
        ("-a", unit.to_string()),
        ("-t", table.to_owned()),
        ("-r", request.first.to_string()),
        ("-c", request.count.to_string()),
        ("-p", port.to_string()),
        ("-o", "10".to_owned()),
    ];
    let mut command = Command::new("mbpoll");
    command.args(["-0", "-1", "-q"]).arg("127.0.0.1");
    for (name, value) in asked {
        command.args([name, &value]);
    }
    let output = command
        .output()
        .expect("mbpoll is missing: run `make tools`");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let values = said
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]:"));
    let number = |(_, value): (&str, &str)| match value.trim().strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).expect("it is hex"),
        None => value.trim().parse().expect("it is a number"),
    };
    values.map(number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mbpoll_reads_of_the_simulator_what_we_read() {
    let config = demo();
    let simulator = Simulator::new(&config, 7, Story::quiet(), Arc::new(|| 5.0));
    let simulator = Arc::new(simulator);
    let cancel = CancellationToken::new();
    let (mut requests_made, mut different) = (0, std::collections::BTreeSet::new());
    for (gateway, bus) in config
        .gateways
        .iter()
        .flat_map(|g| g.buses.iter().map(move |b| (g, b)))
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let (served, id, name) = (Arc::clone(&simulator), gateway.id.clone(), bus.name.clone());
        let until = cancel.clone();
        let serving = tokio::spawn(async move { served.serve(listener, &id, &name, until).await });
        let link = TcpLink {
            address: format!("127.0.0.1:{port}"),
        };
        let mut reader = Reader::connect(&link, PATIENCE).await.expect("it listens");
        for unit in &bus.units {
            let of_unit: Vec<(PointId, &Point)> = (0..)
                .map(PointId)
                .zip(&config.points)
                .filter(|(_, point)| point.gateway == gateway.id && point.device == unit.id)
                .collect();
            for request in plan(&of_unit, Limits::from(bus)) {
                let (table, first, count) = (request.table, request.first, request.count);
                let ours = match reader.read(unit.number, table, first, count).await {
                    Ok(Values::Registers(words)) => words,
                    Ok(Values::Bits(bits)) => bits.into_iter().map(u16::from).collect(),
                    Err(failure) => panic!("{}: {request:?}: {failure}", unit.id),
                };
                let number = unit.number;
                let asked = request.clone();
                let theirs = tokio::task::spawn_blocking(move || mbpoll(port, number, &asked));
                let theirs = theirs.await.expect("mbpoll runs");
                assert_eq!(ours, theirs, "{}: {request:?}", unit.id);
                requests_made += 1;
                different.extend(ours);
            }
        }
        serving.abort();
    }
    cancel.cancel();
    assert!(requests_made > 10, "only {requests_made} requests");
    assert!(
        different.len() > 50,
        "the units hold {} numbers",
        different.len()
    );
}
