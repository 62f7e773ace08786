//! A connection that can read the four tables and nothing else.
//!
//! The library's client can do more than read and checks lengths in debug builds only. So it stays
//! private in here, is called with the four read requests alone (01–04), and every reply's length
//! is checked against the request.

use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;

use davy_core::point::Table;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep_until, timeout};
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::{Slave, SlaveContext};
use tokio_modbus::{Error, ProtocolError, Request, Response};

use crate::clock::monotonic;

use super::{Failure, Link, Values};

/// One connection to a bus; reads coils, discrete inputs, holding and input registers.
#[allow(
    missing_debug_implementations,
    reason = "the library's client has none"
)]
pub struct Reader {
    /// None once the connection was dropped.
    context: Option<Context>,
    /// How long to wait for each answer.
    timeout: Duration,
    /// One timer for all reads: moving its end costs far less than a new timer for each.
    timer: Pin<Box<Sleep>>,
}

impl Reader {
    /// Connects, waiting no longer than `limit`; each later read waits no longer than that either.
    pub async fn connect<L: Link>(link: &L, limit: Duration) -> Result<Self, Failure> {
        match timeout(limit, link.connect()).await {
            Ok(Ok(stream)) => Ok(Self::attach(stream, limit)),
            Ok(Err(error)) => Err(Failure::Unreachable(error.kind())),
            Err(_) => Err(Failure::Unreachable(ErrorKind::TimedOut)),
        }
    }

    /// Takes a stream that is connected already.
    pub fn attach<S>(stream: S, timeout: Duration) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug + 'static,
    {
        Self {
            context: Some(tcp::attach(stream)),
            timeout,
            timer: Box::pin(sleep_until(monotonic())),
        }
    }

    /// Whether it can still read; false after any failure but an exception.
    pub fn is_open(&self) -> bool {
        self.context.is_some()
    }

    /// Reads `count` registers or bits of `unit` from `first` on.
    ///
    /// The values are exactly `count`. On any failure but [`Failure::Exception`] the connection is
    /// dropped and every later read is [`Failure::LinkDown`].
    pub async fn read(
        &mut self,
        unit: u8,
        table: Table,
        first: u16,
        count: u16,
    ) -> Result<Values, Failure> {
        let Some(mut context) = self.context.take() else {
            return Err(Failure::LinkDown);
        };
        context.set_slave(Slave(unit));
        let request = match table {
            Table::Coils => Request::ReadCoils(first, count),
            Table::DiscreteInputs => Request::ReadDiscreteInputs(first, count),
            Table::HoldingRegisters => Request::ReadHoldingRegisters(first, count),
            Table::InputRegisters => Request::ReadInputRegisters(first, count),
        };
        self.timer.as_mut().reset(monotonic() + self.timeout);
        let result = tokio::select! {
            biased;
            answer = context.call(request) => match answer {
                Err(error) => Err(failure(&error)),
                Ok(Err(code)) => Err(Failure::Exception(code.into())),
                Ok(Ok(response)) => values(response, count),
            },
            () = self.timer.as_mut() => Err(Failure::NoAnswer),
        };
        // Taken out above and put back here: a read that is cancelled half-way drops the
        // connection as well.
        if matches!(result, Ok(_) | Err(Failure::Exception(_))) {
            self.context = Some(context);
        }
        result
    }
}

/// Checks the length of a reply. Bits come in whole bytes; those past `count` are padding.
fn values(response: Response, count: u16) -> Result<Values, Failure> {
    let count = usize::from(count);
    match response {
        Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words)
            if words.len() == count =>
        {
            Ok(Values::Registers(words))
        }
        Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits)
            if bits.len() == count.next_multiple_of(8) =>
        {
            bits.truncate(count);
            Ok(Values::Bits(bits))
        }
        _ => Err(Failure::Garbled),
    }
}

/// Tells a reply that makes no sense from a connection that is gone.
fn failure(error: &Error) -> Failure {
    match error {
        Error::Protocol(ProtocolError::HeaderMismatch { .. }) => Failure::Misaddressed,
        Error::Protocol(ProtocolError::FunctionCodeMismatch { .. }) => Failure::Garbled,
        Error::Transport(error) => match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => Failure::LinkDown,
            // The library reports a plain close by the last error of the system, whatever that is.
            _ if error.raw_os_error().is_some() => Failure::LinkDown,
            // Cut in the middle of a frame, or a frame that says nonsense.
            _ => Failure::Garbled,
        },
    }
}
