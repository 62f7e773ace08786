//! The Modbus TCP side: listeners, connections, and replies as sound or as spoilt as wanted.
//!
//! Invariants: what a client sends can close its own connection and nothing else; each listener
//! holds at most [`CONNECTIONS_MAX`] connections, each at most one request; a connection that
//! says nothing for [`IDLE_MAX`] is closed; cancelling ends everything.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::frame::{self, HEADER_BYTES, Header, NO_SUCH_UNIT, Reply};
use super::{ANNUNCIATOR_UNIT, Simulator, SimulatorError, State};

/// Most connections of one listener; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be silent.
const IDLE_MAX: Duration = Duration::from_mins(10);
/// How long a client may take for the rest of a frame, or to take a reply.
const FRAME_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What stands behind one listener.
#[derive(Debug)]
struct Bus {
    gateway: String,
    /// Unit number and device id.
    units: Vec<(u8, String)>,
    annunciator: u8,
}

/// Serves every bus (and annunciator) of the simulator's configuration at its address, until
/// cancelled. Opens all of them before it serves the first.
pub async fn run(
    simulator: Arc<Simulator>,
    cancel: CancellationToken,
) -> Result<(), SimulatorError> {
    let mut listeners: Vec<(String, TcpListener, Bus)> = Vec::new();
    for gateway in &simulator.gateways {
        let buses = gateway
            .buses
            .iter()
            .map(|bus| (bus.address.as_str(), bus.name.as_str()));
        // An annunciator at an address of its own is a listener without sensor units.
        let siren = gateway.annunciator.as_ref();
        let siren = siren.map(|siren| (siren.address.as_str(), ""));
        for (address, name) in buses.chain(siren) {
            if listeners.iter().any(|(taken, _, _)| taken == address) {
                continue;
            }
            let bus = simulator.bus(&gateway.id, name)?;
            let listener =
                TcpListener::bind(address)
                    .await
                    .map_err(|why| SimulatorError::Listen {
                        address: address.to_owned(),
                        why,
                    })?;
            listeners.push((address.to_owned(), listener, bus));
        }
    }
    let mut tasks = JoinSet::new();
    for (configured, listener, bus) in listeners {
        // Port 0 is for the system to choose.
        let address = listener
            .local_addr()
            .map_or(configured, |at| at.to_string());
        tracing::info!(%address, gateway = bus.gateway, "simulated units listen");
        tasks.spawn(accept(
            Arc::clone(&simulator),
            listener,
            Arc::new(bus),
            cancel.clone(),
        ));
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

impl Simulator {
    /// Serves the units of one bus on a listener until cancelled.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        gateway: &str,
        bus: &str,
        cancel: CancellationToken,
    ) -> Result<(), SimulatorError> {
        let bus = Arc::new(self.bus(gateway, bus)?);
        accept(self, listener, bus, cancel).await;
        Ok(())
    }

    /// A bus by gateway and name; the empty name is the one without units.
    fn bus(&self, gateway_id: &str, name: &str) -> Result<Bus, SimulatorError> {
        let unknown = || SimulatorError::UnknownBus {
            gateway: gateway_id.to_owned(),
            bus: name.to_owned(),
        };
        let gateway = self.gateways.iter().find(|g| g.id == gateway_id);
        let gateway = gateway.ok_or_else(unknown)?;
        let bus = gateway.buses.iter().find(|bus| bus.name == name);
        let units = match bus {
            Some(bus) => bus.units.iter().map(|u| (u.number, u.id.clone())).collect(),
            None if name.is_empty() => Vec::new(),
            None => return Err(unknown()),
        };
        let siren = gateway.annunciator.as_ref();
        Ok(Bus {
            gateway: gateway_id.to_owned(),
            units,
            annunciator: siren.map_or(ANNUNCIATOR_UNIT, |siren| siren.unit),
        })
    }

    /// The reply to one request.
    fn reply(&self, bus: &Bus, header: Header, request: &[u8]) -> Reply {
        let mut guard = self.state_now();
        let State { world, coils } = &mut *guard;
        let unit = bus.units.iter().find(|(number, _)| *number == header.unit);
        let Some((_, device)) = unit else {
            let body = if header.unit == bus.annunciator {
                let coils = coils.entry(bus.gateway.clone()).or_default();
                let before = *coils;
                let body = frame::annunciate(request, coils);
                if *coils != before {
                    let on = coils.contains(&true);
                    // It has no voice but the log.
                    tracing::warn!(gateway = bus.gateway, on, "siren");
                }
                body
            } else {
                frame::exception(request, NO_SUCH_UNIT)
            };
            return frame::reply(header, request, &body, None);
        };
        let place = world.unit(&bus.gateway, device);
        let body = match place.and_then(|place| world.image(place)) {
            Some(image) => frame::answer(request, image),
            None => frame::exception(request, NO_SUCH_UNIT),
        };
        frame::reply(
            header,
            request,
            &body,
            world.unit_fault(&bus.gateway, device),
        )
    }
}

/// Takes connections until cancelled; its connections end with it.
async fn accept(
    simulator: Arc<Simulator>,
    listener: TcpListener,
    bus: Arc<Bus>,
    cancel: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < CONNECTIONS_MAX => {
                let (simulator, bus) = (Arc::clone(&simulator), Arc::clone(&bus));
                connections.spawn(async move {
                    if let Err(why) = converse(&simulator, &bus, stream).await {
                        tracing::debug!(%peer, %why, "connection ended");
                    }
                });
            }
            Ok((_, peer)) => tracing::warn!(%peer, "one connection too many, closed"),
            Err(why) => {
                tracing::warn!(%why, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.shutdown().await;
}

/// Answers the requests of one connection until it ends.
async fn converse(simulator: &Simulator, bus: &Bus, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let mut bytes = [0; HEADER_BYTES];
        tokio::time::timeout(IDLE_MAX, stream.read_exact(&mut bytes)).await??;
        // What is no header leaves no way to find the next one: close, as real units do.
        let header = Header::read(bytes).ok_or(io::ErrorKind::InvalidData)?;
        let mut request = vec![0; header.body];
        tokio::time::timeout(FRAME_MAX, stream.read_exact(&mut request)).await??;
        let reply = simulator.reply(bus, header, &request);
        if !reply.after.is_zero() {
            tokio::time::sleep(reply.after).await;
        }
        tokio::time::timeout(FRAME_MAX, stream.write_all(&reply.bytes)).await??;
        if reply.close {
            return stream.shutdown().await;
        }
    }
}
