//! One MQTT 3.1.1 connection: rumqttc's packets over a socket of ours.
//!
//! Why not rumqttc's own event loop: its TLS links `ring` (an old webpki), and it takes no socket of ours. Here TLS is the
//! house's, and a message that is too large is passed over and named, where a client that closes would meet it again, kept
//! by the broker, at each reconnect.
//!
//! Cancel-safe: [`Connection::next`] may be dropped at any await and called again.

use crate::broker::Broker;
use bytes::{Buf, BytesMut};
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Packet, PubAck, Publish, Subscribe, SubscribeFilter,
};
use rumqttc::mqttbytes::{self, QoS};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use vda5050::limits::MESSAGE_BYTES_MAX;

/// A message, its topic (two names of 128 bytes and a little) and MQTT's own bytes.
const PACKET_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 1_024;
/// What waits to be sent: 32 of the longest messages. More means that the broker does not read.
const OUTGOING_BYTES_MAX: usize = 32 * PACKET_BYTES_MAX;
/// From the first byte to a broker that took us in: three round trips of TCP and TLS, and a slow authentication.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A broker takes a client for gone after one and a half of it: 15 s until a dead robot's will.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

pub struct Connection {
    reader: ReadHalf<Box<dyn Socket>>,
    writer: WriteHalf<Box<dyn Socket>>,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Written, perhaps still in TLS.
    unflushed: bool,
    /// Bytes of an oversized message still to pass over.
    pass_over: usize,
    packet_id: u16,
    unacknowledged: usize,
    ping_at: Instant,
    /// When an unanswered ping means that the broker is gone.
    pong_by: Option<Instant>,
}

/// What came.
#[derive(Debug)]
pub enum Incoming {
    Message {
        topic: String,
        payload: bytes::Bytes,
        retained: bool,
    },
    /// A message larger than any of the standard was passed over.
    Oversized {
        topic: Option<String>,
        bytes: usize,
    },
    Subscribed,
    /// A filter was refused: the broker's access list does not let us read.
    SubscriptionRefused,
}

/// Why there is no connection; whoever asked tries again later.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no answer within {} s", CONNECT_MAX.as_secs())]
    Slow,
    #[error("the broker refuses us: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("the broker does not speak MQTT 3.1.1: {0}")]
    Form(mqttbytes::Error),
    #[error("the broker is silent")]
    Silent,
    #[error("the broker does not read: {OUTGOING_BYTES_MAX} bytes wait")]
    Full,
}

/// A message that the broker publishes when we are gone.
pub struct Will {
    pub topic: String,
    pub payload: String,
}

impl Connection {
    pub async fn open(broker: &Broker, client_id: &str, will: Option<Will>) -> Result<Connection, ConnectionError> {
        let opening = Connection::open_slowly(broker, client_id, will);
        timeout(CONNECT_MAX, opening).await.map_err(|_| ConnectionError::Slow)?
    }

    async fn open_slowly(broker: &Broker, client_id: &str, will: Option<Will>) -> Result<Connection, ConnectionError> {
        let tcp = TcpStream::connect((broker.host.as_str(), broker.port)).await?;
        tcp.set_nodelay(true)?;
        let socket: Box<dyn Socket> = match &broker.tls {
            Some((config, name)) => {
                Box::new(tokio_rustls::TlsConnector::from(config.clone()).connect(name.clone(), tcp).await?)
            }
            None => Box::new(tcp),
        };
        let (reader, writer) = tokio::io::split(socket);
        let mut connection = Connection {
            reader,
            writer,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            unflushed: false,
            pass_over: 0,
            packet_id: 0,
            unacknowledged: 0,
            ping_at: Instant::now() + KEEP_ALIVE,
            pong_by: None,
        };
        let mut connect = Connect::new(client_id);
        connect.keep_alive = KEEP_ALIVE.as_secs() as u16;
        connect.last_will = will.map(|it| LastWill::new(it.topic, it.payload, QoS::AtLeastOnce, true));
        if let Some((user, password)) = &broker.credentials {
            connect.set_login(user, password);
        }
        connection.queue(&Packet::Connect(connect))?;
        connection.flush().await?;
        loop {
            match connection.packet()? {
                Some(Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, .. })) => return Ok(connection),
                Some(Packet::ConnAck(ConnAck { code, .. })) => return Err(ConnectionError::Refused(code)),
                Some(_) => return Err(ConnectionError::Form(mqttbytes::Error::InvalidProtocol)),
                None => connection.fill().await?,
            }
        }
    }

    /// Queued; sent while [`Connection::next`] or [`Connection::close`] runs.
    pub fn subscribe(&mut self, filters: Vec<(String, u8)>) -> Result<(), ConnectionError> {
        let filters = filters.into_iter().map(|(path, level)| SubscribeFilter::new(path, qos(level)));
        let mut subscribe = Subscribe::new_many(filters);
        subscribe.pkid = self.next_id();
        self.queue(&Packet::Subscribe(subscribe))
    }

    /// Queued; sent while [`Connection::next`] or [`Connection::close`] runs.
    pub fn publish(&mut self, topic: String, level: u8, retain: bool, payload: String) -> Result<(), ConnectionError> {
        let mut publish = Publish::new(topic, qos(level), payload);
        publish.retain = retain;
        if level > 0 {
            publish.pkid = self.next_id();
            self.unacknowledged += 1;
        }
        self.queue(&Packet::Publish(publish))
    }

    fn next_id(&mut self) -> u16 {
        self.packet_id = if self.packet_id == u16::MAX { 1 } else { self.packet_id + 1 };
        self.packet_id
    }

    fn queue(&mut self, packet: &Packet) -> Result<(), ConnectionError> {
        if self.outgoing.len() + packet.size() > OUTGOING_BYTES_MAX {
            return Err(ConnectionError::Full);
        }
        packet.write(&mut self.outgoing, OUTGOING_BYTES_MAX).map_err(ConnectionError::Form)?;
        Ok(())
    }

    /// Sends what waits, answers the broker, and returns what came.
    pub async fn next(&mut self) -> Result<Incoming, ConnectionError> {
        loop {
            if let Some(incoming) = self.taken()? {
                return Ok(incoming);
            }
            self.turn().await?;
        }
    }

    /// Waits for the socket or the clock, once.
    async fn turn(&mut self) -> Result<(), ConnectionError> {
        let deadline = self.pong_by.unwrap_or(self.ping_at).min(self.ping_at);
        self.incoming.reserve(4_096);
        tokio::select! {
            read = self.reader.read_buf(&mut self.incoming) => match read? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                _ => return Ok(()),
            },
            pushed = push(&mut self.writer, &mut self.outgoing, &mut self.unflushed) => pushed?,
            () = tokio::time::sleep_until(deadline) => {
                if self.pong_by.is_some_and(|by| by <= Instant::now()) {
                    return Err(ConnectionError::Silent);
                }
                self.queue(&Packet::PingReq)?;
                self.ping_at = Instant::now() + KEEP_ALIVE;
                self.pong_by.get_or_insert(Instant::now() + KEEP_ALIVE);
            }
        }
        Ok(())
    }

    /// Whatever in the packets that were read is for the caller.
    fn taken(&mut self) -> Result<Option<Incoming>, ConnectionError> {
        loop {
            if let Some(oversized) = self.oversized()? {
                return Ok(Some(oversized));
            }
            match self.packet()? {
                Some(Packet::Publish(it)) => {
                    if it.qos != QoS::AtMostOnce {
                        self.queue(&Packet::PubAck(PubAck::new(it.pkid)))?;
                    }
                    return Ok(Some(Incoming::Message { topic: it.topic, payload: it.payload, retained: it.retain }));
                }
                Some(Packet::SubAck(it)) => {
                    let refused = it.return_codes.contains(&mqttbytes::v4::SubscribeReasonCode::Failure);
                    let answer = if refused { Incoming::SubscriptionRefused } else { Incoming::Subscribed };
                    return Ok(Some(answer));
                }
                Some(Packet::PubAck(_)) => self.unacknowledged = self.unacknowledged.saturating_sub(1),
                Some(Packet::PingResp) => self.pong_by = None,
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next whole packet of what was read.
    fn packet(&mut self) -> Result<Option<Packet>, ConnectionError> {
        if frame(&self.incoming).is_some_and(|(header, length)| header + length > PACKET_BYTES_MAX) {
            return Ok(None);
        }
        match Packet::read(&mut self.incoming, PACKET_BYTES_MAX) {
            Ok(packet) => Ok(Some(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(ConnectionError::Form(error)),
        }
    }

    /// Passes over a packet that is too long, as far as it came; names it when its topic was read.
    fn oversized(&mut self) -> Result<Option<Incoming>, ConnectionError> {
        if self.pass_over > 0 {
            let passed = self.pass_over.min(self.incoming.len());
            self.incoming.advance(passed);
            self.pass_over -= passed;
            return Ok(None);
        }
        let Some((header, length)) = frame(&self.incoming) else { return Ok(None) };
        if header + length <= PACKET_BYTES_MAX {
            return Ok(None);
        }
        if self.incoming[0] >> 4 != 3 {
            return Err(ConnectionError::Form(mqttbytes::Error::PayloadSizeLimitExceeded(length)));
        }
        let named = self.incoming.get(header..header + 2).map(|it| usize::from(u16::from_be_bytes([it[0], it[1]])));
        let Some(topic) = named.and_then(|bytes| self.incoming.get(header + 2..header + 2 + bytes)) else {
            return Ok(None);
        };
        let topic = String::from_utf8(topic.to_vec()).ok();
        self.pass_over = header + length;
        Ok(Some(Incoming::Oversized { topic, bytes: length }))
    }

    async fn fill(&mut self) -> Result<(), ConnectionError> {
        match self.reader.read_buf(&mut self.incoming).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        self.writer.write_all_buf(&mut self.outgoing).await?;
        self.writer.flush().await?;
        Ok(())
    }

    /// Sends what waits, and leaves without a word: the broker will publish the will.
    pub async fn drain(&mut self) -> Result<(), ConnectionError> {
        timeout(CONNECT_MAX, self.flush()).await.map_err(|_| ConnectionError::Slow)?
    }

    /// Sends what waits, until the broker has acknowledged what it acknowledges, and says goodbye: no will.
    pub async fn close(mut self) -> Result<(), ConnectionError> {
        let closing = async {
            loop {
                while self.taken()?.is_some() {}
                if self.unacknowledged == 0 {
                    break;
                }
                self.turn().await?;
            }
            self.queue(&Packet::Disconnect)?;
            self.flush().await?;
            Ok(self.writer.shutdown().await?)
        };
        timeout(CONNECT_MAX, closing).await.map_err(|_| ConnectionError::Slow)?
    }
}

/// Writes a piece, or empties what TLS holds back; never ends when there is nothing to write.
async fn push(
    writer: &mut WriteHalf<Box<dyn Socket>>,
    outgoing: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<()> {
    if !outgoing.is_empty() {
        writer.write_buf(outgoing).await?;
        *unflushed = true;
    } else if *unflushed {
        writer.flush().await?;
        *unflushed = false;
    } else {
        std::future::pending::<()>().await;
    }
    Ok(())
}

fn qos(level: u8) -> QoS {
    if level == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

/// Length of a packet's first bytes and of the rest, once they are there.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for place in 0..4 {
        let byte = *bytes.get(1 + place)?;
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((2 + place, length));
        }
    }
    None
}
