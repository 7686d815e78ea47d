//! RFC 8656 end to end: what is allocated, permitted, bound, relayed and refused.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::Transport;
use farspeak_sim::{Host, Link, Network};
use farspeak_turn::client::{Config, Event, Families};

use crate::world::*;

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
fn several_clients_share_a_server() {
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
