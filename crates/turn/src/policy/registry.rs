//! Addresses that are no place on the Internet: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890),
//! multicast, what is not assigned at all, and the addresses at which clouds keep their secrets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest entry that holds this address: its length and name.
pub(super) fn find(ip: IpAddr) -> Option<(u8, &'static str)> {
    match ip {
        IpAddr::V4(ip) => {
            let holds = |(base, length, _): &&(Ipv4Addr, u8, _)| {
                (base.to_bits() ^ ip.to_bits()).checked_shr(32 - u32::from(*length)).unwrap_or(0) == 0
            };
            let found = V4.iter().filter(holds).max_by_key(|(_, length, _)| *length);
            found.map(|(_, length, name)| (*length, *name))
        }
        IpAddr::V6(ip) => {
            let holds = |(base, length, _): &&(Ipv6Addr, u8, _)| {
                (base.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(*length)).unwrap_or(0) == 0
            };
            let found = V6.iter().filter(holds).max_by_key(|(_, length, _)| *length);
            found.and_then(|(_, length, name)| name.map(|name| (*length, name)))
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// The IPv4 registry, whole. What it calls globally reachable (AS112, AMT, PCP and TURN anycast) is denied as well: no
/// peer is there.
const V4: &[(Ipv4Addr, u8, &str)] = &[
    (v4(0, 0, 0, 0), 8, "this network"),
    (v4(10, 0, 0, 0), 8, "private"),
    (v4(100, 64, 0, 0), 10, "shared by carriers"),
    (v4(100, 100, 100, 200), 32, "cloud metadata"), // Alibaba
    (v4(127, 0, 0, 0), 8, "loopback"),
    // In no registry: Azure's, reached from inside alone.
    (v4(168, 63, 129, 16), 32, "cloud metadata"),
    (v4(169, 254, 0, 0), 16, "link-local"),
    (v4(169, 254, 42, 42), 32, "cloud metadata"),   // Scaleway
    (v4(169, 254, 169, 254), 32, "cloud metadata"), // nearly all
    (v4(169, 254, 170, 2), 32, "cloud metadata"),   // Amazon's containers
    (v4(169, 254, 170, 23), 32, "cloud metadata"),
    (v4(172, 16, 0, 0), 12, "private"),
    (v4(192, 0, 0, 0), 24, "protocol assignments"),
    (v4(192, 0, 0, 192), 32, "cloud metadata"), // Oracle
    (v4(192, 0, 2, 0), 24, "documentation"),
    (v4(192, 31, 196, 0), 24, "AS112"),
    (v4(192, 52, 193, 0), 24, "AMT"),
    (v4(192, 88, 99, 0), 24, "6to4 relay anycast"),
    (v4(192, 168, 0, 0), 16, "private"),
    (v4(192, 175, 48, 0), 24, "AS112"),
    (v4(198, 18, 0, 0), 15, "benchmarking"),
    (v4(198, 51, 100, 0), 24, "documentation"),
    (v4(203, 0, 113, 0), 24, "documentation"),
    (v4(224, 0, 0, 0), 4, "multicast"),
    (v4(240, 0, 0, 0), 4, "reserved"),
    (v4(255, 255, 255, 255), 32, "broadcast"),
];

const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

/// Only 2000::/3 has ever been given to anybody, so everything else is denied, and special parts of it as well. `None`
/// opens a part of what a shorter entry denies.
const V6: &[(Ipv6Addr, u8, Option<&str>)] = &[
    (v6(0, 0, 0, 0), 0, Some("not global unicast")),
    (v6(0x2000, 0, 0, 0), 3, None),
    // Named for the log, although denied already.
    (Ipv6Addr::UNSPECIFIED, 128, Some("unspecified")),
    (Ipv6Addr::LOCALHOST, 128, Some("loopback")),
    // As good as the IPv4 address in it, which is judged beside it.
    (v6(0x64, 0xff9b, 0, 0), 96, None),
    (v6(0x64, 0xff9b, 1, 0), 48, Some("local NAT64")),
    (v6(0x100, 0, 0, 0), 64, Some("discard")),
    (v6(0x2001, 0, 0, 0), 32, Some("Teredo")),
    (v6(0x2001, 0, 0, 0), 23, Some("protocol assignments")),
    (v6(0x2001, 0xdb8, 0, 0), 32, Some("documentation")),
    (v6(0x2002, 0, 0, 0), 16, Some("6to4")),
    (v6(0x2620, 0x4f, 0x8000, 0), 48, Some("AS112")),
    (v6(0x3fff, 0, 0, 0), 20, Some("documentation")),
    (v6(0x5f00, 0, 0, 0), 16, Some("segment routing")),
    (v6(0xfc00, 0, 0, 0), 7, Some("unique local")),
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128, Some("cloud metadata")),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), 128, Some("cloud metadata")),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, Some("cloud metadata")),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Some("cloud metadata")),
    (v6(0xfe80, 0, 0, 0), 10, Some("link-local")),
    (v6(0xfec0, 0, 0, 0), 10, Some("site-local")),
    (v6(0xff00, 0, 0, 0), 8, Some("multicast")),
];
