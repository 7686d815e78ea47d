//! Every request and every packet in every state of a 5-tuple, as one table: a change to the machine is a change here.

#[path = "support/world.rs"]
mod world;

use farspeak_stun::{Attribute, Method, Writer};
use farspeak_turn::{Action, Packet, ServerConfig};
use world::*;

type Write = fn(&mut Writer<'_>);

const REQUESTS: [(&str, Method, Write); 10] = [
    ("Allocate UDP", Method::ALLOCATE, |w| _ = w.push(Attribute::RequestedTransport(17))),
    ("Allocate TCP", Method::ALLOCATE, |w| _ = w.push(Attribute::RequestedTransport(6))),
    ("Allocate, family lacking", Method::ALLOCATE, |w| {
        w.push(Attribute::RequestedTransport(17)).push(Attribute::RequestedAddressFamily(V6));
    }),
    ("Refresh", Method::REFRESH, |w| _ = w.push(Attribute::Lifetime(600))),
    ("Refresh 0", Method::REFRESH, |w| _ = w.push(Attribute::Lifetime(0))),
    ("CreatePermission", Method::CREATE_PERMISSION, |w| _ = w.push(Attribute::XorPeerAddress(address(PEER)))),
    ("CreatePermission, refused", Method::CREATE_PERMISSION, |w| {
        w.push(Attribute::XorPeerAddress(address("10.0.0.1:1")));
    }),
    ("ChannelBind", Method::CHANNEL_BIND, |w| {
        w.push(Attribute::ChannelNumber(0x4001)).push(Attribute::XorPeerAddress(address(OTHER)));
    }),
    ("Connect", Method::CONNECT, |w| _ = w.push(Attribute::XorPeerAddress(address(PEER)))),
    ("ConnectionBind", Method::CONNECTION_BIND, |w| _ = w.push(Attribute::ConnectionId(1))),
];
const STATES: [&str; 5] = ["none", "opening", "granted", "another's", "TCP"];

/// A server whose 5-tuple is in this state, and the client that asks from there.
fn in_state(state: &str) -> (World, Client) {
    let mut config = ServerConfig { tcp_relaying: true, ..config() };
    config.relays.truncate(1);
    let mut world = World::new(config);
    let mut alice = Client::over(tcp("203.0.113.7:4000", 1));
    match state {
        "none" => {}
        "opening" => {
            alice.greet(&mut world);
            let id = world.id();
            let request = alice.sealed(id, Method::ALLOCATE, &REQUESTS[0].2);
            let mut buffer = [&[0; 48], &request[..], &[0; 4]].concat();
            let data = 48..48 + request.len();
            world.server.handle_client(world.now, alice.flow, Packet { buffer: &mut buffer, data });
            // The driver takes its time.
            assert!(matches!(world.server.poll_action(), Some(Action::Open { .. })));
        }
        "TCP" => _ = alice.ask(&mut world, Method::ALLOCATE, &REQUESTS[1].2).ok(),
        _ => {
            alice.allocate(&mut world);
            alice.bind(&mut world, 0x4000, PEER).ok();
        }
    }
    if state == "another's" {
        alice = Client::over(alice.flow).named("bob", "password");
    }
    (world, alice)
}

fn outcome(state: &str, method: Method, write: Write) -> String {
    let (mut world, mut client) = in_state(state);
    match client.try_ask(&mut world, method, &write).map(|answer| answer.code()) {
        None if matches!(world.actions[..], [Action::Connect { .. }]) => "later".into(),
        None => "-".into(),
        Some(None) => "ok".into(),
        Some(Some(code)) => code.to_string(),
    }
}

fn data(state: &str, bytes: &[u8]) -> String {
    let (mut world, client) = in_state(state);
    world.client_sends(client.flow, bytes);
    if world.take_out().is_empty() { "-".into() } else { "relayed".into() }
}

#[test]
fn the_whole_table() {
    let mut table = format!("{:26}", "");
    STATES.iter().for_each(|state| table += &format!("{state:>10}"));
    let mut row = |name: &str, cell: &dyn Fn(&str) -> String| {
        table += &format!("\n{name:26}");
        STATES.iter().for_each(|state| table += &format!("{:>10}", cell(state)));
    };
    for (name, method, write) in REQUESTS {
        row(name, &|state| outcome(state, method, write));
    }
    row("ChannelData", &|state| data(state, &channel_message(0x4000, b"x")));
    row("Send", &|state| data(state, &send_indication(address(PEER), b"x")));
    row("Send, refused", &|state| data(state, &send_indication(address("10.0.0.1:1"), b"x")));
    println!("{table}");
    assert_eq!(table, TABLE.trim_matches('\n'));
}

#[rustfmt::skip]
const TABLE: &str = "
                                none   opening   granted another's       TCP
Allocate UDP                      ok       437       437       437       437
Allocate TCP                      ok       437       437       437       437
Allocate, family lacking         440       437       437       437       437
Refresh                          437       437        ok       441        ok
Refresh 0                        437       437        ok       441        ok
CreatePermission                 437       437        ok       441        ok
CreatePermission, refused        437       437       403       441       403
ChannelBind                      437       437        ok       441       400
Connect                          437       437       400       441     later
ConnectionBind                   400       400       400       400       400
ChannelData                        -         -   relayed   relayed         -
Send                               -         -   relayed   relayed         -
Send, refused                      -         -         -         -         -
";
