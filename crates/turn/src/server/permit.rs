//! CreatePermission, RFC 8656 §10.2.

use std::net::{IpAddr, SocketAddr};

use farspeak_sansio::Instant;
use farspeak_stun::attribute::{Attribute, AttributeType, ErrorCode};

use super::Server;
use super::request::{Fault, Request};

impl Server {
    pub(super) fn create_permission(&mut self, now: Instant, request: &Request<'_>) -> Result<(), Fault> {
        let slot = self.allocation_of(request)?;
        let most = self.config.quotas.permissions;
        let mut peers: Vec<IpAddr> = Vec::new();
        let named = request.message.attributes().filter(|one| one.kind == AttributeType::XOR_PEER_ADDRESS);
        for attribute in named {
            let Some(Ok(Attribute::XorPeerAddress(peer))) = attribute.typed() else {
                return Err(ErrorCode::BAD_REQUEST.into());
            };
            let peer = self.permissible(now, slot, peer)?;
            if !peers.contains(&peer) {
                if peers.len() >= most {
                    return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
                }
                peers.push(peer);
            }
        }
        if peers.is_empty() {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let Some(allocation) = self.allocations.get_mut(slot) else { return Err(ErrorCode::SERVER_ERROR.into()) };
        if !allocation.peers.permit(now, &peers, most) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY.into());
        }
        self.succeed(&request.asker, |_| ());
        Ok(())
    }

    /// The address that a permission may be for: of a family that the allocation has (443), and allowed (403).
    fn permissible(&self, now: Instant, slot: u32, peer: SocketAddr) -> Result<IpAddr, Fault> {
        let relay = self.allocations.get(slot).and_then(|allocation| allocation.relay(now, peer.is_ipv6()));
        relay.ok_or(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH)?;
        let canonical = self.judge_ip(peer.ip()).map_err(|_| ErrorCode::FORBIDDEN)?;
        // An IPv4 address in IPv6 clothes is no peer of an IPv6 relay.
        if canonical.is_ipv4() != peer.is_ipv4() {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH.into());
        }
        Ok(canonical)
    }

    /// The same for a peer with its port.
    pub(super) fn reachable(&self, now: Instant, slot: u32, peer: SocketAddr) -> Result<SocketAddr, Fault> {
        let ip = self.permissible(now, slot, peer)?;
        let peer = SocketAddr::new(ip, peer.port());
        Ok(self.judge(peer).map_err(|_| ErrorCode::FORBIDDEN)?)
    }
}
