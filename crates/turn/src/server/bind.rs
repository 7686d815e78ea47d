//! ChannelBind, RFC 8656 §12.2.

use farspeak_sansio::Instant;
use farspeak_stun::attribute::ErrorCode;

use super::Server;
use super::peers::NotBound;
use super::request::{Fault, Request};

impl Server {
    pub(super) fn channel_bind(&mut self, now: Instant, request: &Request<'_>) -> Result<(), Fault> {
        let slot = self.allocation_of(request)?;
        let channels = self.config.channels();
        let number = request.message.channel_number()?.filter(|number| channels.contains(number));
        let (Some(number), Some(peer)) = (number, request.message.xor_peer_address()?) else {
            return Err(ErrorCode::BAD_REQUEST.into());
        };
        let peer = self.reachable(now, slot, peer)?;
        let quotas = self.config.quotas;
        let Some(allocation) = self.allocations.get_mut(slot) else { return Err(ErrorCode::SERVER_ERROR.into()) };
        if allocation.tcp.is_some() {
            // No channels on TCP allocations (RFC 6062 §4.5).
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        match allocation.peers.bind(now, number, peer, quotas.channels, quotas.permissions) {
            Ok(()) => {}
            Err(NotBound::Conflict) => return Err(ErrorCode::BAD_REQUEST.into()),
            Err(NotBound::Full) => return Err(ErrorCode::INSUFFICIENT_CAPACITY.into()),
        }
        self.succeed(&request.asker, |_| ());
        Ok(())
    }
}
