//! The survey against our own servers in the simulator: every kind of translator, blocked UDP, routers, loss.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_ice::port_mapping::{Reason, Way};
use farspeak_sansio::{Machine, SplitMix64, Transport};
use farspeak_sim::{Dependence as Kind, Framed, Framer, Link, Nat, Network, PortAssignment, Probe};
use farspeak_stun::discovery::Dependence;
use farspeak_stun::framing::{self, StreamFramer};
use farspeak_stun::{Alternate, BindingServer, ServerConfig};

use super::report::{Path, Reach, Report};
use super::survey::{Event, Router, Survey, Target};
use super::verdict::{self, Level};

const KINDS: [Kind; 3] = [Kind::EndpointIndependent, Kind::AddressDependent, Kind::AddressAndPortDependent];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What lies between the host and the servers.
#[derive(Clone, Copy, Default)]
struct World {
    nat: Option<Nat>,
    /// The share of datagrams that are lost.
    loss: f64,
    /// UDP goes where nobody listens.
    no_udp: bool,
    /// Whether the first server has two addresses; if not, there is a second server.
    two_addresses: bool,
    no_streams: bool,
}

/// The crate's framer behind the simulator's trait.
struct Stun(StreamFramer);

impl Framer for Stun {
    fn push(&mut self, bytes: &[u8]) -> Vec<Framed> {
        self.0.push(bytes);
        let mut whole = Vec::new();
        while let Some(framing::Framed::Stun(message) | framing::Framed::ChannelData(message)) = self.0.next() {
            whole.push(Framed::Message(message.to_vec()));
        }
        whole
    }
}

fn survey(world: World) -> Report {
    let mut net = Network::new(7).stream_timeout(Duration::from_secs(4));
    let patience = Duration::from_secs(8);
    let machine = Survey::new(patience, || Box::new(SplitMix64::new(5)));
    let host = net.host("host", ["192.168.1.2"], machine);
    let pair = Alternate { primary: addr("9.0.0.1:3478"), other: addr("9.0.1.2:3479") };
    let alternates = world.two_addresses.then_some(pair).into_iter().collect();
    let one = BindingServer::new(ServerConfig { alternates, ..ServerConfig::default() });
    let one = net.host("one", ["9.0.0.1", "9.0.1.2"], one);
    let two = net.host("two", ["9.0.2.1"], BindingServer::new(ServerConfig::default()));
    let router = net.host("router", ["192.168.1.1", "239.255.255.250"], Probe::new());
    for port in 4000..4012 {
        net.bind(host, Transport::Udp, port);
    }
    for server in [one.id(), two.id()] {
        if !world.no_udp {
            net.bind(server, Transport::Udp, 3478);
            net.bind(server, Transport::Udp, 3479);
        }
        if !world.no_streams {
            net.bind(server, Transport::Tcp, 3478);
            net.bind(server, Transport::Tls, 443);
        }
        net.set_framer(server, || Box::new(Stun(StreamFramer::default())));
    }
    net.bind(router, Transport::Udp, 5351);
    if let Some(nat) = world.nat {
        let nat = net.nat("nat", nat, ["9.9.9.9"]);
        net.put_behind(host, nat);
        net.put_behind(router, nat);
    }
    for server in [one.id(), two.id()] {
        net.set_link(host, server, Link::default().loss(world.loss));
    }
    let local = |port| SocketAddr::new("192.168.1.2".parse().unwrap(), port);
    let target = |name: &str, ip: &str, first: u16| Target {
        name: name.to_owned(),
        server: SocketAddr::new(ip.parse().unwrap(), 3478),
        tls: SocketAddr::new(ip.parse().unwrap(), 443),
        x: local(first),
        y: local(first + 1),
        z: local(4010),
        big: Some(local(first + 2)),
    };
    let mut targets = vec![target("one", "9.0.0.1", 4000)];
    if !world.two_addresses {
        targets.push(target("two", "9.0.2.1", 4003));
    }
    let routers = [Way::Pcp, Way::NatPmp, Way::Upnp].into_iter().zip(4006..);
    let gateway = addr("192.168.1.1:0");
    let routers = routers.map(|(way, port)| Router { way, gateway, socket: local(port) }).collect();
    net.on_event(host, |_, context, event| match event {
        Event::Progress(text) => context.note(text),
        Event::Done => context.note("done"),
    });
    net.at(host, |survey, now| survey.begin(now, targets, routers));
    net.run_for(Duration::from_secs(120));
    let survey = net.machine(host);
    assert_eq!(survey.poll_timeout(), None, "it ends\n{net}");
    Report {
        addresses: vec!["192.168.1.2".parse().unwrap()],
        gateways: vec!["192.168.1.1".parse().unwrap()],
        servers: survey.servers().cloned().collect(),
        port_mapping: survey.port_mapping().collect(),
    }
}

fn same(kind: Kind) -> Dependence {
    match kind {
        Kind::EndpointIndependent => Dependence::EndpointIndependent,
        Kind::AddressDependent => Dependence::AddressDependent,
        Kind::AddressAndPortDependent => Dependence::AddressAndPortDependent,
    }
}

#[test]
fn each_of_the_nine_kinds_gets_its_row_with_and_without_loss() {
    for loss in [0.0, 0.05] {
        for mapping in KINDS {
            for filtering in KINDS {
                let nat = Nat::new(mapping, filtering).ports(PortAssignment::Random);
                let report = survey(World { nat: Some(nat), two_addresses: true, loss, ..World::default() });
                let kind = (same(mapping), same(filtering));
                assert_eq!(report.path(true), Path::Translated(Some(kind.0), Some(kind.1)), "loss {loss}");
                let findings = verdict::findings(&report);
                let row = verdict::of(kind);
                assert!(findings[0].text.starts_with(&format!("IPv4: {}", row.means)), "{findings:?}");
                assert_eq!(findings[0].level, row.level);
                let server = &report.servers[0];
                assert_eq!((server.tcp, server.tls), (Reach::Open, Reach::Open));
                assert_eq!(server.mtu.unwrap().passes, Some(1500));
            }
        }
    }
}

#[test]
fn two_servers_of_one_address_tell_whether_the_port_stays() {
    for mapping in KINDS {
        let nat = Nat::new(mapping, Kind::AddressAndPortDependent).ports(PortAssignment::Random);
        let report = survey(World { nat: Some(nat), ..World::default() });
        // Whether the port matters too cannot be known: the worse is assumed.
        let expected = match mapping {
            Kind::EndpointIndependent => Dependence::EndpointIndependent,
            _ => Dependence::AddressAndPortDependent,
        };
        assert_eq!(report.path(true), Path::Translated(Some(expected), None), "{mapping:?}");
        assert!(report.servers.iter().all(|server| server.behaviour.other.is_none()));
    }
}

#[test]
fn one_server_of_one_address_leaves_the_kind_open_and_says_so() {
    let mut report = survey(World { nat: Some(Nat::home_router()), ..World::default() });
    report.servers.truncate(1);
    assert_eq!(report.path(true), Path::Translated(None, None));
    assert!(verdict::findings(&report)[0].text.contains("two addresses"), "{:?}", verdict::findings(&report));
}

#[test]
fn without_a_translator_nothing_is_in_the_way() {
    let report = survey(World { two_addresses: true, ..World::default() });
    assert_eq!(report.path(true), Path::Untranslated(Some(Dependence::EndpointIndependent)));
    assert_eq!(verdict::findings(&report)[0].level, Level::Good);
}

#[test]
fn blocked_udp_is_told_from_a_dead_server() {
    let mut report =
        survey(World { nat: Some(Nat::home_router()), two_addresses: true, no_udp: true, ..World::default() });
    assert_eq!(report.path(true), Path::Blocked);
    assert_eq!(report.servers[0].tls, Reach::Open);
    let findings = verdict::findings(&report);
    assert!(findings[0].level == Level::Bad && findings[0].text.contains("UDP is blocked"), "{findings:?}");

    (report.servers[0].tcp, report.servers[0].tls) = (Reach::Silent, Reach::Silent);
    assert!(!report.is_any_answer());
    assert_eq!(verdict::findings(&report).len(), 1);
}

#[test]
fn streams_that_do_not_get_through_are_told() {
    let report = survey(World { two_addresses: true, no_streams: true, ..World::default() });
    assert_eq!((report.servers[0].udp, report.servers[0].tcp), (Reach::Open, Reach::Refused));
    assert!(verdict::findings(&report).iter().any(|it| it.level == Level::Weak && it.text.contains("TLS port")));
}

#[test]
fn a_router_that_opens_no_ports_is_told() {
    let report = survey(World { nat: Some(Nat::home_router()), two_addresses: true, ..World::default() });
    assert_eq!(report.port_mapping.len(), 3);
    assert!(report.port_mapping.iter().all(|offer| offer.result == Err(Reason::NoAnswer)), "{:?}", report.port_mapping);
    let json = report.to_json(&verdict::findings(&report));
    assert_eq!((&json["ipv4"]["path"], &json["ipv6"]["path"]), (&"translated".into(), &"none".into()), "{json}");
    assert_eq!(json["port_mapping"][2]["by"], "UPnP");
}

#[test]
fn the_report_fits_one_screen() {
    let report = survey(World { nat: Some(Nat::symmetric()), two_addresses: true, ..World::default() });
    let screen = super::screen::draw(&report, &verdict::findings(&report), false);
    assert!(screen.lines().count() <= 24, "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 160), "{screen}");
    assert!(screen.contains("symmetric, a port for each address and port"), "{screen}");
}
