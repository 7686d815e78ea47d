//! A router by the book: a PCP and a NAT-PMP server over one table, each of which can be switched off.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::Ipv4Addr;

use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit, Transport};

/// What the router knows and has done.
pub struct Router {
    pub pcp: bool,
    pub nat_pmp: bool,
    /// A result code for every request for a mapping.
    pub refuses: Option<u8>,
    pub external: Ipv4Addr,
    /// Longest lifetime that is given, in seconds.
    pub longest: u32,
    pub booted: Instant,
    /// By protocol number and external port.
    pub table: BTreeMap<(u8, u16), Entry>,
    /// External ports that are somebody else's.
    pub taken: Vec<u16>,
    pub requests: usize,
    pub out: VecDeque<Transmit>,
}

/// A mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub nonce: [u8; 12],
    pub internal: u16,
    pub until: Instant,
}

impl Router {
    pub fn new() -> Self {
        Self {
            pcp: true,
            nat_pmp: true,
            refuses: None,
            external: [9, 9, 9, 9].into(),
            longest: 7200,
            booted: Instant::ZERO,
            table: BTreeMap::new(),
            taken: Vec::new(),
            requests: 0,
            out: VecDeque::new(),
        }
    }

    /// Forgets everything, as a restart does.
    pub fn reboot(&mut self, now: Instant) {
        self.table.clear();
        self.booted = now;
    }

    /// Says so to everybody (RFC 6887 §14.1, RFC 6886 §3.2.1).
    pub fn announce(&mut self, now: Instant) {
        let to = Flow::unbound(Transport::Udp, "192.168.1.1:5351".parse().unwrap(), "224.0.0.1:5350".parse().unwrap());
        let packet = if self.pcp {
            let mut packet = vec![0; 24];
            packet[..2].copy_from_slice(&[2, 0x80]);
            packet[8..12].copy_from_slice(&self.epoch(now).to_be_bytes());
            packet
        } else {
            self.address(now)
        };
        self.out.push_back(Transmit { flow: to, bytes: packet.into() });
    }

    /// What is mapped at the moment: protocol, internal and external port.
    pub fn mapped(&self, now: Instant) -> Vec<(u8, u16, u16)> {
        let live = self.table.iter().filter(|(_, entry)| entry.until > now);
        live.map(|((protocol, external), entry)| (*protocol, entry.internal, *external)).collect()
    }

    fn epoch(&self, now: Instant) -> u32 {
        (now - self.booted).as_secs() as u32
    }

    /// Gives a mapping, or takes it back.
    fn map(
        &mut self,
        now: Instant,
        protocol: u8,
        nonce: [u8; 12],
        internal: u16,
        wish: u16,
        lifetime: u32,
    ) -> (u16, u32) {
        self.table.retain(|_, entry| entry.until > now);
        let own = self.table.iter().find(|((p, _), entry)| *p == protocol && entry.internal == internal);
        let own = own.map(|((_, external), entry)| (*external, entry.nonce));
        if lifetime == 0 {
            if let Some((external, held)) = own
                && held == nonce
            {
                self.table.remove(&(protocol, external));
            }
            return (0, 0);
        }
        let mut external = own.map_or(if wish == 0 { internal } else { wish }, |(external, _)| external);
        while own.is_none() && (self.taken.contains(&external) || self.table.contains_key(&(protocol, external))) {
            external += 1;
        }
        let lifetime = lifetime.min(self.longest);
        let until = now + std::time::Duration::from_secs(lifetime.into());
        self.table.insert((protocol, external), Entry { nonce, internal, until });
        (external, lifetime)
    }

    fn pcp(&mut self, now: Instant, request: &[u8], source: Ipv4Addr) -> Option<Vec<u8>> {
        let mut packet = request.to_vec();
        packet[1] |= 0x80;
        packet[8..12].copy_from_slice(&self.epoch(now).to_be_bytes());
        packet[12..24].fill(0);
        if request.len() < 60 || request[1] != 1 {
            return None;
        }
        let mismatch = request[20..24] != source.octets();
        if let Some(code) = self.refuses.or(mismatch.then_some(12)) {
            packet[3] = code;
            packet[4..8].copy_from_slice(&30_u32.to_be_bytes());
            return Some(packet);
        }
        let half = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let lifetime = u32::from_be_bytes(request[4..8].try_into().unwrap());
        let nonce = request[24..36].try_into().unwrap();
        let (external, lifetime) = self.map(now, request[36], nonce, half(40), half(42), lifetime);
        packet[4..8].copy_from_slice(&lifetime.to_be_bytes());
        packet[42..44].copy_from_slice(&external.to_be_bytes());
        packet[44..60].copy_from_slice(&self.external.to_ipv6_mapped().octets());
        Some(packet)
    }

    fn address(&self, now: Instant) -> Vec<u8> {
        let mut packet = vec![0, 128, 0, 0];
        packet.extend(self.epoch(now).to_be_bytes());
        packet.extend(self.external.octets());
        packet
    }

    fn nat_pmp(&mut self, now: Instant, request: &[u8]) -> Option<Vec<u8>> {
        if request.len() == 2 {
            return Some(self.address(now));
        }
        let (12, opcode @ 1..=2) = (request.len(), request[1]) else { return None };
        let mut packet = vec![0, opcode + 128, 0, 0];
        packet.extend(self.epoch(now).to_be_bytes());
        packet.extend(&request[4..6]);
        if let Some(code) = self.refuses {
            packet[3] = code;
            packet.extend([0; 6]);
            return Some(packet);
        }
        let half = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let lifetime = u32::from_be_bytes(request[8..12].try_into().unwrap());
        let protocol = if opcode == 1 { 17 } else { 6 };
        let (external, lifetime) = self.map(now, protocol, [0; 12], half(4), half(6), lifetime);
        packet.extend(external.to_be_bytes());
        packet.extend(lifetime.to_be_bytes());
        Some(packet)
    }
}

impl Machine for Router {
    type Event = Infallible;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let (flow, bytes) = (received.flow, received.bytes);
        if flow.local.port() != 5351 || bytes.len() < 2 || bytes[1] & 0x80 != 0 {
            return;
        }
        self.requests += 1;
        let std::net::IpAddr::V4(source) = flow.remote.ip() else { return };
        let answer = match bytes[0] {
            2 if self.pcp => self.pcp(now, bytes, source),
            0 if self.nat_pmp => self.nat_pmp(now, bytes),
            // Each tells the other's clients which version it has.
            2 if self.nat_pmp => {
                let mut packet = vec![0, 0x81, 0, 1];
                packet.extend(self.epoch(now).to_be_bytes());
                Some(packet)
            }
            0 if self.pcp => {
                let mut packet = vec![0; 24];
                packet[..4].copy_from_slice(&[2, 0x80, 0, 1]);
                packet[8..12].copy_from_slice(&self.epoch(now).to_be_bytes());
                Some(packet)
            }
            _ => None,
        };
        if let Some(answer) = answer {
            self.out.push_back(Transmit { flow, bytes: answer.into() });
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn handle_flow_failed(&mut self, _now: Instant, _flow: Flow) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_event(&mut self) -> Option<Infallible> {
        None
    }
}
