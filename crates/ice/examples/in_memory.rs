//! Two agents in a simulated network, each behind a home router, with a STUN server: who sends what, drawn as a ladder.
//!
//! `cargo run -p farspeak-ice --example in_memory`

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use farspeak_ice::{Agent, AgentConfig, Event, IceServer, Interface, RemoteOptions, State};
use farspeak_sansio::{SplitMix64, Transport};
use farspeak_sim::{Host, Nat, Network};
use farspeak_stun::{AttributeType, BindingServer, Message, ServerConfig};

type Mailbox = Rc<RefCell<Vec<(usize, Event)>>>;

fn main() {
    let mut net = Network::new(1).label(name_of);
    let stun = net.host("stun", ["198.51.100.1"], BindingServer::new(ServerConfig::default()));
    let server: SocketAddr = net.bind(stun, Transport::Udp, 3478);

    let mailbox = Mailbox::default();
    let ends = [("alice", "10.0.0.2", "203.0.113.1"), ("bob", "10.0.0.3", "203.0.113.2")];
    let agents: Vec<Host<Agent>> = ends
        .iter()
        .enumerate()
        .map(|(at, (name, inside, outside))| {
            let controlling = at == 0;
            let config = AgentConfig { controlling, servers: vec![IceServer::stun(server)], ..AgentConfig::default() };
            let host = net.host(name, [*inside], Agent::new(config, Box::new(SplitMix64::new(at as u64 + 7))));
            let router = net.nat(&format!("{name}'s router"), Nat::home_router(), [*outside]);
            net.put_behind(host, router);
            let mailbox = Rc::clone(&mailbox);
            net.on_event(host, move |_, _, event| mailbox.borrow_mut().push((at, event)));
            host
        })
        .collect();

    for (at, agent) in agents.iter().enumerate() {
        let socket = net.bind(*agent, Transport::Udp, 5000);
        let peer = net.machine(agents[1 - at]).credentials().clone();
        net.at(*agent, |agent, now| {
            agent.add_socket(now, 1, socket, Interface::default());
            agent.sockets_complete(now);
            agent.set_remote(now, &peer, RemoteOptions { trickle: true, ..RemoteOptions::default() });
        });
    }

    for _ in 0..200 {
        net.run_for(Duration::from_millis(5));
        let mail = std::mem::take(&mut *mailbox.borrow_mut());
        for (from, event) in mail {
            let name = ends[from].0;
            match event {
                Event::LocalCandidate(candidate) => {
                    net.note(format!("{name}: {candidate}"));
                    net.at(agents[1 - from], |agent, now| agent.add_remote_candidate(now, candidate));
                }
                Event::EndOfCandidates => net.at(agents[1 - from], Agent::end_of_remote_candidates),
                Event::StateChanged(State::Completed) => {
                    let word = format!("hello from {name}");
                    net.at(agents[from], |agent, now| agent.send(now, 1, word.as_bytes())).expect("it is connected");
                }
                Event::Data { bytes, .. } => net.note(format!("{name} hears: {}", String::from_utf8_lossy(&bytes))),
                other => net.note(format!("{name}: {other:?}")),
            }
        }
    }
    println!("{net}");
}

fn name_of(bytes: &[u8]) -> String {
    match Message::parse(bytes) {
        Ok(message) if message.has(AttributeType::USE_CANDIDATE) => "nomination".into(),
        Ok(message) if message.has(AttributeType::USERNAME) => "check".into(),
        Ok(message) => format!("{:?}", message.class()),
        Err(_) => String::from_utf8_lossy(bytes).chars().take(16).collect(),
    }
}
