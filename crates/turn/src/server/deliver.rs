//! From the peer to the client: ChannelData or a Data indication (RFC 8656 §11.3, §12.7), and ICMP errors (§11.5).

use std::net::SocketAddr;

use farspeak_sansio::{Instant, Packet, RelayId, Transmit, Verdict};
use farspeak_stun::attribute::Icmp;
use farspeak_stun::indication::Prefix;
use farspeak_stun::{Attribute, Class, Method, TransactionId, Writer, channel_data};

use super::Server;
use super::action::Action;
use super::relay::{Holder, Place};

impl Server {
    /// A datagram from a peer at a relay socket.
    pub fn handle_peer(&mut self, now: Instant, relay: RelayId, peer: SocketAddr, packet: Packet<'_>) -> Verdict {
        let Some(relay) = self.relay_of(relay) else { return self.stray() };
        let (holder, v6) = (relay.holder, relay.advertised.is_ipv6());
        // Nothing of ours comes through a socket: who says so has forged its source.
        if peer.is_ipv6() != v6 || self.place(peer) != Place::Outside {
            return self.unpermitted();
        }
        self.deliver(now, holder, peer, packet)
    }

    /// Data from one relayed address of this server, `from`, for another one, `to`, that this shard owns.
    pub fn handle_relayed(&mut self, now: Instant, to: SocketAddr, from: SocketAddr, packet: Packet<'_>) -> Verdict {
        let relay = self.relay_at(to).and_then(|slot| self.relays.get(slot));
        let Some(holder) = relay.map(|relay| relay.holder) else { return self.stray() };
        self.deliver(now, holder, from, packet)
    }

    /// Makes a message for the client of what a peer sent, if the peer is permitted.
    fn deliver(&mut self, now: Instant, holder: Holder, peer: SocketAddr, packet: Packet<'_>) -> Verdict {
        let Packet { buffer, data } = packet;
        let Holder::Allocation(slot) = holder else { return self.stray() };
        // Flow labels and scopes are none of the peer's identity.
        let peer = SocketAddr::new(peer.ip(), peer.port());
        let rate = self.rate;
        let Some(allocation) = self.allocations.get_mut(slot) else { return self.stray() };
        if allocation.relay(now, peer.is_ipv6()).is_none() || allocation.tcp.is_some() {
            return self.stray();
        }
        if !allocation.peers.permits(now, peer.ip()) {
            return self.unpermitted();
        }
        if allocation.mobility.as_ref().is_some_and(|mobility| mobility.is_lost()) {
            return self.stray();
        }
        let (client, streamed) = (allocation.client, allocation.client.transport.is_reliable());
        let (prefix, length);
        let (head, padding): (&[u8], usize) = match allocation.peers.channel_of(now, peer) {
            Some(channel) => {
                let Ok(size) = u16::try_from(data.len()) else { return self.malformed() };
                length = channel_data::header(channel, size);
                (&length, if streamed { channel_data::padding(data.len()) } else { 0 })
            }
            None => {
                let id = transaction_id(&mut self.ids);
                let Some(made) = Prefix::new(Method::DATA, id, peer, data.len()) else { return self.malformed() };
                prefix = made;
                (prefix.bytes(), prefix.padding())
            }
        };
        let (Some(start), end) = (data.start.checked_sub(head.len()), data.end + padding) else {
            return self.malformed();
        };
        if end > buffer.len() || data.end < data.start {
            return self.malformed();
        }
        if !allocation.bucket.admit(now, data.len(), rate) {
            self.counters.over_bandwidth += 1;
            return Verdict::Nothing;
        }
        buffer[start..data.start].copy_from_slice(head);
        buffer[data.end..end].fill(0);
        allocation.received.count(data.len());
        self.counters.received.count(data.len());
        Verdict::ToClient { client, data: start..end }
    }

    /// An ICMP error about a datagram that `relay` sent to `peer`; its port is 0 if nobody knows it.
    ///
    /// `data` is the next hop's MTU if the datagram was too big, and passed on only then (RFC 8656 §18.13).
    pub fn handle_icmp(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        icmp_type: u8,
        icmp_code: u8,
        data: u32,
    ) {
        let Some(Holder::Allocation(slot)) = self.relay_of(relay).map(|relay| relay.holder) else { return };
        let (passed_on, too_big) = match peer {
            SocketAddr::V4(_) => (matches!(icmp_type, 3 | 11), (icmp_type, icmp_code) == (3, 4)),
            SocketAddr::V6(_) => (matches!(icmp_type, 1..=3), icmp_type == 2),
        };
        let rate = self.rate;
        let Some(allocation) = self.allocations.get_mut(slot).filter(|_| passed_on) else { return };
        let lost = allocation.mobility.as_ref().is_some_and(|mobility| mobility.is_lost());
        if lost || allocation.relay(now, peer.is_ipv6()).is_none() || !allocation.peers.permits(now, peer.ip()) {
            return;
        }
        // An error costs the allocation what a small datagram would.
        if !allocation.bucket.admit(now, 0, rate) {
            return;
        }
        let icmp = Icmp { kind: icmp_type, code: icmp_code.into(), data: if too_big { data } else { 0 } };
        let mut buffer = [0; 64];
        let id = transaction_id(&mut self.ids);
        let mut writer = Writer::new(&mut buffer, Class::Indication, Method::DATA, id);
        writer.push(Attribute::XorPeerAddress(peer)).push(Attribute::Icmp(icmp));
        if let Ok(bytes) = writer.finish() {
            let flow = allocation.client;
            self.actions.push_back(Action::Transmit(Transmit { flow, bytes: bytes.into() }));
            self.counters.icmp += 1;
        }
    }
}

fn transaction_id(ids: &mut farspeak_sansio::SplitMix64) -> TransactionId {
    TransactionId::random(ids)
}
