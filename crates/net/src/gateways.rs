//! Which router this host sends to by default: `/proc/net/route` and `/proc/net/ipv6_route` (proc(5)).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The default routers, IPv4 first; those with the best metric. The port is 0, a link-local address has its scope. Empty
/// elsewhere than on Linux.
pub fn default_gateways() -> Vec<SocketAddr> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = v4(&read("/proc/net/route")).map(|ip| SocketAddr::new(ip.into(), 0));
    let v6 = v6(&read("/proc/net/ipv6_route")).map(|(ip, interface)| {
        let index = read(&format!("/sys/class/net/{interface}/ifindex")).trim().parse().unwrap_or(0);
        let scope = if ip.is_unicast_link_local() { index } else { 0 };
        SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, scope))
    });
    v4.into_iter().chain(v6).collect()
}

/// Columns: interface, destination, gateway, flags, references, uses, metric, mask; addresses in the machine's order.
fn v4(table: &str) -> Option<Ipv4Addr> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let hex = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        let is_default = hex(1)? == 0 && hex(7)? == 0 && hex(3)? & (UP | GATEWAY) == UP | GATEWAY;
        let metric: u32 = words.get(6)?.parse().ok()?;
        is_default.then_some((metric, Ipv4Addr::from(hex(2)?.to_ne_bytes())))
    };
    table.lines().filter_map(line).min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// Columns: destination, its prefix, source, its prefix, next hop, metric, references, uses, flags, interface.
fn v6(table: &str) -> Option<(Ipv6Addr, String)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let hex = |at: usize| u128::from_str_radix(words.get(at)?, 16).ok();
        let flags = u32::try_from(hex(8)?).ok()?;
        let is_default = hex(0)? == 0 && hex(1)? == 0 && flags & (UP | GATEWAY) == UP | GATEWAY;
        is_default.then_some((hex(5)?, (Ipv6Addr::from_bits(hex(4)?), (*words.get(9)?).to_owned())))
    };
    table.lines().filter_map(line).min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// linux/route.h: RTF_UP, RTF_GATEWAY.
const UP: u32 = 1;
const GATEWAY: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_best_metric_counts() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     wlan0\t00000000\tFE01A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                     eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                     eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(v4(table), Some([192, 168, 1, 1].into()));
        }
        assert_eq!(v4("garbage\n\n"), None);
    }

    #[test]
    fn an_ipv6_router_is_read_with_its_interface() {
        let table = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                     fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0\n\
                     00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                     00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
        assert_eq!(v6(table), Some(("fe80::1".parse().unwrap(), "eth0".to_owned())));
        assert_eq!(v6("x y z"), None);
    }
}
