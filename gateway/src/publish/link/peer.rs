//! A broker for tests: one listener on a free port that tells all and says what it is told to.

use davy_core::sparkplug::PACKET_BYTES_MAX;
use rumqttc::{
    ConnAck, Connect, ConnectReturnCode, Packet as Mqtt, PubAck, Publish, QoS, SubAck,
    SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The listener.
pub(crate) struct Peer {
    listener: TcpListener,
}

/// One client that has been let in.
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) connect: Connect,
    buffer: Vec<u8>,
}

impl Peer {
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("address").port()
    }

    /// The next client, let in.
    pub(crate) async fn welcome(&self) -> Client {
        let (stream, _) = self.listener.accept().await.expect("a client");
        let mut client = Client {
            stream,
            connect: Connect::new(""),
            buffer: Vec::new(),
        };
        match client.read().await {
            Some(Mqtt::Connect(connect)) => client.connect = connect,
            other => panic!("{other:?}"),
        }
        let welcome = ConnAck::new(ConnectReturnCode::Success, false);
        client.write(&Mqtt::ConnAck(welcome)).await;
        client
    }

    /// The next client, let in and subscribed to what it wants.
    pub(crate) async fn accept(&self) -> (Client, Vec<String>) {
        let mut client = self.welcome().await;
        match client.read().await {
            Some(Mqtt::Subscribe(subscribe)) => {
                let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); 2];
                let answer = SubAck::new(subscribe.pkid, codes);
                client.write(&Mqtt::SubAck(answer)).await;
                let filters = subscribe.filters.into_iter();
                (client, filters.map(|filter| filter.path).collect())
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Client {
    /// The next message of the client, acknowledged; none when it has disconnected, and an error
    /// when it is gone without a word.
    pub(crate) async fn message(&mut self) -> Result<Option<Publish>, &'static str> {
        loop {
            match self.read().await {
                Some(Mqtt::Publish(publish)) => {
                    self.write(&Mqtt::PubAck(PubAck::new(publish.pkid))).await;
                    return Ok(Some(publish));
                }
                Some(Mqtt::PingReq) => self.write(&Mqtt::PingResp).await,
                Some(Mqtt::Disconnect) => return Ok(None),
                Some(_) => {}
                None => return Err("gone"),
            }
        }
    }

    /// Sends the client a message.
    pub(crate) async fn say(&mut self, topic: &str, payload: Vec<u8>) {
        let publish = Publish::new(topic, QoS::AtMostOnce, payload);
        self.write(&Mqtt::Publish(publish)).await;
    }

    async fn read(&mut self) -> Option<Mqtt> {
        loop {
            let mut bytes = <_>::default();
            Extend::extend(&mut bytes, self.buffer.iter());
            if let Ok(packet) = Mqtt::read(&mut bytes, PACKET_BYTES_MAX) {
                self.buffer = bytes.to_vec();
                return Some(packet);
            }
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn write(&mut self, packet: &Mqtt) {
        let mut bytes = <_>::default();
        packet.write(&mut bytes, PACKET_BYTES_MAX).expect("it fits");
        // A client that is gone is seen by the next read.
        if self.stream.write_all(&bytes).await.is_err() {
            self.buffer.clear();
        }
    }
}
