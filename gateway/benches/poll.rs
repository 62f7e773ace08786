//! What planning, checking and decoding cost over the bare Modbus library.
//!
//! Defends `gateway_ratio >= 0.9`: polls a second of our reader and decoder (50 float32 points in
//! 100 registers), divided by those of a bare loop over the library that asks for the same
//! registers and decodes nothing. Same server, same run, turn by turn; the median of the turns.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench reads the clock, prints its figure, and stops where it cannot go on"
)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use davy_core::point::{ByteOrder, Encoding, Point, Range, Register, Scaling, Table, Text};
use davy_core::reading::{PointId, Timestamp};
use davy_gateway::decode::Decoder;
use davy_gateway::modbus::{Reader, TcpLink};
use davy_gateway::plan::{Limits, Request, plan};
use tokio_modbus::client::{Reader as _, tcp};

const REGISTERS: u16 = 100;
/// Many short turns: what else the machine does then meets both alike.
const POLLS: u32 = 500;
const TURNS: usize = 301;
/// Polls before the watch starts: a new connection has its own first costs.
const WARM_UP: u32 = 50;

fn main() {
    let address = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut ratios: Vec<f64> = (0..TURNS)
        .map(|turn| {
            // Whoever goes second finds warmer caches: take turns at that as well.
            let (ours, bare) = if turn % 2 == 0 {
                let ours = runtime.block_on(ours(address));
                (ours, runtime.block_on(bare(address)))
            } else {
                let bare = runtime.block_on(bare(address));
                (runtime.block_on(ours(address)), bare)
            };
            bare.as_secs_f64() / ours.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("gateway_ratio: {:.3} (goal >= 0.9)", ratios[TURNS / 2]);
}

/// Time for the polls over our reader and decoder.
async fn ours(address: SocketAddr) -> Duration {
    let points: Vec<Point> = (0..REGISTERS / 2).map(|place| point(place * 2)).collect();
    let members: Vec<(PointId, &Point)> = (0..).map(PointId).zip(&points).collect();
    let limits = Limits {
        registers_max: 125,
        bits_max: 2000,
        gap_max: 0,
    };
    let mut asks: Vec<(Request, Decoder)> = plan(&members, limits)
        .into_iter()
        .map(|request| {
            let decoder = Decoder::new(&request, &points);
            (request, decoder)
        })
        .collect();
    assert_eq!(asks.len(), 1);
    let link = TcpLink {
        address: address.to_string(),
    };
    let mut reader = Reader::connect(&link, Duration::from_secs(5))
        .await
        .unwrap();
    let mut start = Instant::now();
    for poll in 0..WARM_UP + POLLS {
        if poll == WARM_UP {
            start = Instant::now();
        }
        // A batch of its own each time, as the outbox gets it.
        let mut readings = Vec::with_capacity(points.len());
        for (request, decoder) in &mut asks {
            let values = reader
                .read(1, request.table, request.first, request.count)
                .await
                .unwrap();
            decoder.decode(&values, Timestamp(i64::from(poll)), &mut readings);
        }
        assert_eq!(black_box(&readings).len(), points.len());
    }
    start.elapsed()
}

/// Time for the same polls over the library alone.
async fn bare(address: SocketAddr) -> Duration {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut context = tcp::attach_slave(stream, tokio_modbus::Slave(1));
    let mut start = Instant::now();
    for poll in 0..WARM_UP + POLLS {
        if poll == WARM_UP {
            start = Instant::now();
        }
        let words = context
            .read_holding_registers(0, REGISTERS)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(black_box(&words).len(), usize::from(REGISTERS));
    }
    start.elapsed()
}

/// A server on loopback that answers every read of 100 registers with the same reply.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut request = [0; 12];
    while stream.read_exact(&mut request).is_ok() {
        let bytes = REGISTERS * 2;
        let mut reply = request[..4].to_vec();
        reply.extend((bytes + 3).to_be_bytes());
        reply.extend([request[6], request[7], bytes as u8]);
        for place in 0..REGISTERS / 2 {
            reply.extend((20.0 + f32::from(place) / 7.0).to_be_bytes());
        }
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

fn point(address: u16) -> Point {
    Point {
        tag: format!("T-{address}"),
        name: Text::default(),
        kind: "temperature".into(),
        position: None,
        unit: "°C".into(),
        range: Range {
            low: -50.0,
            high: 150.0,
        },
        source: None,
        gateway: "g".into(),
        device: "u".into(),
        period: Duration::from_secs(1),
        register: Register {
            table: Table::HoldingRegisters,
            address,
            encoding: Encoding::F32,
            order: ByteOrder::Abcd,
            scaling: Scaling::None,
        },
    }
}
