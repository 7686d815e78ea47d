//! NAT behaviour discovery by RFC 5780 against the nine kinds of translators of RFC 4787, with loss.

use std::cell::RefCell;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, SplitMix64, Transport};
use farspeak_sim::{Dependence as Kind, Link, Nat, Network, PortAssignment};
use farspeak_stun::discovery::{Behaviour, BehaviourReport, Dependence, Lifetime, LifetimeConfig, LifetimeReport};
use farspeak_stun::{Alternate, Attribute, BindingServer, Class, ErrorCode, Message, ServerConfig, Writer};

const KINDS: [Kind; 3] = [Kind::EndpointIndependent, Kind::AddressDependent, Kind::AddressAndPortDependent];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server(two_addresses: bool) -> BindingServer {
    let pair = Alternate { primary: addr("192.0.2.1:3478"), other: addr("198.51.100.2:3479") };
    BindingServer::new(ServerConfig {
        alternates: two_addresses.then_some(pair).into_iter().collect(),
        ..Default::default()
    })
}

/// Runs a machine on a host, behind a translator if there is one, until it has said what it found.
fn run<M>(
    seed: u64,
    nat: Option<Nat>,
    loss: f64,
    two_addresses: bool,
    machine: impl FnOnce(Flow, Flow) -> M,
) -> M::Event
where
    M: Machine + 'static,
    M::Event: Clone + Debug,
{
    let mut net = Network::new(seed);
    let flow = |port| {
        let local = SocketAddr::new("10.0.0.2".parse().unwrap(), port);
        Flow::unbound(Transport::Udp, local, addr("192.0.2.1:3478"))
    };
    let client = net.host("client", ["10.0.0.2"], machine(flow(4000), flow(4001)));
    let server = net.host("server", ["192.0.2.1", "198.51.100.2"], server(two_addresses));
    for port in [3478, 3479] {
        net.bind(server, Transport::Udp, port);
    }
    net.bind(client, Transport::Udp, 4000);
    net.bind(client, Transport::Udp, 4001);
    if let Some(nat) = nat {
        let nat = net.nat("nat", nat, ["203.0.113.7"]);
        net.put_behind(client, nat);
    }
    net.set_links(Link::default().loss(loss));
    let found = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&found);
    net.on_event(client, move |_, _, event| {
        assert!(keep.borrow_mut().replace(event).is_none(), "one report only");
    });
    net.at(client, |_, _| ());
    net.run_for(Duration::from_secs(7200));
    assert_eq!(net.machine(client).poll_timeout(), None, "nothing is under way any more");
    found.take().unwrap_or_else(|| panic!("no report\n{net}"))
}

fn behaviour(seed: u64, nat: Option<Nat>, loss: f64, two_addresses: bool) -> BehaviourReport {
    run(seed, nat, loss, two_addresses, |first, second| {
        let rng = Box::new(SplitMix64::new(seed));
        Behaviour::begin(Instant::ZERO, first, Some(second), Behaviour::schedule(), rng)
    })
}

fn same(kind: Kind) -> Dependence {
    match kind {
        Kind::EndpointIndependent => Dependence::EndpointIndependent,
        Kind::AddressDependent => Dependence::AddressDependent,
        Kind::AddressAndPortDependent => Dependence::AddressAndPortDependent,
    }
}

#[test]
fn all_nine_kinds_are_told_apart_with_and_without_loss() {
    for (loss, seeds) in [(0.0, 1..2), (0.05, 1..6), (0.1, 1..6)] {
        for seed in seeds {
            for mapping in KINDS {
                for filtering in KINDS {
                    let nat = Nat::new(mapping, filtering).ports(PortAssignment::Random);
                    let report = behaviour(seed, Some(nat), loss, true);
                    let found = (report.mapping, report.filtering);
                    assert_eq!(found, (Some(same(mapping)), Some(same(filtering))), "seed {seed}, loss {loss}");
                    assert_eq!((report.translated, report.rewrites_payload), (Some(true), Some(false)));
                    assert_eq!(report.mapped.map(|mapped| mapped.ip()), Some("203.0.113.7".parse().unwrap()));
                }
            }
        }
    }
}

#[test]
fn port_preservation_does_not_hide_the_kind() {
    for mapping in KINDS {
        let report = behaviour(3, Some(Nat::new(mapping, Kind::AddressDependent)), 0.0, true);
        assert_eq!(report.mapping, Some(same(mapping)));
    }
}

#[test]
fn hairpin_is_seen_where_the_filter_lets_it_through() {
    for filtering in KINDS {
        let nat = Nat::new(Kind::EndpointIndependent, filtering);
        assert_eq!(behaviour(1, Some(nat.hairpin(true)), 0.0, true).hairpin, Some(true), "{filtering:?}");
        assert_eq!(behaviour(1, Some(nat.hairpin(false)), 0.0, true).hairpin, Some(false), "{filtering:?}");
    }
}

#[test]
fn without_a_translator_nothing_is_translated_or_filtered() {
    let report = behaviour(1, None, 0.0, true);
    assert_eq!((report.translated, report.mapped), (Some(false), Some(addr("10.0.0.2:4000"))));
    assert_eq!(report.mapping, Some(Dependence::EndpointIndependent));
    assert_eq!((report.filtering, report.hairpin), (Some(Dependence::EndpointIndependent), None));
}

#[test]
fn a_server_with_one_address_tells_only_the_mapped_address() {
    let report = behaviour(1, Some(Nat::home_router()), 0.0, false);
    assert_eq!(report.mapped.map(|mapped| mapped.port()), Some(4000));
    assert_eq!((report.other, report.mapping, report.filtering), (None, None, None));
}

/// A server that promises another address in OTHER-ADDRESS and answers from the first all the same.
#[test]
fn a_server_that_ignores_change_request_leaves_filtering_unknown() {
    let mut net = Network::new(1);
    let flow = Flow::unbound(Transport::Udp, addr("10.0.0.2:4000"), addr("192.0.2.1:3478"));
    let rng = Box::new(SplitMix64::new(1));
    let machine = Behaviour::begin(Instant::ZERO, flow, None, Behaviour::schedule(), rng);
    let client = net.host("client", ["10.0.0.2"], machine);
    let liar = net.host("liar", ["192.0.2.1", "198.51.100.2"], server(true));
    net.bind(client, Transport::Udp, 4000);
    for port in [3478, 3479] {
        net.bind(liar, Transport::Udp, port);
    }
    net.intercept(liar, move |bytes| {
        let request = Message::parse(bytes).ok().filter(|request| request.change_request() != Ok(None))?;
        let mut buffer = [0; 128];
        let mut writer = Writer::respond(&mut buffer, Class::Success, &request);
        writer.push(Attribute::XorMappedAddress(flow.local));
        let back = Flow::unbound(Transport::Udp, flow.remote, flow.local);
        Some((back, writer.finish().unwrap().to_vec()))
    });
    let found = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&found);
    net.on_event(client, move |_, _, report: BehaviourReport| *keep.borrow_mut() = Some(report));
    net.at(client, |_, _| ());
    net.run_for(Duration::from_secs(120));
    let report = found.take().unwrap();
    assert_eq!((report.filtering, report.mapping), (None, Some(Dependence::EndpointIndependent)));
}

#[test]
fn blocked_udp_is_reported_as_no_answer() {
    assert_eq!(behaviour(1, Some(Nat::home_router()), 1.0, true), BehaviourReport::default());
}

/// As servers do that want credentials for Binding, too.
#[test]
fn a_server_that_refuses_to_tell_is_not_taken_for_blocked_udp() {
    let mut net = Network::new(1);
    let flow = |port| {
        Flow::unbound(Transport::Udp, SocketAddr::new("10.0.0.2".parse().unwrap(), port), addr("192.0.2.1:3478"))
    };
    let rng = Box::new(SplitMix64::new(1));
    let machine = Behaviour::begin(Instant::ZERO, flow(4000), Some(flow(4001)), Behaviour::schedule(), rng);
    let client = net.host("client", ["10.0.0.2"], machine);
    let strict = net.host("strict", ["192.0.2.1"], server(false));
    for port in [4000, 4001] {
        net.bind(client, Transport::Udp, port);
    }
    net.bind(strict, Transport::Udp, 3478);
    net.intercept(strict, move |bytes| {
        let request = Message::parse(bytes).ok()?;
        let mut buffer = [0; 128];
        let mut writer = Writer::respond(&mut buffer, Class::Error, &request);
        writer.push(Attribute::ErrorCode(ErrorCode::UNAUTHENTICATED));
        let back = Flow::unbound(Transport::Udp, flow(4000).remote, flow(4000).local);
        Some((back, writer.finish().unwrap().to_vec()))
    });
    let found = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&found);
    net.on_event(client, move |_, _, report: BehaviourReport| *keep.borrow_mut() = Some(report));
    net.at(client, |_, _| ());
    net.run_for(Duration::from_secs(120));
    assert_eq!(found.take(), Some(BehaviourReport { answered: true, ..BehaviourReport::default() }));
}

fn lifetime(nat: Option<Nat>, loss: f64, two_addresses: bool) -> Option<LifetimeReport> {
    run(5, nat, loss, two_addresses, |x, y| {
        Lifetime::begin(Instant::ZERO, x, y, LifetimeConfig::default(), Box::new(SplitMix64::new(5)))
    })
}

#[test]
fn the_lifetime_of_a_mapping_is_found_within_the_precision() {
    for seconds in [30, 65, 120, 300] {
        for mapping in KINDS {
            let nat = Nat::new(mapping, Kind::AddressAndPortDependent).udp_timeout(Duration::from_secs(seconds));
            let report = lifetime(Some(nat), 0.0, true).unwrap();
            let (alive, gone) = (report.alive_after.as_secs(), report.gone_after.unwrap().as_secs());
            assert!(alive <= seconds && seconds <= gone + 1 && gone - alive <= 5, "{seconds}: {report:?}");
        }
    }
}

#[test]
fn a_mapping_that_outlives_the_search_is_reported_so() {
    let nat = Nat::home_router().udp_timeout(Duration::from_secs(3600));
    let report = lifetime(Some(nat), 0.0, true).unwrap();
    assert_eq!(report, LifetimeReport { alive_after: Duration::from_secs(600), gone_after: None });
    assert_eq!(lifetime(None, 0.0, true).unwrap().gone_after, None);
}

#[test]
fn a_server_without_response_port_leaves_the_lifetime_unknown() {
    assert_eq!(lifetime(Some(Nat::home_router()), 0.0, false), None);
    assert_eq!(lifetime(Some(Nat::home_router()), 1.0, true), None);
}
