//! A Modbus device whose every reply can be told apart: it counts its polls.
//!
//! Each unit holds, from register 0 on: how often it was polled (u32), its level (f32), and more
//! f32 for load. The level is a known function of the poll, so that what must be in the journal,
//! and which excursions must have been alarmed, follows from the count alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Units of the device.
pub(crate) const UNITS: usize = 6;

/// Points of a unit beside its count and its level.
pub(crate) const LOAD: usize = 16;

/// Polls from one excursion to the next.
const PERIOD: u64 = 40;

/// Polls of one excursion.
const HIGH: u64 = 14;

/// The device.
pub(crate) struct Device {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    polls: [AtomicU64; UNITS],
    hushed: AtomicBool,
}

/// Which excursion of a unit a poll falls into, if any.
pub(crate) fn excursion(unit: usize, poll: u64) -> Option<u64> {
    // Units are out of step, so that a kill meets some of them in the midst of one.
    let place = poll + unit as u64 * 7;
    (place % PERIOD >= PERIOD - HIGH).then_some(place / PERIOD)
}

/// The level that a unit shows at a poll.
pub(crate) fn level(unit: usize, poll: u64) -> f32 {
    if excursion(unit, poll).is_some() {
        90.0
    } else {
        50.0
    }
}

impl Device {
    /// Listens on a free port of loopback.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let of_all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_all);
                // A connection ends with its client.
                std::thread::spawn(move || drop(converse(stream, &shared)));
            }
        });
        Self { address, shared }
    }

    /// Polls of all units so far.
    pub(crate) fn polls(&self) -> u64 {
        let polls = self.shared.polls.iter();
        polls.map(|polls| polls.load(Ordering::Relaxed)).sum()
    }

    /// From now on it answers nobody.
    pub(crate) fn hush(&self) {
        self.shared.hushed.store(true, Ordering::Relaxed);
    }
}

fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        // Header, function code, address, count.
        let mut request = [0; 12];
        stream.read_exact(&mut request)?;
        let [t1, t0, _, _, _, _, number, function, a1, a0, c1, c0] = request;
        let unit = usize::from(number).wrapping_sub(1);
        if shared.hushed.load(Ordering::Relaxed) || unit >= UNITS {
            continue;
        }
        let first = usize::from(u16::from_be_bytes([a1, a0]));
        let count = usize::from(u16::from_be_bytes([c1, c0]));
        let poll = shared.polls[unit].fetch_add(1, Ordering::Relaxed) + 1;
        let mut memory = Vec::new();
        memory.extend((poll as u32).to_be_bytes());
        memory.extend(level(unit, poll).to_be_bytes());
        for point in 0..LOAD {
            memory.extend((point as f32 + (poll % 100) as f32 / 100.0).to_be_bytes());
        }
        let data = memory.get(2 * first..2 * (first + count));
        assert!(function == 3 && data.is_some(), "asked: {request:?}");
        let data = data.unwrap_or_default();
        let mut reply = vec![t1, t0, 0, 0, 0, data.len() as u8 + 3, number, 3];
        reply.push(data.len() as u8);
        reply.extend(data);
        stream.write_all(&reply)?;
    }
}
