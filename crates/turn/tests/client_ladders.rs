//! Our client at our server, over simulated networks that lose, stall, reset and translate.

#[path = "support/relay.rs"]
mod relay;

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Machine, SplitMix64, Transport};
use farspeak_sim::{Host, Link, Nat, Network, Probe};
use farspeak_turn::Which;
use farspeak_turn::client::{Allocated, Client, Config, Event, Failure, Families};
use relay::Relay;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A client on a host, and what it said.
struct Phone {
    client: Client,
    said: Vec<Event>,
}

impl Phone {
    fn data(&self) -> impl DoubleEndedIterator<Item = (SocketAddr, &[u8])> {
        self.said.iter().filter_map(|event| match event {
            Event::Data { peer, bytes } => Some((*peer, &bytes[..])),
            _ => None,
        })
    }

    fn allocated(&self) -> &Allocated {
        let allocated = |event: &Event| matches!(event, Event::Allocated(_));
        match self.said.iter().rev().find(|event| allocated(event)) {
            Some(Event::Allocated(allocated)) => allocated,
            _ => panic!("no allocation: {:?}", self.said),
        }
    }

    fn relayed(&self) -> SocketAddr {
        self.allocated().relayed[0]
    }

    fn lost(&self) -> Option<&Failure> {
        self.said.iter().find_map(|event| match event {
            Event::Lost(failure) | Event::Failed(failure) => Some(failure),
            _ => None,
        })
    }
}

impl Machine for Phone {
    type Event = std::convert::Infallible;

    fn handle_receive(&mut self, now: farspeak_sansio::Instant, received: farspeak_sansio::Receive<'_>) {
        self.client.handle_receive(now, received);
    }

    fn handle_timeout(&mut self, now: farspeak_sansio::Instant) {
        self.client.handle_timeout(now);
    }

    fn handle_flow_failed(&mut self, now: farspeak_sansio::Instant, flow: Flow) {
        self.client.handle_flow_failed(now, flow);
    }

    fn poll_transmit(&mut self) -> Option<farspeak_sansio::Transmit> {
        self.said.extend(std::iter::from_fn(|| self.client.poll_event()));
        self.client.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<farspeak_sansio::Instant> {
        self.client.poll_timeout()
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }
}

const RELAY: [&str; 2] = ["198.51.100.1", "2001:db8:1::1"];

struct World {
    net: Network,
    relay: Host<Relay>,
    phones: u8,
}

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    fn with(seed: u64, change: impl FnOnce(&mut farspeak_turn::ServerConfig)) -> Self {
        let mut net = Network::new(seed).label(relay::label);
        let relay = relay::host(&mut net, "relay", RELAY, change);
        Self { net, relay, phones: 0 }
    }

    fn phone(&mut self, name: &str, transport: Transport, config: Config) -> Host<Phone> {
        self.phones += 1;
        let own = format!("192.0.2.{}", self.phones);
        let port = if transport == Transport::Tls { 5349 } else { 3478 };
        let local = SocketAddr::new(own.parse().unwrap(), 4000);
        let flow = Flow::unbound(transport, local, SocketAddr::new(RELAY[0].parse().unwrap(), port));
        let rng = Box::new(SplitMix64::new(self.phones.into()));
        let phone = Phone { client: Client::new(config, flow, rng), said: Vec::new() };
        let host = self.net.host(name, [&*own], phone);
        self.net.bind(host, Transport::Udp, 4000);
        self.net.set_framer(host, relay::framer);
        host
    }

    /// A peer on the Internet that returns everything.
    fn echo(&mut self) -> SocketAddr {
        let echo = self.net.host("peer", ["203.0.113.5", "2001:db8:5::5"], Probe::echo());
        self.net.bind(echo, Transport::Udp, 7)
    }

    fn allocate(&mut self, phone: Host<Phone>) -> SocketAddr {
        self.net.at(phone, |phone, now| phone.client.allocate(now));
        self.run_until("an allocation", |net| net.machine(phone).client.is_allocated());
        self.net.machine(phone).relayed()
    }

    #[track_caller]
    fn run_until(&mut self, what: &str, done: impl Fn(&Network) -> bool) {
        let until = self.net.now() + secs(60);
        while !done(&self.net) {
            assert!(self.net.step(until), "{what} did not happen\n{}", self.net);
        }
    }

    /// Sends until the echo comes: datagrams may be lost.
    #[track_caller]
    fn hears_echo(&mut self, phone: Host<Phone>, peer: SocketAddr, text: &str) {
        for _ in 0..100 {
            self.net.at(phone, |phone, now| phone.client.send(now, peer, text.as_bytes()).expect("it is permitted"));
            self.net.run_for(Duration::from_millis(500));
            if self.net.machine(phone).data().next_back() == Some((peer, text.as_bytes())) {
                return;
            }
        }
        panic!("no echo of {text}\n{}", self.net);
    }

    /// Gives everything back; nothing is left anywhere.
    #[track_caller]
    fn part(mut self, phones: &[Host<Phone>]) {
        for phone in phones {
            self.net.at(*phone, |phone, now| phone.client.release(now));
        }
        self.net.run_for(secs(45));
        for phone in phones {
            let phone = self.net.machine(*phone);
            assert_eq!((phone.said.last(), phone.client.poll_timeout()), (Some(&Event::Released), None));
        }
        // What a lost answer to a lost request left behind ends by itself.
        self.net.run_for(secs(3700));
        let residue = self.net.machine(self.relay).server.residue();
        assert_eq!((residue.allocations, residue.relays, residue.reservations), (0, 0, 0), "{residue:?}");
    }
}

fn alice() -> Config {
    Config::for_user("alice", "wonderland")
}

fn bob() -> Config {
    Config::for_user("bob", "builder")
}

const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

#[test]
fn allocates_permits_binds_and_is_echoed() {
    let mut world = World::new(1);
    let phone = world.phone("alice", Transport::Udp, alice());
    let peer = world.echo();
    let net = &mut world.net;
    net.at(phone, |phone, now| phone.client.allocate(now));
    net.expect("alice -> relay  Allocate");
    net.expect("relay -> alice  Allocate 401");
    net.expect("alice -> relay  Allocate");
    net.expect("relay -> alice  Allocate ok");
    let allocated = net.machine(phone).allocated().clone();
    assert_eq!(
        (allocated.mapped, allocated.relayed[0].ip()),
        (address("192.0.2.1:4000"), address("198.51.100.1:0").ip())
    );
    net.at(phone, |phone, now| phone.client.permit(now, peer.ip()));
    net.expect("alice -> relay  CreatePermission");
    net.expect("relay -> alice  CreatePermission ok");
    net.at(phone, |phone, now| phone.client.send(now, peer, b"hello").unwrap());
    net.expect("alice -> relay  Send");
    let seen = net.expect("relay -> peer   hello");
    assert_eq!(seen.remote, peer);
    net.expect("peer  -> relay  hello");
    net.expect("relay -> alice  Data");
    net.at(phone, |phone, now| phone.client.bind(now, peer));
    net.expect("alice -> relay  ChannelBind");
    net.expect("relay -> alice  ChannelBind ok");
    net.at(phone, |phone, now| phone.client.send(now, peer, b"again").unwrap());
    net.expect("alice -> relay  ChannelData");
    net.expect("relay -> peer   again");
    net.expect("peer  -> relay  again");
    net.expect("relay -> alice  ChannelData");
    assert_eq!(net.machine(phone).data().collect::<Vec<_>>(), [(peer, &b"hello"[..]), (peer, b"again")]);
    net.at(phone, |phone, now| phone.client.release(now));
    net.expect("alice -> relay  Refresh");
    net.expect("relay -> alice  Refresh ok");
    world.part(&[phone]);
}

#[test]
fn an_hour_goes_by_with_loss_over_every_transport() {
    for transport in TRANSPORTS {
        for (seed, loss) in [(1, 0.0), (2, 0.05), (3, 0.2), (4, 0.2)] {
            let mut world = World::with(seed, |config| config.nonce_lifetime = secs(500));
            world.net.set_links(Link::default().loss(loss).jitter(Duration::from_millis(30)));
            let phone = world.phone("alice", transport, alice());
            let peer = world.echo();
            let relayed = world.allocate(phone);
            world.net.at(phone, |phone, now| {
                phone.client.bind(now, peer);
                phone.client.permit(now, address("203.0.113.6:0").ip());
            });
            // Silence; only what keeps things alive is sent. Then each time an echo, in the channel.
            for round in 0..12 {
                world.net.run_for(secs(300));
                world.hears_echo(phone, peer, &format!("{transport}-{loss}-{round}"));
            }
            assert_eq!((world.net.machine(phone).relayed(), world.net.machine(phone).lost()), (relayed, None));
            assert_eq!(world.net.count("alice -> relay  Send"), 0, "always in the channel");
            let stale =
                ["Refresh", "CreatePermission", "ChannelBind"].map(|what| format!("relay -> alice  {what} 438"));
            assert!(stale.iter().map(|pattern| world.net.count(pattern)).sum::<usize>() >= 5);
            let news =
                world.net.machine(phone).said.iter().filter(|event| !matches!(event, Event::Data { .. })).count();
            assert_eq!(news, 4, "allocated, bound, two permissions: {:?}", world.net.machine(phone).said);
            world.part(&[phone]);
        }
    }
}

#[test]
fn a_server_that_restarts_takes_the_allocation_with_it() {
    for transport in TRANSPORTS {
        let mut world = World::new(5);
        let phone = world.phone("alice", transport, alice());
        let peer = world.echo();
        world.allocate(phone);
        world.net.at(phone, |phone, now| phone.client.bind(now, peer));
        world.hears_echo(phone, peer, "before");
        let host = world.relay;
        world.net.restart(host, Relay::new(&RELAY, 8, |_| {}));
        let before = world.net.now();
        world.run_until_lost(phone);
        let took = world.net.now() - before;
        // Over UDP the next Binding, which finds nothing changed, or the next refresh of the permission shows it.
        assert!(took <= secs(241), "{took:?}");
        world.net.at(phone, |phone, now| {
            phone.client.allocate(now);
            phone.client.bind(now, peer);
        });
        world.run_until("a new allocation", |net| net.machine(phone).client.is_allocated());
        world.hears_echo(phone, peer, "after");
        world.part(&[phone]);
    }
}

impl World {
    #[track_caller]
    fn run_until_lost(&mut self, phone: Host<Phone>) {
        let until = self.net.now() + secs(3600);
        while self.net.machine(phone).lost().is_none() {
            assert!(self.net.step(until), "it is not lost\n{}", self.net);
        }
    }
}

#[test]
fn a_kicked_client_learns_it() {
    for transport in TRANSPORTS {
        let mut world = World::new(6);
        let phone = world.phone("alice", transport, alice());
        world.allocate(phone);
        let relay = world.relay;
        world.net.at(relay, |relay, now| assert_eq!(relay.server.kick(now, Which::User("alice")), 1));
        world.run_until_lost(phone);
        assert!(!world.net.machine(phone).client.is_allocated());
    }
}

#[test]
fn two_clients_are_relayed_to_each_other() {
    for (one, other) in
        [(Transport::Udp, Transport::Udp), (Transport::Udp, Transport::Tls), (Transport::Tcp, Transport::Tls)]
    {
        for loss in [0.0, 0.05, 0.2] {
            for (alice_binds, bob_binds) in [(false, false), (true, false), (true, true)] {
                let mut world = World::new(7);
                world.net.set_links(Link::default().loss(loss));
                let (a, b) = (world.phone("alice", one, alice()), world.phone("bob", other, bob()));
                let (at_a, at_b) = (world.allocate(a), world.allocate(b));
                for (phone, peer, binds) in [(a, at_b, alice_binds), (b, at_a, bob_binds)] {
                    world.net.at(phone, |phone, now| match binds {
                        true => phone.client.bind(now, peer),
                        false => phone.client.permit(now, peer.ip()),
                    });
                }
                let heard =
                    |net: &Network, phone: Host<Phone>| net.machine(phone).data().next_back().map(|(peer, _)| peer);
                for _ in 0..100 {
                    for (phone, peer) in [(a, at_b), (b, at_a)] {
                        world.net.at(phone, |phone, now| {
                            let _ = phone.client.send(now, peer, b"hello");
                        });
                    }
                    world.net.run_for(Duration::from_millis(300));
                    if (heard(&world.net, a), heard(&world.net, b)) == (Some(at_b), Some(at_a)) {
                        break;
                    }
                }
                assert_eq!((heard(&world.net, a), heard(&world.net, b)), (Some(at_b), Some(at_a)), "{}", world.net);
                world.net.never("relay -> relay");
                world.part(&[a, b]);
            }
        }
    }
}

#[test]
fn one_allocation_has_an_address_of_each_family() {
    let mut world = World::new(8);
    let phone = world.phone("alice", Transport::Udp, Config { families: Families::Both, ..alice() });
    let v4 = world.echo();
    let v6 = address("[2001:db8:5::5]:7");
    world.allocate(phone);
    let relayed = world.net.machine(phone).client.relayed().to_vec();
    assert_eq!(relayed.iter().map(SocketAddr::is_ipv4).collect::<Vec<_>>(), [true, false]);
    world.net.at(phone, |phone, now| {
        phone.client.permit(now, v4.ip());
        phone.client.bind(now, v6);
    });
    world.net.run_for(secs(1));
    world.hears_echo(phone, v4, "four");
    world.hears_echo(phone, v6, "six");
    world.net.run_for(secs(1800));
    world.hears_echo(phone, v4, "four, later");
    world.hears_echo(phone, v6, "six, later");
    world.part(&[phone]);
}

#[test]
fn the_next_port_is_there_for_who_has_the_token() {
    let mut world = World::new(9);
    let even_port = Some(farspeak_stun::attribute::EvenPort { reserve_next: true });
    let rtp = world.phone("rtp", Transport::Udp, Config { even_port, ..alice() });
    let first = world.allocate(rtp);
    let reservation = world.net.machine(rtp).allocated().reservation;
    assert!(first.port().is_multiple_of(2) && reservation.is_some());
    let rtcp = world.phone("rtcp", Transport::Udp, Config { reservation, ..alice() });
    let second = world.allocate(rtcp);
    assert_eq!(second.port(), first.port() + 1);
    world.part(&[rtp, rtcp]);
}

#[test]
fn a_nat_that_gives_another_mapping_is_noticed_and_the_allocation_follows() {
    for (loss, seed) in [(0.0, 10), (0.05, 11), (0.2, 12)] {
        let mut world = World::new(seed);
        world.net.set_links(Link::default().loss(loss));
        let phone = world.phone("alice", Transport::Udp, alice());
        let nat = world.net.nat("router", Nat::home_router(), ["198.51.100.77", "198.51.100.78"]);
        world.net.put_behind(phone, nat);
        let peer = world.echo();
        let relayed = world.allocate(phone);
        world.net.at(phone, |phone, now| phone.client.bind(now, peer));
        world.net.run_for(secs(60));
        world.hears_echo(phone, peer, "before");
        for round in 0..5 {
            world.net.nat_table(nat).reboot();
            // A Binding every 15 s of silence tells; lost ones are repeated.
            world.net.run_for(secs(60));
            world.hears_echo(phone, peer, &format!("after {round}"));
        }
        let phone = world.net.machine(phone);
        assert!(phone.said.contains(&Event::Moved), "{:?}", phone.said);
        assert_eq!((phone.relayed(), phone.lost()), (relayed, None));
    }
}

#[test]
fn the_owner_moves_and_the_allocation_follows() {
    let mut world = World::new(13);
    let phone = world.phone("alice", Transport::Udp, alice());
    let peer = world.echo();
    let relayed = world.allocate(phone);
    world.net.at(phone, |phone, now| phone.client.bind(now, peer));
    world.hears_echo(phone, peer, "before");
    world.net.bind(phone, Transport::Udp, 4001);
    let new = Flow::unbound(Transport::Udp, address("192.0.2.1:4001"), address("198.51.100.1:3478"));
    world.net.at(phone, |phone, now| phone.client.moved(now, new));
    world.run_until("the move", |net| net.machine(phone).said.contains(&Event::Moved));
    world.hears_echo(phone, peer, "after");
    world.net.run_for(secs(1800));
    world.hears_echo(phone, peer, "much later");
    // And on, to TCP.
    let tcp = Flow::unbound(Transport::Tcp, address("192.0.2.1:4001"), address("198.51.100.1:3478"));
    world.net.at(phone, |phone, now| phone.client.moved(now, tcp));
    world.net.run_for(secs(5));
    world.hears_echo(phone, peer, "by TCP");
    assert_eq!(world.net.machine(phone).relayed(), relayed);
    assert_eq!(world.net.machine(phone).client.flow().transport, Transport::Tcp);
    world.part(&[phone]);
}

#[test]
fn a_reset_stream_is_replaced_or_the_allocation_is_lost() {
    for transport in [Transport::Tcp, Transport::Tls] {
        for mobility in [true, false] {
            let mut world = World::new(14);
            let phone = world.phone("alice", transport, Config { mobility, ..alice() });
            let peer = world.echo();
            let relayed = world.allocate(phone);
            world.net.at(phone, |phone, now| phone.client.bind(now, peer));
            world.hears_echo(phone, peer, "before");
            let relay = world.relay;
            world.net.reset(phone, relay);
            world.net.run_for(secs(5));
            if !mobility {
                assert_eq!(world.net.machine(phone).lost(), Some(&Failure::FlowFailed));
                world.net.at(phone, |phone, now| {
                    phone.client.allocate(now);
                    phone.client.bind(now, peer);
                });
                world.net.run_for(secs(5));
            }
            world.hears_echo(phone, peer, "after");
            assert_eq!(world.net.machine(phone).relayed() == relayed, mobility);
            world.part(&[phone]);
        }
    }
}

#[test]
fn a_quota_is_told_and_the_next_one_has_room_again() {
    let mut world = World::with(15, |config| config.quotas.allocations_per_credential = 1);
    let (one, two) = (world.phone("one", Transport::Udp, alice()), world.phone("two", Transport::Tcp, alice()));
    world.allocate(one);
    world.net.at(two, |phone, now| phone.client.allocate(now));
    world.net.expect("relay -> two  Allocate 486");
    let failure = world.net.machine(two).lost().cloned().unwrap();
    assert_eq!((failure.code(), failure.retry_after()), (Some(486), Some(secs(60))));
    world.net.at(one, |phone, now| phone.client.release(now));
    world.net.run_for(secs(1));
    world.allocate(two);
    world.part(&[two]);
}

#[test]
fn a_server_that_sends_us_elsewhere_is_followed() {
    let mut world = World::with(16, |config| {
        let alternate = farspeak_turn::AlternateServer { v4: Some(address("198.51.100.2:3478")), ..Default::default() };
        config.alternate_server = Some(alternate);
    });
    let second = relay::host(&mut world.net, "second", ["198.51.100.2"], |_| {});
    let phone = world.phone("alice", Transport::Udp, alice());
    world.net.at(phone, |phone, now| phone.client.allocate(now));
    world.net.run_for(secs(2));
    let Some(Failure::TryAlternate { server, authenticated, .. }) = world.net.machine(phone).lost().cloned() else {
        panic!("{:?}", world.net.machine(phone).said)
    };
    assert!(authenticated, "our server says it to users alone");
    let flow = Flow::unbound(Transport::Udp, address("192.0.2.1:4000"), server);
    world.net.at(phone, |phone, now| {
        phone.client.moved(now, flow);
        phone.client.allocate(now);
    });
    world.net.run_for(secs(2));
    assert!(world.net.machine(phone).client.is_allocated());
    assert_eq!(world.net.machine(second).server.allocations(), 1);
}

#[test]
fn a_peer_that_the_policy_refuses_is_reported_once() {
    let mut world = World::new(17);
    let phone = world.phone("alice", Transport::Udp, alice());
    world.allocate(phone);
    let peers = ["127.0.0.1", "10.0.0.1", "203.0.113.5", "169.254.169.254", "203.0.113.6"];
    world.net.at(phone, |phone, now| peers.iter().for_each(|peer| phone.client.permit(now, peer.parse().unwrap())));
    world.net.run_for(secs(3600));
    let said = &world.net.machine(phone).said;
    let refused =
        said.iter().filter(|event| matches!(event, Event::NotPermitted { failure, .. } if failure.code() == Some(403)));
    let permitted = said.iter().filter(|event| matches!(event, Event::Permitted { .. }));
    assert_eq!((refused.count(), permitted.count()), (3, 2), "{said:?}");
    assert!(world.net.count("relay -> alice  CreatePermission 403") <= 7);
}

#[test]
fn a_peer_that_has_no_socket_is_told_by_icmp() {
    let mut world = World::new(18);
    world.net = world.net.icmp(true);
    let phone = world.phone("alice", Transport::Udp, alice());
    world.echo();
    world.allocate(phone);
    let nobody = address("203.0.113.5:9");
    world.net.at(phone, |phone, now| phone.client.permit(now, nobody.ip()));
    world.net.run_for(secs(1));
    world.net.at(phone, |phone, now| phone.client.send(now, nobody, b"anyone?").unwrap());
    world.net.run_for(secs(1));
    let icmp =
        world.net.machine(phone).said.iter().any(|event| matches!(event, Event::Icmp { peer, .. } if *peer == nobody));
    assert!(icmp, "{:?}\n{}", world.net.machine(phone).said, world.net);
}

#[test]
fn several_clients_share_a_host_and_a_server() {
    let mut world = World::new(19);
    world.net.set_links(Link::default().loss(0.05));
    let peer = world.echo();
    let phones: Vec<_> = (0..6)
        .map(|number| {
            let transport = TRANSPORTS[number % 3];
            world.phone(&format!("phone{number}"), transport, if number % 2 == 0 { alice() } else { bob() })
        })
        .collect();
    for phone in &phones {
        world.allocate(*phone);
        world.net.at(*phone, |phone, now| phone.client.bind(now, peer));
    }
    world.net.run_for(secs(2));
    for (number, phone) in phones.iter().enumerate() {
        world.hears_echo(*phone, peer, &format!("{number}"));
    }
    world.part(&phones);
}
