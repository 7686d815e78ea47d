//! This host's addresses, and which of them to gather ICE candidates from (RFC 8445 §5.1.1.1).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One address of one interface that is up.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LocalAddress {
    /// The address with port 0, ready to bind; a link-local IPv6 address has its scope.
    pub address: SocketAddr,
    /// Bits of the network prefix.
    pub prefix: u8,
    /// The interface's name, such as `eth0`.
    pub interface: String,
    /// Whether the interface leads to one other end only, as tunnels and most VPNs do.
    pub point_to_point: bool,
    /// Whether the interface is the host's own loop.
    pub loopback: bool,
    /// A temporary IPv6 address (RFC 8981), which does not allow following the host from network to network.
    pub temporary: bool,
    /// Not to be used for anything new: deprecated (RFC 4862 §5.5.4), or not yet known to be unique.
    pub deprecated: bool,
}

/// Which addresses are wanted besides the usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interfaces {
    /// Loopback addresses too, for tests and for hosts without a network. Default `false`: they never are candidates.
    pub loopback: bool,
}

/// The addresses to gather candidates from, those of the kernel's first interface first.
///
/// As RFC 8445 §5.1.1.1 has it: nothing of the loopback interface, no IPv4-compatible, IPv4-mapped or site-local IPv6
/// addresses, no deprecated ones; where an interface has a temporary IPv6 address, none of the same prefix that would
/// allow following the host; link-local addresses only on a host that has nothing else.
pub fn local_addresses(wanted: Interfaces) -> io::Result<Vec<LocalAddress>> {
    Ok(choose(os::addresses()?, wanted))
}

fn choose(all: Vec<LocalAddress>, wanted: Interfaces) -> Vec<LocalAddress> {
    let usable: Vec<LocalAddress> =
        all.into_iter().filter(|own| (wanted.loopback || !own.is_loopback()) && own.is_candidate()).collect();
    let only_links = usable.iter().all(|own| own.is_link_local() || own.is_loopback());
    let traceable = |own: &LocalAddress| {
        let sibling =
            |other: &LocalAddress| other.temporary && other.interface == own.interface && own.shares_prefix(other);
        !own.temporary && usable.iter().any(sibling)
    };
    let chosen = usable.iter().filter(|own| (only_links || !own.is_link_local()) && !traceable(own));
    chosen.cloned().collect()
}

impl LocalAddress {
    /// The IP address.
    pub const fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Whether the address is valid on its link alone (RFC 3927, RFC 4291 §2.5.6).
    pub const fn is_link_local(&self) -> bool {
        match self.address.ip() {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }

    const fn is_loopback(&self) -> bool {
        self.loopback || self.address.ip().is_loopback()
    }

    fn is_candidate(&self) -> bool {
        let kind = match self.ip() {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast(),
            IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !is_outdated(ip),
        };
        kind && !self.deprecated
    }

    fn shares_prefix(&self, other: &Self) -> bool {
        let (IpAddr::V6(own), IpAddr::V6(other_ip)) = (self.ip(), other.ip()) else { return false };
        let length = u32::from(self.prefix.min(other.prefix).min(128));
        let differ = own.to_bits() ^ other_ip.to_bits();
        // Temporary addresses are /128 on some systems: their prefix is that of the link, 64 bits (RFC 4862 §5.5.3).
        differ.leading_zeros() >= length.min(64)
    }
}

/// Site-local (RFC 3879), IPv4-compatible and IPv4-mapped.
fn is_outdated(ip: Ipv6Addr) -> bool {
    let head = ip.segments()[0];
    let embeds_ipv4 = matches!(ip.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, high, _] if high != 0);
    head & 0xffc0 == 0xfec0 || embeds_ipv4
}

#[cfg(unix)]
mod os {
    use std::collections::HashMap;
    use std::io;
    use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

    use nix::ifaddrs::{InterfaceAddress, getifaddrs};
    use nix::net::if_::InterfaceFlags;
    use nix::sys::socket::SockaddrStorage;

    use super::LocalAddress;

    pub(super) fn addresses() -> io::Result<Vec<LocalAddress>> {
        let states = std::fs::read_to_string("/proc/net/if_inet6").map(|text| states(&text)).unwrap_or_default();
        let is_up =
            |found: &InterfaceAddress| found.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        Ok(getifaddrs()?.filter(is_up).filter_map(|found| local(&found, &states)).collect())
    }

    fn local(found: &InterfaceAddress, states: &HashMap<Ipv6Addr, u8>) -> Option<LocalAddress> {
        let address = socket_address(found.address.as_ref()?)?;
        let mask = found.netmask.as_ref().and_then(socket_address).map(|mask| mask.ip());
        let prefix = match mask {
            Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
            Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
            None => 128,
        };
        let state = match address {
            SocketAddr::V6(address) => states.get(address.ip()).copied().unwrap_or_default(),
            SocketAddr::V4(_) => 0,
        };
        Some(LocalAddress {
            address,
            prefix: prefix as u8, // at most 128
            interface: found.interface_name.clone(),
            point_to_point: found.flags.contains(InterfaceFlags::IFF_POINTOPOINT),
            loopback: found.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            temporary: state & TEMPORARY != 0,
            deprecated: state & (DEPRECATED | TENTATIVE | DUPLICATE) != 0,
        })
    }

    fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        v4.or_else(|| {
            let address = SocketAddrV6::from(*storage.as_sockaddr_in6()?);
            let scope = if address.ip().is_unicast_link_local() { address.scope_id() } else { 0 };
            Some(SocketAddr::V6(SocketAddrV6::new(*address.ip(), 0, 0, scope)))
        })
    }

    /// Linux: the flags of each IPv6 address of this network namespace.
    pub(super) fn states(text: &str) -> HashMap<Ipv6Addr, u8> {
        let line = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let address = u128::from_str_radix(words.next()?, 16).ok()?;
            let flags = u8::from_str_radix(words.nth(3)?, 16).ok()?;
            Some((Ipv6Addr::from_bits(address), flags))
        };
        text.lines().filter_map(line).collect()
    }

    // linux/if_addr.h: IFA_F_…
    const TEMPORARY: u8 = 0x01;
    const DUPLICATE: u8 = 0x08;
    const DEPRECATED: u8 = 0x20;
    const TENTATIVE: u8 = 0x40;
}

#[cfg(not(unix))]
mod os {
    use std::io;
    use std::net::{SocketAddr, UdpSocket};

    use super::LocalAddress;

    /// The two addresses from which the system would reach the world. Sends nothing.
    pub(super) fn addresses() -> io::Result<Vec<LocalAddress>> {
        let towards = ["192.0.2.1:9", "[2001:db8::1]:9"].map(|text| text.parse::<SocketAddr>());
        let own = towards.into_iter().flatten().filter_map(|remote| {
            let any: SocketAddr = if remote.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
            let socket = UdpSocket::bind(any).ok()?;
            socket.connect(remote).ok()?;
            Some(LocalAddress {
                address: SocketAddr::new(socket.local_addr().ok()?.ip(), 0),
                prefix: if any.is_ipv4() { 32 } else { 128 },
                interface: String::new(),
                point_to_point: false,
                loopback: false,
                temporary: false,
                deprecated: false,
            })
        });
        Ok(own.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(interface: &str, ip: &str) -> LocalAddress {
        let ip: IpAddr = ip.parse().unwrap();
        LocalAddress {
            address: SocketAddr::new(ip, 0),
            prefix: if ip.is_ipv4() { 24 } else { 64 },
            interface: interface.to_owned(),
            point_to_point: false,
            loopback: interface == "lo",
            temporary: false,
            deprecated: false,
        }
    }

    fn chosen(all: &[LocalAddress], loopback: bool) -> Vec<String> {
        choose(all.to_vec(), Interfaces { loopback }).iter().map(|own| own.ip().to_string()).collect()
    }

    #[test]
    fn gathers_from_every_interface_but_the_loop() {
        let all = [own("lo", "127.0.0.1"), own("lo", "::1"), own("eth0", "192.0.2.5"), own("tun0", "10.8.0.2")];
        assert_eq!(chosen(&all, false), ["192.0.2.5", "10.8.0.2"]);
        assert_eq!(chosen(&all, true), ["127.0.0.1", "::1", "192.0.2.5", "10.8.0.2"]);
        // Also not an address of the world that somebody put on the loop.
        assert_eq!(chosen(&[own("lo", "192.0.2.7")], false), [""; 0]);
    }

    #[test]
    fn leaves_out_deprecated_mapped_compatible_and_site_local_addresses() {
        let old = LocalAddress { deprecated: true, ..own("eth0", "2001:db8::1") };
        let all = [old, own("eth0", "::ffff:192.0.2.5"), own("eth0", "::192.0.2.5"), own("eth0", "fec0::1")];
        assert_eq!(chosen(&all, false), [""; 0]);
    }

    #[test]
    fn a_temporary_address_hides_the_lasting_one_of_its_network() {
        let temporary = LocalAddress { temporary: true, prefix: 128, ..own("eth0", "2001:db8:1::1234") };
        let all = [
            own("eth0", "2001:db8:1::1"),
            temporary,
            own("eth0", "2001:db8:2::1"),
            own("wlan0", "2001:db8:1::2"),
            own("eth0", "fe80::1"),
        ];
        assert_eq!(chosen(&all, false), ["2001:db8:1::1234", "2001:db8:2::1", "2001:db8:1::2"]);
    }

    #[test]
    fn link_local_addresses_are_for_hosts_that_have_nothing_else() {
        let links = [own("eth0", "fe80::1"), own("eth0", "169.254.3.4")];
        assert_eq!(chosen(&links, false), ["fe80::1", "169.254.3.4"]);
        let both = [links[0].clone(), links[1].clone(), own("eth0", "192.0.2.5")];
        assert_eq!(chosen(&both, false), ["192.0.2.5"]);
    }

    #[test]
    fn this_host_has_a_loop_and_offers_nothing_twice() {
        let all = local_addresses(Interfaces { loopback: true }).unwrap();
        assert!(all.iter().any(|own| own.ip().is_loopback()), "{all:?}");
        assert!(all.iter().all(|own| own.address.port() == 0));
        for (at, own) in all.iter().enumerate() {
            assert!(!all[..at].iter().any(|other| other.address == own.address), "{own:?} twice");
        }
        let usual = local_addresses(Interfaces::default()).unwrap();
        assert!(usual.iter().all(|own| !own.ip().is_loopback()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn reads_the_state_of_addresses_as_the_kernel_writes_it() {
        let text =
            "20010db8000000000000000000000001 02 40 00 80 eth0\n20010db8000000000000000000000002 02 40 00 21 eth0\n";
        let states = os::states(text);
        assert_eq!(states[&"2001:db8::2".parse::<Ipv6Addr>().unwrap()], 0x21);
        assert_eq!(os::states("not hex at all\n\n00\n").len(), 0);
    }
}
