//! Addresses of the Internet, of the house, and of nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the whole Internet could reach the address: none of the special-purpose ranges (RFC 6890, RFC 6598).
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        // Global unicast is 2000::/3 (RFC 4291 §2.4), less documentation, benchmarks, ORCHIDs and Teredo.
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            let special = match first {
                0x2001 => second < 0x0200 || second == 0x0db8,
                0x3fff => second < 0x1000,
                0x2002 => true,
                _ => false,
            };
            first & 0xe000 == 0x2000 && !special
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match a {
        0 | 10 | 127 | 224.. => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        _ => false,
    };
    !special
}

/// Whether a router's own page may be fetched there: private or link-local, so that nobody's answer sends us out into
/// the Internet or to ourselves.
pub(super) fn is_of_the_house(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => is_local_v6(ip),
    }
}

const fn is_local_v6(ip: Ipv6Addr) -> bool {
    ip.is_unique_local() || ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_internet_from_the_rest() {
        for public in ["9.9.9.9", "100.63.0.1", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2600::1", "2001:400::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn a_page_is_fetched_within_the_house_alone() {
        for (address, ours) in [("192.168.1.1", true), ("169.254.1.1", true), ("127.0.0.1", false), ("9.9.9.9", false)]
        {
            assert_eq!(is_of_the_house(address.parse().unwrap()), ours, "{address}");
        }
    }
}
