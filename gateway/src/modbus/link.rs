//! How a connection to a bus is made.
//!
//! Modbus TCP today. Serial lines are a second link behind the same trait; tests have one over
//! pipes in memory.

use std::fmt::Debug;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Makes connections to one bus.
pub trait Link: Send + Sync {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + Debug + 'static;

    /// One new connection. Waits without end; [`Reader::connect`](super::Reader::connect) bounds
    /// it.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Modbus TCP.
#[derive(Clone, Debug)]
pub struct TcpLink {
    /// `host:port`.
    pub address: String,
}

impl Link for TcpLink {
    type Stream = TcpStream;

    #[allow(
        clippy::disallowed_methods,
        reason = "the caller bounds it by the bus's timeout"
    )]
    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address.as_str()).await?;
        // A request is one small segment; held back it would cost a round trip each.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
