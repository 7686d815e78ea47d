//! Priorities of candidates and pairs, RFC 8445 §5.1.2 and §6.1.2.3, with the order of families of RFC 8421 §4.

use std::net::IpAddr;

use crate::candidate::{CandidateType, MOST_PRIORITY};

/// RFC 8445 §5.1.2.1.
pub(crate) const fn candidate(kind: CandidateType, local_preference: u16, component: u16) -> u32 {
    (kind.preference() as u32) << 24 | (local_preference as u32) << 8 | (256 - component as u32)
}

/// What a check from a candidate of this priority carries in PRIORITY: the same with the type preference of a
/// peer-reflexive one (RFC 8445 §7.1.1).
pub(crate) const fn peer_reflexive(priority: u32) -> u32 {
    (CandidateType::PeerReflexive.preference() as u32) << 24 | priority & 0xff_ffff
}

/// What a peer claims, within what the formula for pairs can take.
pub(crate) fn clamped(priority: u32) -> u32 {
    priority.clamp(1, MOST_PRIORITY)
}

/// RFC 8445 §6.1.2.3. Both are at most 2^31 − 1.
pub(crate) fn pair(controlling: u32, controlled: u32) -> u64 {
    let (least, most) = (controlling.min(controlled), controlling.max(controlled));
    (u64::from(least) << 32) + 2 * u64::from(most) + u64::from(controlling > controlled)
}

/// The local preference of what is the `nth` address of its family (from 0), so that the families take turns and IPv6
/// goes first (RFC 8421 §4). `server` counts the servers that gave it; `class` is 0 for the best way (UDP to a relay,
/// a cheap network), up to 3 for the worst.
pub(crate) fn local_preference(ip: IpAddr, nth: usize, server: usize, class: u16) -> u16 {
    let slot = (2 * nth + usize::from(ip.is_ipv4())).min(255) as u16;
    u16::MAX - class.min(3) * 0x4000 - slot * 64 - server.min(63) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_ipv6_goes_first() {
        let (v4, v6): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into());
        let mut order = [(v4, 0), (v4, 1), (v6, 0), (v6, 1)];
        order.sort_by_key(|(ip, nth)| std::cmp::Reverse(local_preference(*ip, *nth, 0, 0)));
        assert_eq!(order, [(v6, 0), (v4, 0), (v6, 1), (v4, 1)]);
    }

    #[test]
    fn types_outweigh_everything() {
        use CandidateType::*;
        let best = |kind| candidate(kind, u16::MAX, 1);
        let worst = |kind| candidate(kind, 0, 256);
        assert!(worst(Host) > best(PeerReflexive));
        assert!(worst(PeerReflexive) > best(ServerReflexive));
        assert!(worst(ServerReflexive) > best(Relayed));
        assert!(best(Host) <= MOST_PRIORITY);
        assert_eq!(peer_reflexive(candidate(Host, 7, 2)), candidate(PeerReflexive, 7, 2));
    }

    #[test]
    fn both_ends_compute_the_same_pair_priority() {
        assert_eq!(pair(7, 9), (7 << 32) + 18);
        assert_eq!(pair(9, 7), (7 << 32) + 19);
        assert_eq!(pair(MOST_PRIORITY, MOST_PRIORITY), (u64::from(MOST_PRIORITY) << 32) + u64::from(u32::MAX) - 1);
    }
}
