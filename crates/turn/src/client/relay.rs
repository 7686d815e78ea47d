//! Data to and from peers, RFC 8656 §11.1, §11.4, §11.6, §12.5 and §12.6: the client's packet path.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Instant, Machine, Receive, Transmit};
use farspeak_stun::channel_data::{self, ChannelData};
use farspeak_stun::indication::Prefix;
use farspeak_stun::{Attribute, AttributeType, Class, HEADER, Message, Method, TransactionId, Writer};

use super::allocation::State;
use super::{Client, Event, SendError, canonical};

/// What a peer sent, where it lies in the received bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Data<'a> {
    /// Who sent it.
    pub peer: SocketAddr,
    /// What; may be empty.
    pub bytes: &'a [u8],
}

/// Data that waits for its peer's permission.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    most: usize,
}

/// What has waited longer than this is of no use any more: who sent it has sent it again.
const STALE: Duration = Duration::from_secs(2);

impl Queue {
    pub(super) const fn new(most: usize) -> Self {
        Self { waiting: VecDeque::new(), most }
    }

    fn push(&mut self, now: Instant, peer: SocketAddr, data: &[u8]) -> Result<(), SendError> {
        self.waiting.retain(|(since, ..)| now - *since < STALE);
        if self.waiting.len() >= self.most {
            return Err(SendError::Waiting);
        }
        self.waiting.push_back((now, peer, data.to_vec()));
        Ok(())
    }

    pub(super) fn remove(&mut self, peer: IpAddr) {
        self.waiting.retain(|(_, to, _)| to.ip() != peer);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Client {
    /// Sends data to a peer that is permitted: in a channel if one is bound, else in a Send indication.
    ///
    /// While the permission has been asked for and is not confirmed, the data waits, up to
    /// [`Config::queued`](super::Config::queued) datagrams and two seconds.
    pub fn send(&mut self, now: Instant, peer: SocketAddr, data: &[u8]) -> Result<(), SendError> {
        let peer = canonical(peer);
        if !self.is_allocated() {
            return Err(SendError::NotAllocated);
        }
        if !self.permissions.is_active(now, peer.ip()) {
            let wanted = self.permissions.is_wanted(peer.ip());
            return if wanted { self.queue.push(now, peer, data) } else { Err(SendError::NotPermitted) };
        }
        self.relay(now, peer, data)
    }

    fn relay(&mut self, now: Instant, peer: SocketAddr, data: &[u8]) -> Result<(), SendError> {
        let bytes = match self.channels.number_of(now, peer) {
            Some(channel) => self.channel_data(channel, data),
            None => self.send_indication(peer, data),
        };
        self.transmits.push_back(Transmit { flow: self.flow, bytes: bytes.ok_or(SendError::TooLong)? });
        self.keep_alive.sent(now);
        self.mobility.note_peer(peer);
        Ok(())
    }

    fn channel_data(&self, channel: u16, data: &[u8]) -> Option<Arc<[u8]>> {
        let header = channel_data::header(channel, u16::try_from(data.len()).ok()?);
        // "Over TCP and TLS-over-TCP, the ChannelData message MUST be padded", RFC 8656 §12.5.
        let padding = if self.flow.transport.is_reliable() { channel_data::padding(data.len()) } else { 0 };
        Some(joined(&header, data, padding))
    }

    fn send_indication(&mut self, peer: SocketAddr, data: &[u8]) -> Option<Arc<[u8]>> {
        let id = TransactionId::random(&mut self.indications);
        if matches!(&self.state, State::Allocated(allocation) if allocation.dont_fragment) {
            let mut buffer = vec![0; HEADER + 24 + 4 + 4 + data.len() + 3];
            let mut writer = Writer::new(&mut buffer, Class::Indication, Method::SEND, id);
            writer.push(Attribute::XorPeerAddress(peer));
            writer.push(Attribute::DontFragment(())).push(Attribute::Data(data));
            return writer.finish().ok().map(Arc::from);
        }
        let prefix = Prefix::new(Method::SEND, id, peer, data.len())?;
        Some(joined(prefix.bytes(), data, prefix.padding()))
    }

    /// Sends what has waited for this peer's permission.
    pub(super) fn send_queued(&mut self, now: Instant, peer: IpAddr) {
        for (since, to, data) in std::mem::take(&mut self.queue.waiting) {
            if to.ip() != peer {
                self.queue.waiting.push_back((since, to, data));
            } else if now - since < STALE {
                // What is too long now was too long when it came; nobody is left to be told.
                let _ = self.relay(now, to, &data);
            }
        }
    }

    /// Takes what arrived; if it is data from a peer, hands it back where it lies. Otherwise as
    /// [`handle_receive`](farspeak_sansio::Machine::handle_receive).
    pub fn receive<'a>(&mut self, now: Instant, received: Receive<'a>) -> Option<Data<'a>> {
        if !self.is_from_server(&received.flow) {
            return None;
        }
        if let Some(data) = ChannelData::parse(received.bytes) {
            return self.read_channel_data(now, data);
        }
        let message = Message::parse(received.bytes).ok()?;
        match (message.class(), message.method()) {
            (Class::Indication, Method::DATA) => self.read_data_indication(now, &message),
            (Class::Indication, Method::CONNECTION_ATTEMPT) => {
                self.attempted(now, &message);
                None
            }
            (Class::Success | Class::Error, Method::BINDING) => {
                self.probe_answered(now, received);
                None
            }
            (Class::Success | Class::Error, _) => {
                self.requests.handle_receive(now, received);
                self.settle(now, Some(received.flow));
                None
            }
            _ => None,
        }
    }

    fn read_channel_data<'a>(&self, now: Instant, data: ChannelData<'a>) -> Option<Data<'a>> {
        let peer = self.channels.peer_of(data.channel)?;
        // "discard the ChannelData message if the client believes there is no active permission", RFC 8656 §12.6.
        self.lets_in(now, peer).then_some(Data { peer, bytes: data.data })
    }

    fn read_data_indication<'a>(&mut self, now: Instant, message: &Message<'a>) -> Option<Data<'a>> {
        if message.not_understood(AttributeType::is_known).next().is_some() {
            return None;
        }
        let peer = canonical(message.xor_peer_address().ok()??);
        if !self.lets_in(now, peer) {
            return None;
        }
        match (message.data(), message.icmp()) {
            (Ok(Some(bytes)), _) => Some(Data { peer, bytes }),
            (Ok(None), Ok(Some(icmp))) => {
                self.events.push_back(Event::Icmp { peer, icmp });
                None
            }
            _ => None,
        }
    }

    pub(super) fn lets_in(&self, now: Instant, peer: SocketAddr) -> bool {
        self.is_allocated() && self.permissions.lets_in(now, peer.ip())
    }
}

/// One allocation, one copy.
fn joined(head: &[u8], data: &[u8], padding: usize) -> Arc<[u8]> {
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, head.len() + data.len() + padding).collect();
    let buffer = Arc::get_mut(&mut bytes).expect("nobody else has it yet");
    buffer[..head.len()].copy_from_slice(head);
    buffer[head.len()..head.len() + data.len()].copy_from_slice(data);
    bytes
}
