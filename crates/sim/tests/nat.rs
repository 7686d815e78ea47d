//! The NAT kinds of RFC 4787, seen from outside.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Transport};
use farspeak_sim::{Dependence, Host, Nat, NatId, NatTable, Network, Pooling, PortAssignment, Probe, Protocol};

const KINDS: [Dependence; 3] =
    [Dependence::EndpointIndependent, Dependence::AddressDependent, Dependence::AddressAndPortDependent];

const INSIDE: &str = "10.0.0.2:5060";

/// One host inside; outside a server with two addresses and two ports on each, as RFC 5780 uses them.
struct World {
    net: Network,
    nat: NatId,
    inside: Host<Probe>,
    outside: Host<Probe>,
}

fn world(behaviour: Nat) -> World {
    let mut net = Network::new(11);
    let inside = net.host("inside", ["10.0.0.2"], Probe::new());
    let outside = net.host("outside", ["192.0.2.1", "192.0.2.2"], Probe::new());
    net.bind(inside, Transport::Udp, 5060);
    net.bind(outside, Transport::Udp, 3478);
    net.bind(outside, Transport::Udp, 3479);
    let nat = net.nat("nat", behaviour, ["198.51.100.7"]);
    net.put_behind(inside, nat);
    World { net, nat, inside, outside }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl World {
    /// Sends from inside and returns the outside endpoint that the server sees.
    fn punch(&mut self, to: &str) -> SocketAddr {
        let flow = Flow::unbound(Transport::Udp, addr(INSIDE), addr(to));
        self.net.at(self.inside, |probe, _| probe.send(flow, *b"out"));
        self.net.expect("inside -> outside  out");
        self.net.machine(self.outside).inbox.last().unwrap().flow.remote
    }

    /// Whether a datagram from this address of the server reaches the inside.
    fn reaches(&mut self, from: &str, to: SocketAddr) -> bool {
        let before = self.net.machine(self.inside).inbox.len();
        let flow = self.net.datagram_flow(self.outside, addr(from), to);
        self.net.at(self.outside, |probe, _| probe.send(flow, *b"in"));
        self.net.run_until_quiet(Duration::from_secs(1));
        self.net.machine(self.inside).inbox.len() > before
    }
}

#[test]
fn all_nine_kinds_map_and_filter_as_rfc4787_says() {
    let mut table = String::from(
        "mapping                  filtering                | same port for: other port, other address \
         | lets in: peer, its other port, its other address\n",
    );
    for mapping in KINDS {
        for filtering in KINDS {
            let mut world = world(Nat::new(mapping, filtering));
            let first = world.punch("192.0.2.1:3478");
            let admits = [
                world.reaches("192.0.2.1:3478", first),
                world.reaches("192.0.2.1:3479", first),
                world.reaches("192.0.2.2:3478", first),
            ];
            let same = [world.punch("192.0.2.1:3479") == first, world.punch("192.0.2.2:3478") == first];
            let yes = |yes: bool| if yes { "yes" } else { "-" };
            table += &format!(
                "{:<24} {:<24} | {:<4} {:<4} | {:<4} {:<4} {:<4}\n",
                format!("{mapping:?}"),
                format!("{filtering:?}"),
                yes(same[0]),
                yes(same[1]),
                yes(admits[0]),
                yes(admits[1]),
                yes(admits[2])
            );
        }
    }
    let expected = "\
mapping                  filtering                | same port for: other port, other address | lets in: peer, its other port, its other address
EndpointIndependent      EndpointIndependent      | yes  yes  | yes  yes  yes \n\
EndpointIndependent      AddressDependent         | yes  yes  | yes  yes  -   \n\
EndpointIndependent      AddressAndPortDependent  | yes  yes  | yes  -    -   \n\
AddressDependent         EndpointIndependent      | yes  -    | yes  yes  yes \n\
AddressDependent         AddressDependent         | yes  -    | yes  yes  -   \n\
AddressDependent         AddressAndPortDependent  | yes  -    | yes  -    -   \n\
AddressAndPortDependent  EndpointIndependent      | -    -    | yes  yes  yes \n\
AddressAndPortDependent  AddressDependent         | -    -    | yes  yes  -   \n\
AddressAndPortDependent  AddressAndPortDependent  | -    -    | yes  -    -   \n";
    assert_eq!(table, expected);
}

#[test]
fn a_mapping_dies_of_silence_and_only_then() {
    let mut world = world(Nat::transparent().udp_timeout(Duration::from_secs(30)));
    let outside = world.punch("192.0.2.1:3478");
    world.net.run_for(Duration::from_secs(29));
    assert!(world.reaches("192.0.2.1:3478", outside));
    // What arrives does not refresh (REQ-6 makes that optional), so the 30 s count from what left.
    world.net.run_for(Duration::from_secs(1));
    assert!(!world.reaches("192.0.2.1:3478", outside));
    assert_eq!(world.net.count("outside -x inside"), 1, "{}", world.net);
}

#[test]
fn inbound_refresh_keeps_a_mapping_alive() {
    let nat = Nat::home_router().udp_timeout(Duration::from_secs(30)).inbound_refresh(true);
    let mut world = world(nat);
    let outside = world.punch("192.0.2.1:3478");
    for _ in 0..10 {
        world.net.run_for(Duration::from_secs(25));
        assert!(world.reaches("192.0.2.1:3478", outside));
    }
    let now = world.net.now();
    assert_eq!(world.net.nat_table(world.nat).mappings(now), 1);
}

#[test]
fn inbound_refresh_keeps_open_what_let_the_datagram_in() {
    let timeout = Duration::from_secs(30);
    for filtering in KINDS {
        let nat = Nat::new(Dependence::EndpointIndependent, filtering).udp_timeout(timeout).inbound_refresh(true);
        let mut world = world(nat);
        let outside = world.punch("192.0.2.1:3478");
        world.punch("192.0.2.2:3478");
        // From another port of an address that was sent to, again and again.
        for _ in 0..3 {
            world.net.run_for(Duration::from_secs(25));
            let admitted = filtering != Dependence::AddressAndPortDependent;
            assert_eq!(world.reaches("192.0.2.1:3479", outside), admitted, "{filtering:?}");
        }
        // The address that was silent has lost its way in, where the filter looks at addresses.
        assert_eq!(world.reaches("192.0.2.2:3478", outside), filtering == Dependence::EndpointIndependent);
    }
}

/// RFC 4787 §5 filters by what the inside endpoint has sent, not by what has left through that mapping.
#[test]
fn the_filter_asks_whom_the_inside_has_sent_to_through_any_mapping() {
    for filtering in KINDS {
        let mut world = world(Nat::new(Dependence::AddressAndPortDependent, filtering));
        let (first, second) = (world.punch("192.0.2.1:3478"), world.punch("192.0.2.2:3478"));
        assert_ne!(first, second);
        assert!(world.reaches("192.0.2.2:3478", first), "{filtering:?}");
        assert_eq!(world.reaches("192.0.2.2:3479", first), filtering != Dependence::AddressAndPortDependent);
    }
}

#[test]
fn outbound_traffic_keeps_a_mapping_alive_whoever_it_is_for() {
    let mut world = world(Nat::home_router().udp_timeout(Duration::from_secs(30)));
    let outside = world.punch("192.0.2.1:3478");
    for _ in 0..3 {
        world.net.run_for(Duration::from_secs(25));
        assert_eq!(world.punch("192.0.2.2:3478"), outside);
    }
    // The mapping lives; who has not been sent to for so long is filtered all the same.
    assert!(world.reaches("192.0.2.2:3478", outside));
    assert!(!world.reaches("192.0.2.1:3478", outside));
}

#[test]
fn what_does_not_pass_leaves_nothing_behind() {
    // IPv4 only outside: a datagram to an IPv6 host finds no address there.
    let mut table = NatTable::new(Nat::new(KINDS[0], KINDS[1]), ["198.51.100.7".parse().unwrap()], 1);
    let now = farspeak_sansio::Instant::ZERO;
    let (inside, v6) = (addr(INSIDE), addr("[2001:db8::1]:3478"));
    assert_eq!(table.outbound(now, Protocol::Udp, inside, v6), None);
    assert_eq!((table.mappings(now), table.inbound(now, Protocol::Udp, addr("198.51.100.7:5060"), v6)), (0, None));
}

#[test]
fn two_homes_behind_one_carrier_meet_only_where_it_hairpins() {
    for hairpin in [true, false] {
        let mut net = Network::new(14);
        let carrier = net.nat("carrier", Nat::transparent().hairpin(hairpin), ["198.51.100.7"]);
        let server = net.host("server", ["192.0.2.1"], Probe::new());
        let stun = net.bind(server, Transport::Udp, 3478);
        let homes = [("one", "100.64.0.1"), ("two", "100.64.0.2")].map(|(name, outside)| {
            let host = net.host(name, ["10.0.0.2"], Probe::new());
            let home = net.nat(&format!("home-{name}"), Nat::transparent(), [outside]);
            net.put_nat_behind(home, carrier);
            net.put_behind(host, home);
            net.bind(host, Transport::Udp, 5060);
            say(&mut net, host, INSIDE, stun, name);
            (host, net.machine(server).inbox.last().unwrap().flow.remote)
        });
        let [(one, of_one), (two, of_two)] = homes;
        assert_eq!((of_one.ip(), of_two.ip()), (addr("198.51.100.7:0").ip(), addr("198.51.100.7:0").ip()));
        say(&mut net, one, INSIDE, of_two, "hello");
        assert_eq!(net.machine(two).last_text() == "hello", hairpin, "{net}");
        // Between the homes, by what the carrier's side sees of them, nobody turns anything round.
        say(&mut net, one, INSIDE, addr("100.64.0.2:5060"), "across");
        assert_eq!(net.machine(two).last_text(), "across");
    }
}

#[test]
fn a_reboot_forgets_mappings() {
    let mut world = world(Nat::transparent().ports(PortAssignment::Random));
    let before = world.punch("192.0.2.1:3478");
    world.net.nat_table(world.nat).reboot();
    assert!(!world.reaches("192.0.2.1:3478", before));
    assert_ne!(world.punch("192.0.2.1:3478"), before);
}

/// Two hosts with the same inside port behind one translator.
fn neighbours(behaviour: Nat, outside: &[&str]) -> (Network, [Host<Probe>; 2], Host<Probe>) {
    let mut net = Network::new(12);
    let one = net.host("one", ["10.0.0.2"], Probe::new());
    let two = net.host("two", ["10.0.0.3"], Probe::new());
    let server = net.host("server", ["192.0.2.1"], Probe::echo());
    let nat = net.nat("nat", behaviour, outside.iter().copied());
    for host in [one, two] {
        net.bind(host, Transport::Udp, 5060);
        net.put_behind(host, nat);
    }
    net.bind(server, Transport::Udp, 3478);
    (net, [one, two], server)
}

fn say(net: &mut Network, from: Host<Probe>, local: &str, to: SocketAddr, text: &str) {
    let flow = Flow::unbound(Transport::Udp, addr(local), to);
    net.at(from, |probe, _| probe.send(flow, text.as_bytes()));
    net.run_until_quiet(Duration::from_secs(1));
}

#[test]
fn hairpin_reaches_a_neighbour_by_its_outside_address() {
    for hairpin in [true, false] {
        let nat = Nat::transparent().hairpin(hairpin);
        let (mut net, [one, two], server) = neighbours(nat, &["198.51.100.7"]);
        say(&mut net, two, "10.0.0.3:5060", addr("192.0.2.1:3478"), "hello");
        let outside_of_two = net.machine(server).inbox[0].flow.remote;
        say(&mut net, one, "10.0.0.2:5060", outside_of_two, "neighbour");
        let reached = net.machine(two).last_text() == "neighbour";
        assert_eq!(reached, hairpin, "{net}");
        if hairpin {
            // REQ-9a: the neighbour sees the outside endpoint, not the inside one.
            assert_eq!(net.machine(two).inbox.last().unwrap().flow.remote.ip(), outside_of_two.ip());
        }
    }
}

#[test]
fn neighbours_reach_each_other_by_inside_addresses() {
    let (mut net, [one, two], _) = neighbours(Nat::symmetric(), &["198.51.100.7"]);
    say(&mut net, one, "10.0.0.2:5060", addr("10.0.0.3:5060"), "direct");
    assert_eq!(net.machine(two).last_text(), "direct");
    assert_eq!(net.machine(two).inbox[0].flow.remote, addr("10.0.0.2:5060"));
}

#[test]
fn preservation_yields_where_overloading_collides() {
    for (ports, same_port, echoes) in
        [(PortAssignment::Preserve, false, [1, 1]), (PortAssignment::Overload, true, [0, 2])]
    {
        let (mut net, [one, two], server) = neighbours(Nat::transparent().ports(ports), &["198.51.100.7"]);
        let to = addr("192.0.2.1:3478");
        net.at(one, |probe, _| probe.send(Flow::unbound(Transport::Udp, addr("10.0.0.2:5060"), to), *b"one"));
        net.at(two, |probe, _| probe.send(Flow::unbound(Transport::Udp, addr("10.0.0.3:5060"), to), *b"two"));
        net.run_until_quiet(Duration::from_secs(1));
        let seen: Vec<u16> = net.machine(server).inbox.iter().map(|received| received.flow.remote.port()).collect();
        assert_eq!(seen[0], 5060);
        assert_eq!(seen[1] == 5060, same_port);
        assert_eq!([net.machine(one).inbox.len(), net.machine(two).inbox.len()], echoes, "{net}");
    }
}

#[test]
fn paired_pooling_keeps_one_address_for_one_host() {
    let pool = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];
    for (pooling, several) in [(Pooling::Paired, false), (Pooling::Arbitrary, true)] {
        let (mut net, [one, _], server) = neighbours(Nat::symmetric().pooling(pooling), &pool);
        for port in 3478..3498 {
            net.bind(server, Transport::Udp, port + 100);
            say(&mut net, one, "10.0.0.2:5060", SocketAddr::new("192.0.2.1".parse().unwrap(), port + 100), "x");
        }
        let mut seen: Vec<_> = net.machine(server).inbox.iter().map(|received| received.flow.remote.ip()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len() > 1, several);
    }
}

#[test]
fn a_translator_behind_a_translator_works() {
    let mut net = Network::new(13);
    let phone = net.host("phone", ["10.0.0.2"], Probe::new());
    let server = net.host("server", ["192.0.2.1"], Probe::echo());
    let home = net.nat("home", Nat::home_router(), ["100.64.0.9"]);
    let carrier = net.nat("carrier", Nat::symmetric(), ["198.51.100.7"]);
    net.put_nat_behind(home, carrier);
    net.put_behind(phone, home);
    net.bind(phone, Transport::Udp, 5060);
    net.bind(server, Transport::Udp, 3478);
    net.bind(server, Transport::Tls, 5061);
    say(&mut net, phone, "10.0.0.2:5060", addr("192.0.2.1:3478"), "hello");
    assert_eq!(net.machine(phone).last_text(), "hello");
    let tls = Flow::unbound(Transport::Tls, addr("10.0.0.2:0"), addr("192.0.2.1:5061"));
    net.at(phone, |probe, _| probe.send(tls, *b"secret"));
    net.expect("phone -> server  secret");
    net.expect("server -> phone  secret");
    assert_eq!(net.machine(server).inbox.last().unwrap().flow.remote.ip(), addr("198.51.100.7:0").ip());
}

#[test]
fn nobody_connects_inwards() {
    let mut world = world(Nat::transparent());
    world.net.bind(world.inside, Transport::Tcp, 5060);
    let flow = Flow::unbound(Transport::Tcp, addr("192.0.2.1:0"), addr("198.51.100.7:5060"));
    world.net.at(world.outside, |probe, _| probe.send(flow, *b"hello"));
    world.net.run_for(Duration::from_secs(61));
    assert!(world.net.machine(world.inside).inbox.is_empty());
    // The connection that was tried, and the flow under which the machine asked for it.
    let failed = &world.net.machine(world.outside).failed;
    assert_ne!(failed[0].id, FlowId::UNBOUND);
    assert_eq!(failed[1], flow);
    assert_eq!(world.net.streams(), 0);
}

#[test]
fn a_forgotten_connection_fails_for_whoever_uses_it() {
    let mut world = world(Nat::home_router().tcp_timeout(Duration::from_secs(600)));
    world.net.bind(world.outside, Transport::Tls, 5061);
    let flow = Flow::unbound(Transport::Tls, addr("10.0.0.2:0"), addr("192.0.2.1:5061"));
    world.net.at(world.inside, |probe, _| probe.send(flow, *b"hello"));
    world.net.expect("inside -> outside  hello");
    world.net.run_for(Duration::from_secs(601));
    world.net.at(world.outside, |probe, _| probe.reply(*b"late"));
    world.net.run_for(Duration::from_secs(59));
    assert!(world.net.machine(world.outside).failed.is_empty(), "the server hopes as long as its stream retransmits");
    world.net.run_for(Duration::from_secs(2));
    assert_eq!(world.net.machine(world.outside).failed.len(), 1);
    assert!(world.net.machine(world.inside).inbox.is_empty());
    world.net.at(world.inside, |probe, _| probe.send(flow, *b"again"));
    world.net.run_for(Duration::from_secs(1));
    assert_eq!(world.net.machine(world.inside).failed.len(), 2, "by its handle and as asked for");
    world.net.at(world.inside, |probe, _| probe.send(flow, *b"anew"));
    world.net.expect("inside -> outside  anew");
}

#[test]
fn a_firewall_lets_connections_to_one_port_through_and_no_datagram() {
    let mut world = world(Nat::home_router().without_udp(Some(443)));
    world.net.bind(world.outside, Transport::Tls, 443);
    world.net.bind(world.outside, Transport::Tls, 5061);
    say(&mut world.net, world.inside, INSIDE, addr("192.0.2.1:3478"), "datagram");
    for port in [443, 5061] {
        let to = SocketAddr::new(addr("192.0.2.1:0").ip(), port);
        let flow = Flow::unbound(Transport::Tls, addr("10.0.0.2:0"), to);
        world.net.at(world.inside, |probe, _| probe.send(flow, format!("to {port}").into_bytes()));
    }
    world.net.run_for(Duration::from_secs(1));
    let arrived = &world.net.machine(world.outside).inbox;
    assert_eq!(arrived.len(), 1, "{}", world.net.ladder());
    assert_eq!(arrived[0].bytes, b"to 443");
}
