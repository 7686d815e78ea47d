//! From the client to the peer: ChannelData (RFC 8656 §12.6) and Send indications (§11.2).

use std::net::SocketAddr;
use std::ops::Range;

use farspeak_sansio::{Flow, Instant, Packet, Verdict};
use farspeak_stun::channel_data::{self, ChannelData};
use farspeak_stun::{AttributeType, Message};

use super::Server;
use super::flows::Home;
use super::relay::Place;

/// Data that a client wants sent.
pub(super) struct Outgoing {
    /// The client's allocation.
    slot: u32,
    peer: SocketAddr,
    data: Range<usize>,
    dont_fragment: bool,
}

impl Server {
    /// ChannelData from a client.
    pub(super) fn channel_data(&mut self, now: Instant, client: Flow, packet: Packet<'_>) -> Verdict {
        let slot = match self.home(&client) {
            Some(Home::Here(slot)) => slot,
            Some(Home::Shard(shard, _)) => return self.send_home(now, &client, shard),
            None => return self.stray(),
        };
        let Some(message) = ChannelData::parse_rfc5766(&packet.buffer[packet.data.clone()]) else {
            return self.malformed();
        };
        let (channel, length) = (message.channel, message.data.len());
        let Some(allocation) = self.allocations.get(slot) else { return self.stray() };
        let Some(peer) = allocation.peers.peer_of(now, channel) else { return self.stray() };
        let start = packet.data.start + channel_data::HEADER;
        let outgoing = Outgoing { slot, peer, data: start..start + length, dont_fragment: false };
        self.forward(now, &client, outgoing, packet)
    }

    /// What a Send indication asks for that begins at `at` in its packet's buffer. `Err`: it goes elsewhere, or nowhere.
    pub(super) fn read_send(
        &mut self,
        now: Instant,
        client: &Flow,
        message: &Message<'_>,
        at: usize,
    ) -> Result<Outgoing, Verdict> {
        let slot = match self.home(client) {
            Some(Home::Here(slot)) => slot,
            Some(Home::Shard(shard, _)) => return Err(self.send_home(now, client, shard)),
            None => return Err(self.stray()),
        };
        let dont_fragment = message.has(AttributeType::DONT_FRAGMENT);
        let (Ok(Some(peer)), Some(data)) = (message.xor_peer_address(), message.find(AttributeType::DATA)) else {
            return Err(self.malformed());
        };
        // Whatever else has to be understood is not; nor is DONT-FRAGMENT if it cannot be done (RFC 8656 §11.2).
        let known =
            |kind| matches!(kind, AttributeType::XOR_PEER_ADDRESS | AttributeType::DATA | AttributeType::DONT_FRAGMENT);
        if message.not_understood(known).next().is_some()
            || dont_fragment && !self.config.dont_fragment
            || message.has_fingerprint() && !message.check_fingerprint()
        {
            return Err(self.malformed());
        }
        let Ok(canonical) = self.judge(peer) else {
            self.counters.forbidden += 1;
            return Err(Verdict::Nothing);
        };
        // A mapped address would leave by the other family (RFC 8656 §10.2).
        if canonical.is_ipv4() != peer.is_ipv4() {
            return Err(self.unpermitted());
        }
        let start = at + data.as_ptr().addr() - message.bytes().as_ptr().addr();
        Ok(Outgoing { slot, peer: canonical, data: start..start + data.len(), dont_fragment })
    }

    /// Lets data pass if its peer is permitted.
    pub(super) fn forward(&mut self, now: Instant, client: &Flow, outgoing: Outgoing, packet: Packet<'_>) -> Verdict {
        let Outgoing { slot, peer, data, dont_fragment } = outgoing;
        let rate = self.rate;
        let Some(allocation) = self.allocations.get_mut(slot) else { return self.stray() };
        let Some(relay) = allocation.relay(now, peer.is_ipv6()).filter(|_| allocation.tcp.is_none()) else {
            return self.stray();
        };
        if !allocation.peers.permits(now, peer.ip()) {
            return self.unpermitted();
        }
        if !allocation.bucket.admit(now, data.len(), rate) {
            self.counters.over_bandwidth += 1;
            return Verdict::Nothing;
        }
        allocation.sent.count(data.len());
        self.counters.sent.count(data.len());
        // Data on the new 5-tuple ends the old one (RFC 8016 §3.2.2).
        if allocation.mobility.as_ref().is_some_and(|mobility| mobility.is_moving_to(client)) {
            self.settle(slot);
        }
        match self.place(peer) {
            Place::Outside => match self.relay_id(relay) {
                Some(relay) => Verdict::ToPeer { relay, peer, data, dont_fragment },
                None => self.stray(),
            },
            Place::Inside { shard } => {
                let Some(from) = self.relays.get(relay).map(|relay| relay.advertised) else { return self.stray() };
                self.counters.joined.count(data.len());
                if shard != self.config.shard {
                    return Verdict::ToShard { shard, to: peer, from, data };
                }
                self.handle_relayed(now, peer, from, Packet { buffer: packet.buffer, data })
            }
        }
    }
}
