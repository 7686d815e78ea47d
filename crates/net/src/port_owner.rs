//! Whose a busy port is: `/proc/net` tells the socket's inode, `/proc/PID/fd` who holds it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use farspeak_sansio::Transport;

use crate::PortOwner;

/// The process that stands in the way of binding `address`. `None` where there is no `/proc`, or nobody is seen.
pub fn port_owner(transport: Transport, address: SocketAddr) -> Option<PortOwner> {
    let tables = match transport {
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        _ => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let own_family = usize::from(address.is_ipv6());
    let mut order = [tables[own_family], tables[1 - own_family]].into_iter();
    let entry = order.find_map(|table| find_entry(&fs::read_to_string(table).ok()?, transport, address))?;
    let pid = find_process(entry.inode);
    let name = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    Some(PortOwner { pid, name: name.map(|name| name.trim_end().to_owned()), uid: entry.uid })
}

struct Entry {
    uid: u32,
    inode: u64,
}

/// A line: `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`.
fn find_entry(table: &str, transport: Transport, wanted: SocketAddr) -> Option<Entry> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let local = parse_address(fields.get(1)?)?;
        let listens = transport == Transport::Udp || *fields.get(3)? == TCP_LISTEN;
        let overlaps = local.ip() == wanted.ip() || local.ip().is_unspecified() || wanted.ip().is_unspecified();
        if local.port() != wanted.port() || !listens || !overlaps {
            return None;
        }
        Some(Entry { uid: fields.get(7)?.parse().ok()?, inode: fields.get(9)?.parse().ok()? })
    })
}

/// `0100007F:13C4`: 32-bit words in the machine's byte order, port big-endian.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (chunk, at) in octets.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn find_process(inode: u64) -> Option<u32> {
    let target = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        files
            .any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == target.as_str()))
            .then_some(pid)
    })
}

const TCP_LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_families() {
        assert_eq!(parse_address("0100007F:13C4"), Some("127.0.0.1:5060".parse().unwrap()));
        assert_eq!(parse_address("00000000000000000000000001000000:01BB"), Some("[::1]:443".parse().unwrap()));
        assert_eq!(parse_address("0100007F"), None);
    }
}
