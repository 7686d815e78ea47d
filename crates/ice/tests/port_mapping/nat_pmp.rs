//! NAT-PMP, RFC 6886, and how PCP gives way to it (RFC 6887 §9).

use farspeak_ice::port_mapping::{Config, Event, Protocol, Reason, Refusal, Way};

use crate::ladder::{Ladder, addr, secs};
use crate::router::Router;

fn nat_pmp_alone() -> Router {
    Router { pcp: false, ..Router::new() }
}

#[test]
fn a_router_of_the_older_version_is_asked_in_its_own() {
    let mut ladder = Ladder::new(1, Config::default(), nat_pmp_alone());
    ladder.map(Protocol::Udp, 4000);
    let mapping = ladder.mapped(secs(1));
    assert_eq!((mapping.by, mapping.external), (Way::NatPmp, addr("9.9.9.9:4000")));
    // MAP, unsupported version; address; mapping: three round trips and nothing to wait for.
    assert_eq!(ladder.net.now().since_origin().as_millis(), 60, "\n{}", ladder.net);
    ladder.close();
    assert_eq!(ladder.net.machine(ladder.router).table.len(), 0, "given back");
}

#[test]
fn a_router_that_drops_what_it_does_not_know_costs_the_stagger() {
    let mut ladder = Ladder::new(1, Config::default(), nat_pmp_alone());
    ladder.net.intercept(ladder.router, move |bytes| {
        let drop = bytes[0] == 2;
        // To a port where nobody listens.
        let nowhere = farspeak_sansio::Flow::unbound(
            farspeak_sansio::Transport::Udp,
            addr("192.168.1.1:5351"),
            addr("192.168.1.2:9"),
        );
        drop.then(|| (nowhere, vec![0]))
    });
    ladder.map(Protocol::Udp, 4000);
    assert_eq!(ladder.mapped(secs(1)).by, Way::NatPmp);
    assert_eq!(ladder.net.now().since_origin().as_millis(), 540);
    ladder.close();
}

#[test]
fn requests_go_one_by_one() {
    let mut ladder = Ladder::new(1, Config { ways: vec![Way::NatPmp], ..Config::default() }, nat_pmp_alone());
    for port in [4000, 4001, 4002] {
        ladder.map(Protocol::Udp, port);
    }
    ladder.net.expect("host   -> router  ADDRESS");
    for _ in 0..3 {
        ladder.net.expect("host   -> router  PMP-MAP");
        ladder.net.expect("router -> host    PMP-129-0");
    }
    assert_eq!(ladder.heard().len(), 3);
    ladder.close();
}

#[test]
fn a_mapping_is_kept_for_days_whatever_is_lost() {
    for (loss, seed) in [(0.0, 1), (0.1, 2), (0.2, 3), (0.2, 4), (0.2, 5)] {
        let mut ladder = Ladder::new(seed, Config::default(), Router { longest: 3600, ..nat_pmp_alone() }).loss(loss);
        ladder.map(Protocol::Udp, 4000);
        assert_eq!(ladder.mapped(secs(30)).by, Way::NatPmp, "seed {seed}");
        ladder.run(secs(2 * 86_400));
        assert_eq!(ladder.heard(), [], "seed {seed}: each renewal is sent up to nine times");
        ladder.close();
    }
}

#[test]
fn a_router_that_restarts_is_asked_anew() {
    let mut ladder = Ladder::new(1, Config::default(), nat_pmp_alone());
    ladder.map(Protocol::Udp, 4000);
    ladder.mapped(secs(1));
    ladder.run(secs(100));
    ladder.net.at(ladder.router, |router, now| {
        router.reboot(now);
        router.external = [9, 9, 9, 10].into();
        router.announce(now);
    });
    assert_eq!(ladder.mapped(secs(1)).external, addr("9.9.9.10:4000"));
    ladder.run(secs(1));
    let now = ladder.net.now();
    assert_eq!(ladder.net.machine(ladder.router).mapped(now), [(17, 4000, 4000)], "\n{}", ladder.net);
    ladder.close();
}

#[test]
fn a_restart_that_is_announced_by_pcp_alone_is_noticed() {
    let config = Config { ways: vec![Way::NatPmp], ..Config::default() };
    let mut ladder = Ladder::new(1, config, Router::new());
    ladder.map(Protocol::Udp, 4000);
    ladder.mapped(secs(1));
    ladder.run(secs(100));
    ladder.net.at(ladder.router, |router, now| {
        router.reboot(now);
        router.announce(now);
    });
    ladder.run(secs(1));
    let now = ladder.net.now();
    assert_eq!(ladder.net.machine(ladder.router).mapped(now), [(17, 4000, 4000)], "\n{}", ladder.net);
    ladder.close();
}

#[test]
fn a_new_external_address_is_told() {
    let mut ladder = Ladder::new(1, Config::default(), nat_pmp_alone());
    ladder.map(Protocol::Udp, 4000);
    ladder.mapped(secs(1));
    ladder.net.at(ladder.router, |router, _| router.external = [9, 9, 9, 10].into());
    assert_eq!(ladder.mapped(secs(7200)).external, addr("9.9.9.10:4000"), "with the next renewal at the latest");
    ladder.close();
}

#[test]
fn a_refusal_is_told_and_tried_again_later() {
    let config = Config { ways: vec![Way::Pcp, Way::NatPmp], ..Config::default() };
    let mut ladder = Ladder::new(1, config, Router { refuses: Some(2), ..nat_pmp_alone() });
    ladder.map(Protocol::Udp, 4000);
    let reason = ladder.unavailable(secs(1));
    assert_eq!(reason, Reason::Refused { by: Way::NatPmp, why: Refusal::NotAuthorized });
    ladder.net.at(ladder.router, |router, _| router.refuses = None);
    assert!(matches!(ladder.next(secs(901)), Event::Mapped(_)));
    ladder.close();
}
