//! Several shards: ports, peers and clients that belong to another one.

#[path = "support/world.rs"]
mod world;

use farspeak_sansio::{Flow, FlowId};
use farspeak_stun::attribute::EvenPort;
use farspeak_stun::{Attribute, Method};
use farspeak_turn::{Quotas, ServerConfig};
use world::*;

/// Three shards between which packets are carried as a driver does.
struct Shards(Vec<World>);

impl Shards {
    fn new(config: ServerConfig) -> Self {
        Self((0..3).map(|shard| World::new(ServerConfig { shard, shards: 3, ..config.clone() })).collect())
    }

    /// What a client sends arrives at one shard, and goes on to others.
    fn client_sends(&mut self, arrives: usize, flow: Flow, bytes: &[u8]) -> Vec<Out> {
        let flow = Flow { id: FlowId::new(arrives as u8, 1, 1), ..flow };
        self.0[arrives].client_sends(flow, bytes);
        let mut out = self.0[arrives].take_out();
        match out[..] {
            [Out::Home(shard)] => {
                let home = &mut self.0[usize::from(shard)];
                home.client_sends(flow, bytes);
                out = home.take_out();
            }
            [Out::Shard { shard, to, from, ref data }] => {
                let other = &mut self.0[usize::from(shard)];
                other.packet(data, |server, now, packet| server.handle_relayed(now, to, from, packet));
                out = other.take_out();
            }
            _ => {}
        }
        out
    }

    /// A request that arrives at one shard, and its answer from wherever.
    fn ask(
        &mut self,
        arrives: usize,
        client: &Client,
        method: Method,
        write: &dyn Fn(&mut farspeak_stun::Writer<'_>),
    ) -> Answer {
        let id = self.0[arrives].id();
        let request = client.sealed(id, method, write);
        match self.client_sends(arrives, client.flow, &request).pop() {
            Some(Out::Client(flow, bytes)) => {
                assert_eq!(flow.remote, client.flow.remote);
                Answer(bytes)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_shard_gives_out_ports_of_its_own() {
    let mut shards = Shards::new(config());
    for (shard, world) in shards.0.iter_mut().enumerate() {
        for n in 0..50 {
            let relayed = Client::at(&format!("203.0.113.7:{}", 1000 + n)).allocate(world);
            assert_eq!(usize::from(relayed.port() / 2) % 3, shard);
        }
    }
}

#[test]
fn joins_clients_of_two_shards() {
    let mut shards = Shards::new(config());
    let (mut alice, mut bob) =
        (Client::at("203.0.113.7:4000"), Client::at("203.0.113.8:4000").named("bob", "password"));
    let of_alice = alice.allocate(&mut shards.0[0]);
    let of_bob = bob.allocate(&mut shards.0[1]);
    alice.bind_to(&mut shards.0[0], 0x4000, of_bob).ok();
    assert_eq!(shards.client_sends(0, alice.flow, &channel_message(0x4000, b"hello")), []);
    bob.bind_to(&mut shards.0[1], 0x4001, of_alice).ok();
    let out = shards.client_sends(0, alice.flow, &channel_message(0x4000, b"hello"));
    assert!(
        matches!(&out[..], [Out::Client(flow, bytes)] if *flow == bob.flow && read_channel(bytes) == (0x4001, b"hello".to_vec()))
    );
    let out = shards.client_sends(1, bob.flow, &send_indication(of_alice, b"hello"));
    assert!(matches!(&out[..], [Out::Client(flow, _)] if *flow == alice.flow));
}

#[test]
fn a_client_that_moved_to_another_shards_sockets_is_led_home() {
    let mut shards = Shards::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut shards.0[0], &|writer| {
        writer.push(Attribute::MobilityTicket(&[]));
    });
    let (relayed, ticket) = (answer.relayed(), answer.ticket());
    alice.bind(&mut shards.0[0], 0x4000, PEER).ok();
    let mut moved = Client::over(Flow { id: FlowId::new(1, 1, 1), ..udp("192.0.2.9:7000") });
    moved.greet(&mut shards.0[1]);
    let move_here = |writer: &mut farspeak_stun::Writer<'_>| {
        writer.push(Attribute::MobilityTicket(&ticket));
    };
    assert_eq!(shards.ask(1, &moved, Method::REFRESH, &move_here).ok().lifetime(), 600);
    let out = shards.client_sends(1, moved.flow, &channel_message(0x4000, b"here I am"));
    assert!(matches!(&out[..], [Out::Peer { from, .. }] if *from == relayed));
    shards.0[0].peer_sends(relayed, PEER, b"there you are");
    assert_eq!(shards.0[0].answer().unwrap().0, moved.flow);
    let out = shards.client_sends(1, moved.flow, &send_indication(address(PEER), b"x"));
    assert_eq!(out.len(), 1);
    let refreshed = shards.ask(1, &moved, Method::REFRESH, &|_| ());
    assert_eq!(refreshed.ok().lifetime(), 600);
    // Binding is answered on the spot.
    let (residue, home) = (shards.0[1].server.residue(), shards.0[0].server.residue());
    assert_eq!((residue.flows, residue.allocations, home.flows, home.allocations), (1, 0, 1, 1));
}

#[test]
fn refuses_to_remember_flows_for_those_who_are_not_where_they_say() {
    let mut shards = Shards::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    let answer = alice.allocate_with(&mut shards.0[0], &|writer| {
        writer.push(Attribute::MobilityTicket(&[]));
    });
    let ticket = answer.ticket();
    let move_here = |writer: &mut farspeak_stun::Writer<'_>| {
        writer.push(Attribute::MobilityTicket(&ticket));
    };
    // A nonce of another address: a forged source, or a replay.
    let forged = Client { flow: udp("192.0.2.9:7000"), ..alice.clone() };
    assert_eq!(shards.ask(1, &forged, Method::REFRESH, &move_here).code(), Some(438));
    assert_eq!(shards.0[1].server.residue().flows, 0);
    // A forged ticket that may look like another shard's, and one for a shard that does not exist.
    let mut moved = Client::at("192.0.2.9:7001");
    moved.greet(&mut shards.0[1]);
    let answer = shards.ask(1, &moved, Method::REFRESH, &|writer| {
        writer.push(Attribute::MobilityTicket(&[9; 32]));
    });
    assert_eq!(answer.code(), Some(400));
    let answer = shards.ask(1, &moved, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::ReservationToken([77; 8]));
    });
    assert_eq!(answer.code(), Some(508));
    assert_eq!(shards.0[1].server.residue().flows, 0);
}

#[test]
fn flows_of_other_shards_are_bounded_and_forgotten() {
    let quotas = Quotas { handed_over: 4, ..Quotas::default() };
    let mut shards = Shards::new(ServerConfig { quotas, ..config() });
    let mut outcomes = Vec::new();
    let mut token = |shards: &mut Shards, n: u32| {
        let mut client = Client::at(&format!("192.0.2.{n}:7000"));
        client.greet(&mut shards.0[1]);
        let answer = shards.ask(1, &client, Method::ALLOCATE, &|writer| {
            writer.push(Attribute::RequestedTransport(17)).push(Attribute::ReservationToken([2; 8]));
        });
        outcomes.push(answer.code());
        shards.0[1].server.residue().flows
    };
    let counts: Vec<usize> = (0..8).map(|n| token(&mut shards, n)).collect();
    assert_eq!(counts, [1, 2, 3, 4, 4, 4, 4, 4]);
    shards.0.iter_mut().for_each(|world| world.pass(seconds(3600)));
    assert!(token(&mut shards, 9) <= 1);
    assert!(outcomes.iter().all(|code| *code == Some(508)));
}

#[test]
fn a_reserved_port_is_had_through_any_shard() {
    let mut shards = Shards::new(config());
    let mut rtp = Client::at("203.0.113.7:4000");
    let answer = rtp.allocate_with(&mut shards.0[2], &|writer| {
        writer.push(Attribute::EvenPort(EvenPort { reserve_next: true }));
    });
    let token = answer.message().reservation_token().unwrap().unwrap();
    let mut rtcp = Client::over(Flow { id: FlowId::new(0, 1, 1), ..udp("203.0.113.7:4001") });
    rtcp.greet(&mut shards.0[0]);
    let answer = shards.ask(0, &rtcp, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::ReservationToken(token));
    });
    assert_eq!(answer.ok().relayed().port(), shards.0[2].sockets.values().map(|(_, at)| at.port()).max().unwrap());
    let permit = |writer: &mut farspeak_stun::Writer<'_>| {
        writer.push(Attribute::XorPeerAddress(address(PEER)));
    };
    shards.ask(0, &rtcp, Method::CREATE_PERMISSION, &permit).ok();
    assert_eq!(shards.client_sends(0, rtcp.flow, &send_indication(address(PEER), b"rtcp")).len(), 1);
}

#[test]
fn what_was_handed_over_is_not_handed_on() {
    let mut shards = Shards::new(config());
    let ticket = |shards: &mut Shards, shard: usize| {
        let mut client = Client::at(&format!("203.0.113.7:400{shard}"));
        let answer = client.allocate_with(&mut shards.0[shard], &|writer| {
            writer.push(Attribute::MobilityTicket(&[]));
        });
        (client, answer.ok().ticket())
    };
    let ((_, here), (mut there, elsewhere)) = (ticket(&mut shards, 0), ticket(&mut shards, 1));
    let mut wanderer = Client::at("192.0.2.9:7000");
    wanderer.greet(&mut shards.0[0]);
    let with = |ticket: &[u8]| {
        let ticket = ticket.to_vec();
        move |writer: &mut farspeak_stun::Writer<'_>| {
            writer.push(Attribute::MobilityTicket(&ticket));
        }
    };
    shards.ask(0, &wanderer, Method::REFRESH, &with(&elsewhere)).ok();
    there.refresh(&mut shards.0[1], 0).ok();
    // Shard 0 leads it to shard 1, which has nothing of it, and the ticket would lead back.
    assert_eq!(shards.ask(0, &wanderer, Method::REFRESH, &with(&here)).code(), Some(437));
    assert_eq!(shards.client_sends(0, wanderer.flow, &channel_message(0x4000, b"x")), []);
}

#[test]
fn refuses_to_remember_flows_of_those_who_have_not_proved_who_they_are() {
    let mut shards = Shards::new(ServerConfig { tcp_relaying: true, ..config() });
    let mut stranger = Client::at("192.0.2.9:7000").named("alice", "guessed");
    stranger.greet(&mut shards.0[1]);
    let answer = shards.ask(1, &stranger, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::ReservationToken([2; 8]));
    });
    assert_eq!((answer.code(), shards.0[1].server.residue().flows), (Some(401), 0));
    let mut stranger = Client::over(tcp("192.0.2.9:7001", 1)).named("alice", "guessed");
    stranger.greet(&mut shards.0[1]);
    let answer = shards.ask(1, &stranger, Method::CONNECTION_BIND, &|writer| {
        writer.push(Attribute::ConnectionId(2 << 24 | 1));
    });
    assert_eq!((answer.code(), shards.0[1].server.residue().flows), (Some(401), 0));
}

#[test]
fn two_shards_that_remember_each_other_for_a_flow_do_not_pass_it_to_and_fro() {
    let mut shards = Shards::new(config());
    let mut allocated = |shard: usize| {
        let mut client = Client::at(&format!("203.0.113.7:400{shard}"));
        let answer = client.allocate_with(&mut shards.0[shard], &|writer| {
            writer.push(Attribute::MobilityTicket(&[]));
        });
        (client, answer.ok().ticket())
    };
    let ((mut here, of_here), (mut there, of_there)) = (allocated(0), allocated(1));
    let with = |ticket: Vec<u8>| {
        move |writer: &mut farspeak_stun::Writer<'_>| {
            writer.push(Attribute::MobilityTicket(&ticket));
        }
    };
    // The kernel gives its packets to one shard, and later to the other; on both the allocation has gone.
    let mut wanderer = Client::at("192.0.2.9:7000");
    wanderer.greet(&mut shards.0[1]);
    shards.ask(1, &wanderer, Method::REFRESH, &with(of_here)).ok();
    here.refresh(&mut shards.0[0], 0).ok();
    there.refresh(&mut shards.0[1], 0).ok();
    assert_eq!(shards.ask(0, &wanderer, Method::REFRESH, &with(of_there)).code(), Some(437));
    assert_eq!(shards.client_sends(0, wanderer.flow, &channel_message(0x4000, b"x")), []);
}
