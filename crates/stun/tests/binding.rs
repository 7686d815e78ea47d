//! Our client and our server with each other, over a network that loses, repeats and reorders, and over streams in
//! pieces.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use farspeak_sansio::{Flow, SplitMix64, Transport};
use farspeak_sim::{Framed, Framer, Link, Nat, Network};
use farspeak_stun::framing::{self, StreamFramer};
use farspeak_stun::{Authentication, BindingServer, Client, ClientConfig, Event, Message, Request, ServerConfig};

fn client(seed: u64) -> Client {
    Client::new(ClientConfig::default(), Authentication::None, Box::new(SplitMix64::new(seed)))
}

/// Asks ten times, five seconds apart, and returns the addresses that the server saw.
fn ask(net: &mut Network, client: farspeak_sim::Host<Client>, flow: Flow) -> Vec<String> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&seen);
    net.on_event(client, move |_, _, event| {
        keep.borrow_mut().push(match event {
            Event::Response { bytes, .. } => {
                let mapped = Message::parse(&bytes).unwrap().xor_mapped_address();
                mapped.unwrap().unwrap().to_string()
            }
            Event::Failed { reason, .. } => format!("{reason:?}"),
        });
    });
    for _ in 0..10 {
        net.at(client, |client, now| client.request(now, flow, Request::binding()).unwrap());
        net.run_for(Duration::from_secs(5));
    }
    net.run_for(Duration::from_secs(60));
    assert_eq!(net.machine(client).outstanding(), 0);
    seen.take()
}

#[test]
fn every_request_is_answered_however_bad_the_link() {
    for seed in 1..6 {
        let mut net = Network::new(seed);
        let phone = net.host("phone", ["10.0.0.2"], client(seed));
        let server = net.host("server", ["192.0.2.1"], BindingServer::new(ServerConfig::default()));
        let from = net.bind(phone, Transport::Udp, 4000);
        let to = net.bind(server, Transport::Udp, 3478);
        let nat = net.nat("router", Nat::home_router(), ["198.51.100.7"]);
        net.put_behind(phone, nat);
        net.set_links(Link::default().loss(0.2).duplicate(0.1).reorder(0.2));
        let seen = ask(&mut net, phone, Flow::unbound(Transport::Udp, from, to));
        assert_eq!(seen, vec!["198.51.100.7:4000"; 10], "seed {seed}");
    }
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
        if self.0.is_lost() {
            whole.push(Framed::Broken(None));
        }
        whole
    }
}

#[test]
fn streams_in_pieces_carry_the_same_answers() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut net = Network::new(3);
        let phone = net.host("phone", ["198.51.100.2"], client(3));
        let server = net.host("server", ["192.0.2.1"], BindingServer::new(ServerConfig::default()));
        let to = net.bind(server, transport, 3478);
        for host in [phone.id(), server.id()] {
            net.set_framer(host, || Box::new(Stun(StreamFramer::default())));
        }
        let unbound = Flow::unbound(transport, "0.0.0.0:0".parse().unwrap(), to);
        let seen = ask(&mut net, phone, unbound);
        assert!(seen.len() == 10 && seen.iter().all(|mapped| mapped.starts_with("198.51.100.2:")), "{seen:?}");
    }
}
