//! UPnP IGD.

use farspeak_ice::port_mapping::{Config, Event, Protocol, Reason, Refusal, Way};
use farspeak_sansio::Flow;

use crate::gateway::{Framing, Gateway};
use crate::ladder::{Ladder, addr, secs};

pub fn house(seed: u64, gateway: Gateway) -> Ladder<Gateway> {
    let mut ladder = Ladder::new(seed, Config::default(), gateway);
    let router = ladder.router;
    ladder.net.on_event(router, |_, context, flow: Flow| context.close(flow));
    ladder
}

fn client_of(ladder: &Ladder<Gateway>, external: u16) -> (String, u16, u32) {
    ladder.net.machine(ladder.router).table[&("UDP".to_owned(), external)].clone()
}

#[test]
fn a_router_that_knows_upnp_alone_is_found_by_search() {
    let mut ladder = house(1, Gateway::new());
    ladder.map(Protocol::Udp, 4000);
    let mapping = ladder.mapped(secs(5));
    assert_eq!((mapping.by, mapping.external, mapping.lifetime), (Way::Upnp, addr("9.9.9.9:4000"), Some(secs(7200))));
    assert_eq!(client_of(&ladder, 4000), ("192.168.1.2".to_owned(), 4000, 7200));
    // PCP and NAT-PMP are given half a second each, then one round trip for the search and two for each page.
    assert!(ladder.net.now().since_origin().as_millis() < 1200, "\n{}", ladder.net);
    ladder.close();
    assert_eq!(ladder.net.machine(ladder.router).table.len(), 0, "given back\n{}", ladder.net);
}

#[test]
fn each_version_and_service_is_spoken_to_in_its_way() {
    for (version, expected) in [(0, "AddPortMapping"), (1, "AddPortMapping"), (2, "AddAnyPortMapping")] {
        let mut ladder = house(1, Gateway { version, taken: vec![4000], ..Gateway::new() });
        ladder.map(Protocol::Udp, 4000);
        let mapping = ladder.mapped(secs(10));
        assert_ne!(mapping.external.port(), 4000, "version {version}");
        let actions = &ladder.net.machine(ladder.router).actions;
        assert_eq!(actions[..2], ["GetExternalIPAddress", expected], "version {version}");
        ladder.close();
    }
}

#[test]
fn however_the_body_ends_it_is_read() {
    for framing in [Framing::Length, Framing::Chunked, Framing::End, Framing::KeepOpen] {
        let mut ladder = house(1, Gateway { framing, ..Gateway::new() });
        ladder.map(Protocol::Udp, 4000);
        assert_eq!(ladder.mapped(secs(10)).external, addr("9.9.9.9:4000"), "{framing:?}");
        ladder.close();
    }
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    let mut ladder = house(1, Gateway { breaks: 2, ..Gateway::new() });
    ladder.map(Protocol::Udp, 4000);
    assert_eq!(ladder.mapped(secs(10)).by, Way::Upnp);
    ladder.close();
}

#[test]
fn a_network_without_multicast_is_no_hindrance() {
    let mut ladder = house(1, Gateway { multicast: false, ..Gateway::new() });
    ladder.map(Protocol::Udp, 4000);
    assert_eq!(ladder.mapped(secs(5)).by, Way::Upnp);
    ladder.close();
}

#[test]
fn a_router_that_knows_no_leases_gets_none() {
    let mut ladder = house(1, Gateway { permanent_only: true, ..Gateway::new() });
    ladder.map(Protocol::Udp, 4000);
    assert_eq!(ladder.mapped(secs(5)).lifetime, None);
    assert_eq!(client_of(&ladder, 4000).2, 0);
    ladder.close();
    assert_eq!(ladder.net.machine(ladder.router).table.len(), 0, "what would stay for ever is deleted");
}

#[test]
fn a_mapping_is_kept_for_days_whatever_is_lost() {
    for (loss, seed) in [(0.0, 1), (0.1, 2), (0.2, 3), (0.2, 4)] {
        let mut ladder = house(seed, Gateway::new()).loss(loss);
        ladder.map(Protocol::Udp, 4000);
        ladder.map(Protocol::Tcp, 4001);
        ladder.run(secs(60));
        assert_eq!(ladder.heard().len(), 2, "seed {seed}\n{}", ladder.net);
        ladder.run(secs(2 * 86_400));
        assert_eq!(ladder.heard(), [], "seed {seed}");
        let adds =
            ladder.net.machine(ladder.router).actions.iter().filter(|action| *action == "AddPortMapping").count();
        assert!((70..=120).contains(&adds), "{adds} times");
        ladder.close();
    }
}

#[test]
fn a_router_that_forgot_is_told_again_and_its_new_address_is_noticed() {
    let mut ladder = house(1, Gateway::new());
    ladder.map(Protocol::Udp, 4000);
    ladder.mapped(secs(5));
    ladder.net.at(ladder.router, |router, _| {
        router.table.clear();
        router.external = "9.9.9.10";
    });
    assert_eq!(ladder.mapped(secs(4600)).external, addr("9.9.9.10:4000"));
    ladder.run(secs(5));
    assert_eq!(client_of(&ladder, 4000).1, 4000);
    ladder.close();
}

#[test]
fn refusals_are_told() {
    for (gateway, why) in [
        (Gateway { refuses: Some(606), ..Gateway::new() }, Refusal::NotAuthorized),
        (Gateway { external: "0.0.0.0", ..Gateway::new() }, Refusal::NoExternalAddress),
        (Gateway { taken: (1024..=65535).collect(), ..Gateway::new() }, Refusal::Conflict),
        (Gateway { version: 7, ..Gateway::new() }, Refusal::Unsupported),
    ] {
        let mut ladder = house(1, gateway);
        ladder.map(Protocol::Udp, 4000);
        let reason = ladder.unavailable(secs(31));
        assert_eq!(reason, Reason::Refused { by: Way::Upnp, why }, "\n{}", ladder.net);
        ladder.close();
    }
}

#[test]
fn what_is_no_longer_wanted_is_given_back_whenever_that_happens() {
    // The moment moves through the whole exchange.
    for at in 0..120 {
        let mut ladder = house(1, Gateway::new());
        ladder.map(Protocol::Udp, 4000);
        ladder.run(std::time::Duration::from_millis(at * 10));
        ladder.unmap(Protocol::Udp, 4000);
        ladder.net.settled_within(secs(60)).no_state_left();
        assert_eq!(ladder.net.machine(ladder.router).table.len(), 0, "after {at} ms\n{}", ladder.net);
        assert!(ladder.heard().iter().all(|event| matches!(event, Event::Mapped(_))));
    }
}
