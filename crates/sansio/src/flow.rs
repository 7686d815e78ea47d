//! A flow: the two ends of a conversation below the protocol, and the handle by which the driver knows it.

use std::fmt;
use std::net::SocketAddr;

/// What carries the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// Datagrams in clear text.
    Udp,
    /// A stream in clear text.
    Tcp,
    /// A stream inside TLS.
    Tls,
    /// WebSocket in clear text.
    Ws,
    /// WebSocket inside TLS.
    Wss,
}

impl Transport {
    /// Whether the transport itself delivers bytes in order and without loss.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether the bytes are encrypted on the way.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The name as it stands in a Via header field (RFC 3261 §25.1, RFC 7118 §5.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The driver's handle of a flow: which shard owns it, which slot it sits in, which tenant of that slot it is.
///
/// A handle whose generation has passed is dead: sending to it raises `handle_flow_failed`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FlowId(u64);

impl FlowId {
    /// No particular flow: the driver uses the one it has to the remote address, or opens one.
    pub const UNBOUND: Self = Self(0);

    /// Shard 0–255, slot 0–2^32−1, generation 1–2^24−1 (wraps past 0, which stands for [`Self::UNBOUND`]).
    pub const fn new(shard: u8, slot: u32, generation: u32) -> Self {
        let generation = generation & 0xff_ffff;
        let generation = if generation == 0 { 1 } else { generation };
        Self((shard as u64) << 56 | (generation as u64) << 32 | slot as u64)
    }

    /// The number for tokens and journals.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The handle that [`Self::to_bits`] gave.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The shard that owns the flow.
    pub const fn shard(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The slot in the shard's table of flows.
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Which tenant of the slot.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & 0xff_ffff
    }
}

impl fmt::Debug for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNBOUND {
            return f.write_str("unbound");
        }
        write!(f, "{}.{}.{}", self.shard(), self.slot(), self.generation())
    }
}

/// Both ends of a conversation below the protocol (RFC 5626 §2 "flow").
///
/// On a stream `id` names the connection. On datagrams `id` names the local socket and `remote` the peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The driver's handle.
    pub id: FlowId,
    /// What carries the bytes.
    pub transport: Transport,
    /// Our end, as the kernel sees it.
    pub local: SocketAddr,
    /// The peer's end, as seen from here (behind a NAT: the NAT's mapping).
    pub remote: SocketAddr,
}

impl Flow {
    /// A flow that the driver still has to find or open.
    pub const fn unbound(transport: Transport, local: SocketAddr, remote: SocketAddr) -> Self {
        Self { id: FlowId::UNBOUND, transport, local, remote }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}->{} ({:?})", self.transport, self.local, self.remote, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_id_keeps_its_parts() {
        let id = FlowId::new(200, u32::MAX, 0xff_fffe);
        assert_eq!((id.shard(), id.slot(), id.generation()), (200, u32::MAX, 0xff_fffe));
        assert_eq!(FlowId::from_bits(id.to_bits()), id);
    }

    #[test]
    fn no_live_flow_id_is_unbound() {
        assert_ne!(FlowId::new(0, 0, 0), FlowId::UNBOUND);
        assert_ne!(FlowId::new(0, 0, 0x100_0000), FlowId::UNBOUND);
    }
}
