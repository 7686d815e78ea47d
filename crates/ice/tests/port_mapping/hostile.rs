//! Who would make us map for others, fetch from others, or wait for ever.

use farspeak_ice::port_mapping::{Config, Full, PortMapper, Protocol, Reason, Way};
use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_sim::Probe;

use crate::gateway::{Framing, Gateway};
use crate::ladder::{Ladder, addr, secs};
use crate::router::Router;
use crate::upnp::house;

fn udp(local: &str, remote: &str) -> Flow {
    Flow::unbound(Transport::Udp, addr(local), addr(remote))
}

/// A success by PCP to the request.
fn granted(request: &[u8], epoch: u32) -> Vec<u8> {
    let mut answer = request.to_vec();
    answer[1] |= 0x80;
    answer[8..24].fill(0);
    answer[8..12].copy_from_slice(&epoch.to_be_bytes());
    answer[42..44].copy_from_slice(&6666_u16.to_be_bytes());
    answer[44..60].copy_from_slice(&std::net::Ipv4Addr::new(6, 6, 6, 6).to_ipv6_mapped().octets());
    answer
}

/// A machine that has asked by PCP, and its request.
fn asking() -> (PortMapper, Vec<u8>) {
    let config = Config { ways: vec![Way::Pcp], ..Config::default() };
    let (local, gateway) = (addr("192.168.1.2:40000"), addr("192.168.1.1:0"));
    let mut mapper = PortMapper::new(config, local, gateway, Box::new(SplitMix64::new(1)));
    mapper.map(Instant::ZERO, Protocol::Udp, 4000).unwrap();
    let request = mapper.poll_transmit().unwrap().bytes.to_vec();
    (mapper, request)
}

#[test]
fn refuses_answers_from_anybody_but_the_gateways_port() {
    for (from, heard) in
        [("192.168.1.1:5351", true), ("192.168.1.1:5350", false), ("192.168.1.66:5351", false), ("9.9.9.9:5351", false)]
    {
        let (mut mapper, request) = asking();
        let bytes = &granted(&request, 9)[..];
        mapper.handle_receive(Instant::ZERO, Receive { flow: udp("192.168.1.2:40000", from), bytes });
        assert_eq!(mapper.poll_event().is_some(), heard, "{from}");
    }
}

#[test]
fn refuses_answers_that_do_not_know_the_nonce() {
    // Each byte of what names the mapping, and of what makes it an answer.
    for at in (24..37).chain([0, 40, 41]) {
        let (mut mapper, request) = asking();
        let mut bytes = granted(&request, 9);
        bytes[at] ^= 1;
        let flow = udp("192.168.1.2:40000", "192.168.1.1:5351");
        mapper.handle_receive(Instant::ZERO, Receive { flow, bytes: &bytes });
        assert_eq!(mapper.mappings().count(), 0, "byte {at}");
    }
}

#[test]
fn refuses_a_mapping_to_nowhere() {
    for range in [42..44, 44..60, 4..8] {
        let (mut mapper, request) = asking();
        let mut bytes = granted(&request, 9);
        bytes[range.clone()].fill(0);
        let flow = udp("192.168.1.2:40000", "192.168.1.1:5351");
        mapper.handle_receive(Instant::ZERO, Receive { flow, bytes: &bytes });
        assert_eq!(mapper.poll_event(), None, "{range:?}");
    }
}

#[test]
fn a_forged_restart_costs_renewals_alone_and_not_at_once() {
    let mut ladder = Ladder::new(1, Config::default(), Router { nat_pmp: false, ..Router::new() });
    ladder.map(Protocol::Udp, 4000);
    ladder.mapped(secs(1));
    ladder.run(secs(1000));
    let before = ladder.net.machine(ladder.router).requests;
    for epoch in 0..100_u32 {
        // As if the router had restarted again and again, in its name.
        let mut packet = [0; 24];
        packet[..2].copy_from_slice(&[2, 0x80]);
        packet[8..12].copy_from_slice(&(epoch * 7919 % 5000).to_be_bytes());
        let flow = udp("192.168.1.2:5350", "192.168.1.1:5351");
        ladder.net.at(ladder.host, |mapper, now| mapper.handle_receive(now, Receive { flow, bytes: &packet }));
    }
    ladder.run(secs(10));
    assert!(ladder.net.machine(ladder.router).requests - before <= 2, "\n{}", ladder.net);
    assert_eq!(ladder.heard(), [], "the mapping is as it was");
    ladder.close();
}

#[test]
fn refuses_a_description_anywhere_but_at_the_gateway() {
    for location in [
        "http://9.9.9.9/rootDesc.xml",
        "http://127.0.0.1:5000/rootDesc.xml",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.1.77:5000/rootDesc.xml",
        "http://192.168.1.1@9.9.9.9/rootDesc.xml",
        "https://192.168.1.1/rootDesc.xml",
        "http://router.lan:5000/rootDesc.xml",
        "http://[::1]:5000/rootDesc.xml",
        "gopher://192.168.1.1/",
    ] {
        let mut ladder = house(1, Gateway { location: location.to_owned(), ..Gateway::new() });
        ladder.map(Protocol::Udp, 4000);
        assert_eq!(ladder.unavailable(secs(31)), Reason::NoAnswer, "{location}");
        assert_eq!(ladder.net.streams(), 0);
        assert!(ladder.net.sightings().all(|seen| seen.transport == Transport::Udp), "{location}");
        ladder.close();
    }
}

#[test]
fn refuses_control_anywhere_but_at_the_gateway() {
    for control in ["http://9.9.9.9/ctl", "//9.9.9.9/ctl", "http://127.0.0.1/ctl", "/a b\r\nHost: x"] {
        let mut ladder = house(1, Gateway { control: control.to_owned(), ..Gateway::new() });
        ladder.map(Protocol::Udp, 4000);
        ladder.unavailable(secs(31));
        assert_eq!(ladder.net.machine(ladder.router).actions.len(), 0, "{control}");
        ladder.close();
    }
}

#[test]
fn refuses_a_gateway_that_is_not_of_the_house() {
    let config = Config { ways: vec![Way::Upnp], ..Config::default() };
    let (local, gateway) = (addr("198.51.100.2:40000"), addr("198.51.100.1:0"));
    let mut mapper = PortMapper::new(config, local, gateway, Box::new(SplitMix64::new(1)));
    mapper.map(Instant::ZERO, Protocol::Udp, 4000).unwrap();
    while mapper.poll_transmit().is_some() {}
    let answer = "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
                  LOCATION: http://198.51.100.1/d.xml\r\n\r\n";
    let flow = udp("198.51.100.2:40000", "198.51.100.1:1900");
    mapper.handle_receive(Instant::ZERO, Receive { flow, bytes: answer.as_bytes() });
    mapper.handle_timeout(Instant::ZERO);
    assert!(mapper.poll_transmit().is_none());
}

#[test]
fn a_router_that_never_ends_or_never_begins_is_given_up() {
    for framing in [Framing::Endless, Framing::Silent] {
        let mut ladder = house(1, Gateway { framing, ..Gateway::new() });
        ladder.map(Protocol::Udp, 4000);
        ladder.unavailable(secs(31));
        ladder.close();
    }
}

#[test]
fn answers_from_others_in_the_house_change_nothing() {
    let mut ladder = house(1, Gateway::new());
    let thief = ladder.net.host("thief", ["192.168.1.66"], Probe::new());
    let own = ladder.net.bind(thief, Transport::Udp, 1900);
    ladder.map(Protocol::Udp, 4000);
    // Every moment an answer that leads to itself.
    let answer = "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
                  LOCATION: http://192.168.1.66:5000/d.xml\r\n\r\n";
    for _ in 0..200 {
        let flow = Flow::unbound(Transport::Udp, own, addr("192.168.1.2:40000"));
        ladder.net.at(thief, |probe, _| probe.send(flow, answer.as_bytes()));
        ladder.run(std::time::Duration::from_millis(10));
    }
    assert_eq!(ladder.mapped(secs(5)).external, addr("9.9.9.9:4000"));
    assert_eq!(ladder.net.machine(thief).inbox, []);
    ladder.close();
}

#[test]
fn no_more_mappings_than_the_bound() {
    let config = Config { most: 3, ..Config::default() };
    let mut ladder = Ladder::new(1, config, Router::new());
    for port in 4000..4003 {
        ladder.map(Protocol::Udp, port);
    }
    ladder.net.at(ladder.host, |mapper, now| {
        assert_eq!(mapper.map(now, Protocol::Udp, 4003), Err(Full));
        assert_eq!(mapper.map(now, Protocol::Udp, 4000), Ok(()), "wanted already");
    });
    ladder.close();
}
