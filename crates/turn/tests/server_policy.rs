//! Peers that nobody reaches through the relay, each class by its way round the policy, through the whole server.

#[path = "support/world.rs"]
mod world;

use farspeak_stun::{Alternate, Attribute, Method};
use farspeak_turn::{PeerPolicy, Prefix, RelayAddress, ServerConfig};
use world::*;

fn prefixes(text: &[&str]) -> Vec<Prefix> {
    text.iter().map(|one| one.parse().unwrap()).collect()
}

/// A dual allocation, so that no address fails for its family alone.
fn dual(config: ServerConfig) -> (World, Client) {
    let mut world = World::new(config);
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut world, &|writer| {
        writer.push(Attribute::AdditionalAddressFamily(V6));
    });
    assert_eq!(answer.ok().all_relayed().len(), 2);
    (world, alice)
}

/// CreatePermission and ChannelBind are answered with 403 (or 443 for an IPv4 address in IPv6 clothes), and a Send
/// indication sends nothing, not even with a permission for everything around.
#[track_caller]
fn refuses_with(config: ServerConfig, peers: &[&str]) {
    let (mut world, mut alice) = dual(config);
    alice.permit(&mut world, PEER).ok();
    for peer in peers {
        let before = world.server.counters().forbidden;
        let code = alice.permit(&mut world, peer).code();
        assert_eq!(code, Some(403), "CreatePermission {peer}");
        assert_eq!(alice.bind(&mut world, 0x4000, peer).code(), Some(403), "ChannelBind {peer}");
        alice.send(&mut world, address(peer), b"GET / HTTP/1.0");
        assert_eq!(world.take_out(), [], "Send {peer}");
        alice.channel_data(&mut world, 0x4000, b"GET / HTTP/1.0");
        assert_eq!(world.take_out(), [], "ChannelData {peer}");
        assert_eq!(world.server.counters().forbidden, before + 3, "{peer}");
        // Among others that are allowed, none is permitted.
        let answer = alice.ask(&mut world, Method::CREATE_PERMISSION, &|writer| {
            writer.push(Attribute::XorPeerAddress(address(OTHER))).push(Attribute::XorPeerAddress(address(peer)));
        });
        assert_eq!(answer.code(), Some(403));
        alice.send(&mut world, address(OTHER), b"nothing was permitted");
        assert_eq!(world.take_out(), []);
    }
    assert_eq!(world.server.counters().sent.packets, 0);
}

#[track_caller]
fn refuses(peers: &[&str]) {
    refuses_with(config(), peers);
}

#[test]
fn refuses_loopback_peer() {
    refuses(&["127.0.0.1:80", "127.255.255.254:80", "[::1]:80"]);
}

#[test]
fn refuses_unspecified() {
    // CVE-2020-26262: connects to the host itself.
    refuses(&["0.0.0.0:80", "0.1.2.3:80", "[::]:80", "[::ffff:0.0.0.0]:80"]);
}

#[test]
fn refuses_private_peer() {
    refuses(&["10.0.0.1:80", "172.16.0.1:80", "172.31.255.255:80", "192.168.1.1:80"]);
}

#[test]
fn refuses_v4_mapped_loopback() {
    // CVE-2026-27624.
    refuses(&["[::ffff:127.0.0.1]:80", "[::ffff:7f00:1]:80"]);
}

#[test]
fn refuses_v4_mapped_private() {
    refuses(&["[::ffff:10.0.0.1]:80", "[::ffff:192.168.0.1]:80", "[::ffff:169.254.169.254]:80"]);
}

#[test]
fn refuses_v4_mapped_public_as_a_peer_of_the_wrong_family() {
    let (mut world, mut alice) = dual(config());
    alice.permit(&mut world, PEER).ok();
    assert_eq!(alice.permit(&mut world, "[::ffff:8.8.8.8]:5000").code(), Some(443));
    assert_eq!(alice.bind(&mut world, 0x4000, "[::ffff:8.8.8.8]:5000").code(), Some(443));
    alice.send(&mut world, address("[::ffff:8.8.8.8]:5000"), b"out of which socket?");
    assert_eq!(world.take_out(), []);
}

#[test]
fn refuses_v4_compatible() {
    refuses(&["[::127.0.0.1]:80", "[::10.0.0.1]:80", "[::7f00:1]:80"]);
}

#[test]
fn refuses_nat64_of_private() {
    refuses(&["[64:ff9b::10.0.0.1]:80", "[64:ff9b::127.0.0.1]:80", "[64:ff9b::169.254.169.254]:80"]);
}

#[test]
fn refuses_nat64_of_private_behind_a_configured_prefix() {
    let policy = PeerPolicy { nat64: prefixes(&["2606:1::/96", "2606:2::/48"]), ..PeerPolicy::default() };
    refuses_with(ServerConfig { policy, ..config() }, &["[2606:1::10.0.0.1]:80", "[2606:2:0:7f00:0:100::]:80"]);
}

#[test]
fn refuses_local_use_nat64() {
    refuses(&["[64:ff9b:1::8.8.8.8]:80", "[64:ff9b:1::10.0.0.1]:80", "[64:ff9b:1:ffff::1]:80"]);
}

#[test]
fn refuses_6to4_of_private() {
    refuses(&["[2002:a00:1::1]:80", "[2002:7f00:1::1]:80", "[2002:c0a8:101::1]:80", "[2002:a9fe:a9fe::1]:80"]);
}

#[test]
fn refuses_6to4_of_private_even_if_6to4_is_allowed() {
    let policy = PeerPolicy { allow: prefixes(&["2002::/16"]), ..PeerPolicy::default() };
    refuses_with(ServerConfig { policy, ..config() }, &["[2002:a00:1::1]:80", "[2002:7f00:1::1]:80"]);
}

#[test]
fn refuses_teredo() {
    refuses(&["[2001::1]:80", "[2001:0:808:808::f7f7:f7f7]:80", "[2001:0:808:808:0:0:80ff:fffe]:80"]);
}

#[test]
fn refuses_isatap_of_private() {
    refuses(&["[2606:4700::5efe:10.0.0.1]:80", "[2606:4700::200:5efe:127.0.0.1]:80"]);
}

/// Where clouds keep their secrets; Azure's address looks like anybody's.
const METADATA: [&str; 10] = [
    "100.100.100.200:80",
    "168.63.129.16:80",
    "169.254.42.42:80",
    "169.254.169.254:80",
    "169.254.170.2:80",
    "169.254.170.23:80",
    "192.0.0.192:80",
    "[fd00:42::42]:80",
    "[fd00:ec2::254]:80",
    "[fd20:ce::254]:80",
];

#[test]
fn refuses_metadata_address() {
    refuses(&METADATA);
    refuses(&["[::ffff:168.63.129.16]:80", "[64:ff9b::168.63.129.16]:80", "[fd00:ec2::23]:80"]);
}

#[test]
fn refuses_metadata_address_even_if_its_network_is_allowed() {
    let networks = ["100.64.0.0/10", "168.63.0.0/16", "169.254.0.0/16", "192.0.0.0/24", "fd00::/8"];
    let policy = PeerPolicy { allow: prefixes(&networks), ..PeerPolicy::default() };
    let (mut world, mut alice) = dual(ServerConfig { policy: policy.clone(), ..config() });
    alice.permit(&mut world, "169.254.7.7:80").ok();
    alice.permit(&mut world, "100.100.100.201:80").ok();
    refuses_with(ServerConfig { policy, ..config() }, &METADATA);
}

#[test]
fn refuses_own_addresses() {
    let own_addresses = vec!["5.5.5.5".parse().unwrap(), "2606:5::5".parse().unwrap()];
    let peers = ["5.5.5.5:22", "[2606:5::5]:22", "[::ffff:5.5.5.5]:22", "[64:ff9b::5.5.5.5]:22", "[2002:505:505::]:22"];
    refuses_with(ServerConfig { own_addresses, ..config() }, &peers);
}

#[test]
fn refuses_own_addresses_behind_a_one_to_one_nat() {
    let mut config = config();
    config.relays[0].bind = "5.5.5.5".parse().unwrap();
    refuses_with(config, &["5.5.5.5:22", "5.5.5.5:50000"]);
}

#[test]
fn refuses_ports_of_its_own_that_are_no_relayed_addresses() {
    let (mut world, mut alice) = dual(config());
    // A permission has no port; it is for relayed addresses.
    alice.permit(&mut world, "198.51.100.1:22").ok();
    for port in [22, 443, 3478, 49_151] {
        let own = format!("{RELAY_V4}:{port}");
        assert_eq!(alice.bind(&mut world, 0x4000, &own).code(), Some(403));
        alice.send(&mut world, address(&own), b"SSH-2.0");
        assert_eq!(world.take_out(), []);
    }
    // In the range but nobody's: nothing, and not through a socket.
    alice.bind(&mut world, 0x4000, "198.51.100.1:50000").ok();
    alice.channel_data(&mut world, 0x4000, b"anybody?");
    assert_eq!(world.take_out(), []);
}

#[test]
fn refuses_link_local_site_local_and_unique_local() {
    refuses(&["169.254.1.1:80", "[fe80::1]:80", "[febf::1]:80", "[fec0::1]:80", "[fc00::1]:80", "[fdff::1]:80"]);
}

#[test]
fn refuses_carrier_grade_nat() {
    refuses(&["100.64.0.1:80", "100.127.255.255:80"]);
}

#[test]
fn refuses_multicast_and_broadcast() {
    refuses(&["224.0.0.1:80", "239.255.255.255:1900", "255.255.255.255:67", "[ff02::1]:80", "[ff0e::1]:80"]);
}

#[test]
fn refuses_documentation_and_benchmark() {
    let documentation = ["192.0.2.1:80", "198.51.100.2:80", "203.0.113.1:80", "[2001:db8::1]:80", "[3fff::1]:80"];
    refuses(&documentation);
    refuses(&["198.18.0.1:80", "198.19.255.255:80", "[2001:2::1]:80"]);
}

#[test]
fn refuses_what_is_reserved_or_nobodys() {
    refuses(&[
        "240.0.0.1:80",
        "192.0.0.1:80",
        "192.88.99.1:80",
        "[100::1]:80",
        "[5f00::1]:80",
        "[4000::1]:80",
        "[::2]:80",
    ]);
}

#[test]
fn refuses_port_0() {
    let (mut world, mut alice) = dual(config());
    // A permission's port means nothing (RFC 8656 §10.2).
    alice.permit(&mut world, "8.8.8.8:0").ok();
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:0").code(), Some(403));
    alice.send(&mut world, address("8.8.8.8:0"), b"to nowhere");
    assert_eq!(world.take_out(), []);
}

#[test]
fn refuses_what_the_operator_denies() {
    let policy = PeerPolicy { deny: prefixes(&["8.8.0.0/16"]), ..PeerPolicy::default() };
    let (mut world, mut alice) = dual(ServerConfig { policy, ..config() });
    assert_eq!(alice.permit(&mut world, PEER).code(), Some(403));
    alice.permit(&mut world, OTHER).ok();
}

#[test]
fn a_new_policy_ends_what_it_refuses_at_once_and_nothing_else() {
    let (mut world, mut alice) = dual(config());
    alice.bind(&mut world, 0x4000, PEER).ok();
    alice.bind(&mut world, 0x4001, OTHER).ok();
    let policy = PeerPolicy { deny: prefixes(&["8.8.8.8"]), ..PeerPolicy::default() };
    world.server.reconfigure(world.now, ServerConfig { policy, ..config() });
    world.drain();
    alice.channel_data(&mut world, 0x4000, b"too late");
    alice.send(&mut world, address(PEER), b"too late");
    assert_eq!(world.take_out(), []);
    let relayed = world.sockets.values().map(|(_, at)| *at).find(|at| at.is_ipv4()).unwrap();
    world.peer_sends(relayed, PEER, b"too late");
    assert_eq!(world.take_out(), []);
    alice.channel_data(&mut world, 0x4001, b"as before");
    assert_eq!(world.take_out().len(), 1);
    assert_eq!(alice.permit(&mut world, PEER).code(), Some(403));
    // And allowed again, it has to be asked for again.
    world.server.reconfigure(world.now, config());
    alice.channel_data(&mut world, 0x4000, b"still not");
    assert_eq!(world.take_out(), []);
    alice.bind(&mut world, 0x4000, PEER).ok();
}

#[test]
fn an_allowed_test_network_is_reached() {
    let policy = PeerPolicy { allow: prefixes(&["10.0.0.0/8"]), ..PeerPolicy::default() };
    let (mut world, mut alice) = dual(ServerConfig { policy, ..config() });
    alice.permit(&mut world, "10.1.2.3:80").ok();
    alice.send(&mut world, address("10.1.2.3:80"), b"hello");
    assert_eq!(world.take_out().len(), 1);
}

#[test]
fn refuses_datagrams_that_pretend_to_come_from_a_relayed_address() {
    let mut world = World::new(config());
    let (mut alice, mut bob) =
        (Client::at("203.0.113.7:4000"), Client::at("203.0.113.8:4000").named("bob", "password"));
    let (of_alice, of_bob) = (alice.allocate(&mut world), bob.allocate(&mut world));
    alice.bind_to(&mut world, 0x4000, of_bob).ok();
    bob.bind_to(&mut world, 0x4000, of_alice).ok();
    world.peer_sends(of_alice, &of_bob.to_string(), b"from bob, or so it says");
    assert_eq!(world.take_out(), []);
    bob.channel_data(&mut world, 0x4000, b"from bob");
    assert_eq!(world.take_out().len(), 1);
}

#[test]
fn an_address_that_is_relayed_from_no_longer_is_the_servers_until_its_last_allocation_ends() {
    let mut world = World::new(config());
    let (mut alice, mut bob) =
        (Client::at("203.0.113.7:4000"), Client::at("203.0.113.8:4000").named("bob", "password"));
    let of_alice = alice.allocate(&mut world);
    for other in ["198.51.100.8", "198.51.100.9"] {
        let relays = vec![RelayAddress::plain(other.parse().unwrap())];
        world.server.reconfigure(world.now, ServerConfig { relays, ..config() });
    }
    let of_bob = bob.allocate(&mut world);
    assert_eq!(of_bob.ip().to_string(), "198.51.100.9");
    alice.bind_to(&mut world, 0x4000, of_bob).ok();
    bob.bind_to(&mut world, 0x4000, of_alice).ok();
    bob.channel_data(&mut world, 0x4000, b"joined inside");
    assert_eq!(world.answer().unwrap().0, alice.flow);
    alice.refresh(&mut world, 0).ok();
    // Now it is anybody's, and judged as such: this one is in a range that nobody reaches.
    bob.channel_data(&mut world, 0x4000, b"not through a socket");
    assert_eq!(world.take_out(), []);
    assert_eq!(bob.permit(&mut world, &of_alice.to_string()).code(), Some(403));
    assert_eq!(bob.permit(&mut world, "198.51.100.8:50000").code(), Some(403));
    let relays = vec![RelayAddress::plain("198.51.100.9".parse().unwrap())];
    let policy = PeerPolicy { allow: prefixes(&["198.51.100.0/24"]), ..PeerPolicy::default() };
    world.server.reconfigure(world.now, ServerConfig { relays, policy, ..config() });
    bob.bind_to(&mut world, 0x4000, of_alice).ok();
    bob.channel_data(&mut world, 0x4000, b"whoever has it now");
    assert!(matches!(&world.take_out()[..], [Out::Peer { peer, .. }] if *peer == of_alice));
}

#[test]
fn refuses_the_addresses_that_nat_discovery_answers_from() {
    let alternates = vec![Alternate { primary: address(SERVER), other: address("5.5.5.6:3479") }];
    refuses_with(ServerConfig { alternates, ..config() }, &["5.5.5.6:22", "5.5.5.6:3479", "[64:ff9b::5.5.5.6]:22"]);
}
