//! The server goes, the way changes, the client moves.

use farspeak_sansio::{Flow, Transport};
use farspeak_sim::{Link, Nat};
use farspeak_turn::Which;
use farspeak_turn::client::{Config, Event, Failure};

use crate::relay::{self, Relay};
use crate::world::*;

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
