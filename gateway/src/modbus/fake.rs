//! A bus in memory for tests: units behind one address, each with its own way to fail.
//!
//! Register `a` of unit `u` holds `1000 u + a`, so a value can never be taken for another's
//! without a test noticing. Waits go by the runtime's time, which the tests pause.

#![allow(clippy::unwrap_used, reason = "a test may fail by it")]

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use super::Link;

/// How a unit deals with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    Answers,
    /// Never answers; the gateway before it holds the line for this long.
    Silent(Duration),
    /// Does not answer requests that begin at this register, answers the others.
    SilentAt(u16),
    /// Answers every other request.
    Flaps,
    /// Answers after this long.
    Late(Duration),
    Refuses(u8),
    /// Refuses requests that begin at this register, answers the others.
    RefusesAt(u16),
    /// Has no such register: refuses requests that reach over it, answers the others.
    Lacks(u16),
    /// Refuses requests for more registers, answers the others.
    AtMost(u16),
    WrongTransaction,
    WrongUnit,
    WrongFunction,
    /// Sends half of the frame and closes.
    CutMidFrame,
    /// One register (or byte) less than asked for, in a well-formed frame.
    Short,
    Closes,
}

#[derive(Debug, Default)]
pub(crate) struct Plant {
    pub(crate) manners: Mutex<HashMap<u8, Manner>>,
    pub(crate) refuses_connections: AtomicBool,
    /// At most this many connections at once; 0 for any number.
    pub(crate) connections_max: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    pub(crate) connected_in_all: AtomicUsize,
    /// Hangs up on a connection that says nothing for so long.
    pub(crate) idle_max: Mutex<Option<Duration>>,
    /// Requests served or not, by unit.
    pub(crate) asked: Mutex<HashMap<u8, usize>>,
    /// Every function code that was ever sent.
    pub(crate) functions: Mutex<Vec<u8>>,
    pub(crate) coil: AtomicBool,
    /// The coil takes writes but stays as it is.
    pub(crate) coil_is_stuck: AtomicBool,
    /// One request at a time whatever the connection, as on a serial line.
    wire: tokio::sync::Mutex<()>,
}

/// Makes connections to a plant.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeLink(pub(crate) Arc<Plant>);

impl FakeLink {
    pub(crate) fn set(&self, unit: u8, manner: Manner) {
        self.0.manners.lock().unwrap().insert(unit, manner);
    }

    pub(crate) fn asked(&self, unit: u8) -> usize {
        self.0
            .asked
            .lock()
            .unwrap()
            .get(&unit)
            .copied()
            .unwrap_or(0)
    }
}

impl Link for FakeLink {
    type Stream = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let plant = Arc::clone(&self.0);
        let max = plant.connections_max.load(SeqCst);
        if plant.refuses_connections.load(SeqCst)
            || (max > 0 && plant.connections.load(SeqCst) >= max)
        {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = duplex(1024);
        plant.connections.fetch_add(1, SeqCst);
        plant.connected_in_all.fetch_add(1, SeqCst);
        tokio::spawn(async move {
            // Whatever ends it, the connection is closed when `theirs` is dropped.
            let _end = plant.serve(theirs).await;
            plant.connections.fetch_sub(1, SeqCst);
        });
        Ok(ours)
    }
}

impl Plant {
    pub(crate) async fn serve<S>(&self, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let mut head = [0; 7];
            let idle_max = *self.idle_max.lock().unwrap();
            timeout(
                idle_max.unwrap_or(Duration::MAX),
                stream.read_exact(&mut head),
            )
            .await??;
            let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
            stream.read_exact(&mut pdu).await?;
            let unit = head[6];
            *self.asked.lock().unwrap().entry(unit).or_default() += 1;
            self.functions.lock().unwrap().push(pdu[0]);
            let manner = self.manners.lock().unwrap().get(&unit).copied();
            let _wire = self.wire.lock().await;
            let first = u16::from_be_bytes([pdu[1], pdu[2]]);
            let count = u16::from_be_bytes([pdu[3], pdu[4]]);
            let mut reply = self.reply(unit, &pdu);
            match manner.unwrap_or(Manner::Answers) {
                Manner::Flaps if self.asked.lock().unwrap()[&unit].is_multiple_of(2) => continue,
                Manner::SilentAt(address) if address == first => continue,
                Manner::Answers | Manner::Flaps | Manner::SilentAt(_) => {}
                Manner::Silent(hold) => {
                    sleep(hold).await;
                    continue;
                }
                Manner::Late(by) => sleep(by).await,
                Manner::RefusesAt(address) if address != first => {}
                Manner::Lacks(address) if !(first..first + count).contains(&address) => {}
                Manner::AtMost(registers) if count <= registers => {}
                Manner::AtMost(_) => reply = vec![pdu[0] | 0x80, 3],
                Manner::Refuses(code) => reply = vec![pdu[0] | 0x80, code],
                Manner::RefusesAt(_) | Manner::Lacks(_) => reply = vec![pdu[0] | 0x80, 2],
                Manner::WrongTransaction => head[1] = head[1].wrapping_sub(1),
                Manner::WrongUnit => head[6] ^= 1,
                Manner::WrongFunction => reply[0] ^= 7,
                Manner::Short => {
                    let cut = if pdu[0] <= 2 { 1 } else { 2 };
                    reply.truncate(reply.len() - cut);
                    reply[1] -= cut as u8;
                }
                Manner::Closes => return Ok(()),
                Manner::CutMidFrame => {
                    let frame = frame(head, &reply);
                    return stream.write_all(&frame[..frame.len() / 2]).await;
                }
            }
            stream.write_all(&frame(head, &reply)).await?;
        }
    }

    fn reply(&self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let first = u16::from_be_bytes([pdu[1], pdu[2]]);
        let count = u16::from_be_bytes([pdu[3], pdu[4]]);
        match pdu[0] {
            1 if count == 1 => vec![1, 1, u8::from(self.coil.load(SeqCst))],
            function @ (1 | 2) => {
                let bytes = usize::from(count.div_ceil(8));
                // Every bit with an odd address is on.
                let byte = if first.is_multiple_of(2) { 0xaa } else { 0x55 };
                let mut reply = vec![function, bytes as u8];
                reply.resize(2 + bytes, byte);
                reply
            }
            function @ (3 | 4) => {
                let mut reply = vec![function, (count * 2) as u8];
                for address in first..first + count {
                    reply.extend((u16::from(unit) * 1000 + address).to_be_bytes());
                }
                reply
            }
            5 => {
                if !self.coil_is_stuck.load(SeqCst) {
                    self.coil.store(pdu[3] == 0xff, SeqCst);
                }
                pdu.to_vec()
            }
            function => vec![function | 0x80, 1],
        }
    }
}

fn frame(head: [u8; 7], reply: &[u8]) -> Vec<u8> {
    let mut frame = head.to_vec();
    frame[4..6].copy_from_slice(&(reply.len() as u16 + 1).to_be_bytes());
    frame.extend(reply);
    frame
}
