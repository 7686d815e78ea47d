//! PCP, RFC 6887.

use farspeak_ice::port_mapping::{Config, Event, PortMapper, Protocol, Reason, Refusal, Way};
use farspeak_sansio::{Instant, Machine, Receive, SplitMix64};

use crate::ladder::{Ladder, addr, secs};
use crate::router::Router;

fn pcp_alone() -> Router {
    Router { nat_pmp: false, ..Router::new() }
}

#[test]
fn a_port_is_mapped_within_a_round_trip() {
    let mut ladder = Ladder::new(1, Config::default(), pcp_alone());
    ladder.map(Protocol::Udp, 4000);
    let mapping = ladder.mapped(secs(1));
    assert_eq!(ladder.net.now().since_origin().as_millis(), 20);
    assert_eq!((mapping.internal, mapping.external), (addr("192.168.1.2:4000"), addr("9.9.9.9:4000")));
    assert_eq!((mapping.by, mapping.lifetime, mapping.is_public()), (Way::Pcp, Some(secs(7200)), true));
    ladder.run(secs(60));
    assert_eq!(ladder.net.count("host -> router"), 1, "nobody else is asked\n{}", ladder.net);
    ladder.close();
    assert_eq!(ladder.net.machine(ladder.router).table.len(), 0, "given back");
}

#[test]
fn udp_and_tcp_of_one_port_are_two_mappings() {
    let mut ladder = Ladder::new(1, Config::default(), pcp_alone());
    ladder.map(Protocol::Udp, 4000);
    ladder.map(Protocol::Tcp, 4000);
    ladder.run(secs(1));
    assert_eq!(ladder.heard().len(), 2);
    let now = ladder.net.now();
    assert_eq!(ladder.net.machine(ladder.router).mapped(now), [(6, 4000, 4000), (17, 4000, 4000)]);
    ladder.close();
}

#[test]
fn a_port_that_is_taken_gets_another() {
    let mut ladder = Ladder::new(1, Config::default(), Router { taken: vec![4000, 4001], ..pcp_alone() });
    ladder.map(Protocol::Udp, 4000);
    assert_eq!(ladder.mapped(secs(1)).external, addr("9.9.9.9:4002"));
    ladder.close();
}

#[test]
fn a_mapping_is_kept_for_days_whatever_is_lost() {
    for (loss, seed) in [(0.0, 1), (0.1, 2), (0.1, 3), (0.2, 4), (0.2, 5), (0.2, 6)] {
        let mut ladder = Ladder::new(seed, Config::default(), Router { longest: 3600, ..pcp_alone() }).loss(loss);
        ladder.map(Protocol::Udp, 4000);
        assert_eq!(ladder.mapped(secs(30)).by, Way::Pcp, "seed {seed}");
        ladder.run(secs(2 * 86_400));
        assert_eq!(ladder.heard(), [], "seed {seed}: three renewals, each sent three times");
        assert_eq!(ladder.net.machine(ladder.host).mappings().count(), 1, "seed {seed}");
        let renewals = ladder.net.count("host -> router  MAP");
        assert!((70..=140).contains(&renewals), "{renewals} requests in two days, an hour each");
        ladder.close();
    }
}

#[test]
fn a_router_that_restarts_is_asked_anew() {
    let mut ladder = Ladder::new(1, Config::default(), pcp_alone());
    ladder.map(Protocol::Udp, 4000);
    ladder.map(Protocol::Udp, 4001);
    ladder.run(secs(100));
    assert_eq!(ladder.heard().len(), 2);
    ladder.net.at(ladder.router, |router, now| {
        router.reboot(now);
        router.external = [9, 9, 9, 10].into();
        router.announce(now);
    });
    ladder.run(secs(10));
    let external = |event: &Event| match event {
        Event::Mapped(mapping) => mapping.external.to_string(),
        other => panic!("{other:?}"),
    };
    let mut again: Vec<String> = ladder.heard().iter().map(external).collect();
    again.sort();
    assert_eq!(again, ["9.9.9.10:4000", "9.9.9.10:4001"], "\n{}", ladder.net);
    ladder.close();
}

#[test]
fn a_restart_shows_in_any_answer_too() {
    let mut ladder = Ladder::new(1, Config::default(), pcp_alone());
    ladder.map(Protocol::Udp, 4000);
    ladder.run(secs(100));
    ladder.net.at(ladder.router, |router, now| router.reboot(now));
    ladder.map(Protocol::Udp, 4001);
    ladder.run(secs(10));
    let now = ladder.net.now();
    assert_eq!(ladder.net.machine(ladder.router).mapped(now), [(17, 4000, 4000), (17, 4001, 4001)]);
    ladder.close();
}

#[test]
fn a_router_that_falls_silent_loses_the_mapping_at_the_end_of_its_lifetime() {
    let mut ladder = Ladder::new(1, Config::default(), pcp_alone());
    ladder.map(Protocol::Udp, 4000);
    ladder.mapped(secs(1));
    ladder.net.power(ladder.router, false);
    let lost = ladder.next(secs(7300));
    assert_eq!(lost, Event::Lost { protocol: Protocol::Udp, internal: addr("192.168.1.2:4000") });
    assert_eq!(ladder.net.now().since_origin().as_secs(), 7200);
    assert_eq!(ladder.unavailable(secs(31)), Reason::NoAnswer);
    ladder.net.power(ladder.router, true);
    assert_eq!(ladder.mapped(secs(910)).external, addr("9.9.9.9:4000"), "it is tried again by itself");
    ladder.close();
}

#[test]
fn a_translator_in_between_is_reported() {
    let mut ladder = Ladder::new(1, Config::default(), Router { refuses: Some(12), ..pcp_alone() });
    ladder.map(Protocol::Udp, 4000);
    let reason = ladder.unavailable(secs(31));
    assert_eq!(reason, Reason::Refused { by: Way::Pcp, why: Refusal::AddressMismatch });
    ladder.close();
}

#[test]
fn a_private_external_address_is_told_from_a_public_one() {
    for (external, public) in [([9, 9, 9, 9], true), ([100, 64, 0, 1], false), ([192, 168, 0, 7], false)] {
        let mut ladder = Ladder::new(1, Config::default(), Router { external: external.into(), ..pcp_alone() });
        ladder.map(Protocol::Udp, 4000);
        assert_eq!(ladder.mapped(secs(1)).is_public(), public, "{external:?}");
        ladder.close();
    }
}

#[test]
fn a_router_that_refuses_by_its_way_is_asked_by_the_others_later() {
    let mut ladder = Ladder::new(1, Config::default(), Router::new());
    ladder.map(Protocol::Udp, 4000);
    assert_eq!(ladder.mapped(secs(1)).by, Way::Pcp);
    ladder.net.at(ladder.router, |router, _| router.refuses = Some(8));
    ladder.map(Protocol::Udp, 4001);
    let reason = ladder.unavailable(secs(1));
    assert_eq!(reason, Reason::Refused { by: Way::Pcp, why: Refusal::NoResources });
    ladder.unmap(Protocol::Udp, 4000);
    ladder.net.at(ladder.router, |router, _| (router.refuses, router.pcp) = (None, false));
    assert_eq!(ladder.mapped(secs(40)).by, Way::NatPmp, "as soon as the router's error has passed\n{}", ladder.net);
    ladder.close();
}

/// For IPv6 nothing is translated: PCP opens the firewall, and nobody else knows how.
#[test]
fn a_firewall_for_ipv6_is_opened_by_pcp_alone() {
    let (local, gateway) = (addr("[fd00::2]:40000"), addr("[fe80::1%3]:0"));
    let mut mapper = PortMapper::new(Config::default(), local, gateway, Box::new(SplitMix64::new(1)));
    mapper.map(Instant::ZERO, Protocol::Udp, 4000).unwrap();
    let request = mapper.poll_transmit().unwrap();
    assert_eq!(request.flow.remote, addr("[fe80::1%3]:5351"), "the link is kept");
    assert_eq!(request.bytes[8..24], "fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    for seconds in 1..3 {
        mapper.handle_timeout(Instant::ZERO + secs(seconds));
        assert!(mapper.poll_transmit().is_none(), "neither NAT-PMP nor UPnP is asked");
    }
    let mut answer = request.bytes.to_vec();
    answer[1] |= 0x80;
    answer[44..60].copy_from_slice(&"2600::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    mapper.handle_receive(Instant::ZERO + secs(3), Receive { flow: request.flow, bytes: &answer });
    let Some(Event::Mapped(mapping)) = mapper.poll_event() else { panic!("nothing is mapped") };
    assert_eq!((mapping.external, mapping.is_public()), (addr("[2600::2]:4000"), true));
}
