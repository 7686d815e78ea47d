//! The internal flow between a shard's proxy and its back-to-back user agent: a connection that no socket stands for.
//!
//! It looks like TLS: reliable, in order, and nobody else can read it. Its id names the shard, so that a flow token leads
//! to the right one; the driver never gives out its slot. Its addresses are the dummy address of RFC 7600, which no host
//! has. A proxy's message over the flow of another shard is handed over like one that the kernel delivered to the wrong
//! shard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use farspeak_sansio::{Flow, FlowId, Transport};

/// RFC 7600 §4.8: an address that is never anybody's.
const DUMMY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// A slot that no driver reaches: nobody has so many connections.
const SLOT: u32 = u32::MAX;

/// The internal flow of a shard, the same at both of its ends.
pub(crate) fn flow(shard: u8) -> Flow {
    Flow {
        id: FlowId::new(shard, SLOT, 1),
        transport: Transport::Tls,
        local: SocketAddr::new(DUMMY, 5061),
        remote: SocketAddr::new(DUMMY, 5061),
    }
}

/// Whether a flow is an internal one, of whichever shard.
pub(crate) fn is_internal(flow: &Flow) -> bool {
    flow.id == FlowId::new(flow.id.shard(), SLOT, 1) && flow.remote.ip() == DUMMY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flow_of_the_driver_is_internal() {
        assert!(is_internal(&flow(0)) && is_internal(&flow(255)));
        assert_eq!(flow(3).id.shard(), 3);
        let forged = Flow { id: FlowId::new(0, 7, 1), ..flow(0) };
        assert!(!is_internal(&forged), "the address alone proves nothing");
        assert!(!is_internal(&Flow { id: FlowId::UNBOUND, ..flow(0) }));
    }
}
