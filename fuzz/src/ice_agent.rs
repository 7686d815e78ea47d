//! Two agents whose packets are lost, changed and swapped, between strangers' bytes: nothing grows, time never stands
//! still, and what is delivered was sent.

use std::time::Duration;

use farspeak_ice::{
    Agent, AgentConfig, Engine, Event, IceServer, Interface, Limits, Mode, Privacy, RemoteOptions, State,
};
use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transport};

use crate::input::Input;

const SOCKETS: [&str; 2] = ["192.0.2.1:5000", "192.0.2.2:5000"];
const TURN: &str = "198.51.100.1:3478";
const STUN: &str = "198.51.100.2:3478";

/// Packets that wait to be delivered.
const MOST: usize = 64;

struct World {
    now: Instant,
    agents: [Agent; 2],
    /// Both know that neither checks.
    both_lite: bool,
    /// To whom, over which flow as it sees it, what.
    packets: Vec<(usize, Flow, Vec<u8>)>,
    limits: Limits,
}

/// A byte of settings; then what happens, a byte each, some with arguments.
pub fn fuzz(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(input.small());
    for _ in 0..400 {
        let Some(what) = input.byte() else { break };
        let one = usize::from(what >> 7);
        match what & 0x0f {
            0..=3 => world.deliver_all(),
            4 => world.pass(Duration::from_millis(5 * input.small() as u64)),
            5 => world.pass(Duration::from_secs(input.small() as u64 % 60)),
            6 => {
                // Changed on the way.
                let (which, at, to) = (input.small(), input.small(), input.byte().unwrap_or(0));
                if let Some((_, _, bytes)) = world.pick(which) {
                    let at = at % bytes.len().max(1);
                    bytes.get_mut(at).into_iter().for_each(|byte| *byte = to);
                }
            }
            7 => {
                let which = input.small();
                if !world.packets.is_empty() {
                    let which = which % world.packets.len();
                    world.packets.remove(which);
                }
            }
            8 => {
                // From elsewhere.
                let (which, port) = (input.small(), 1 + input.small() as u16);
                if let Some((_, flow, _)) = world.pick(which) {
                    flow.remote.set_port(port);
                }
            }
            9 => world.inject(one, &mut input),
            10 => {
                let now = world.now;
                world.agents[one].restart(now);
            }
            11 => world.introduce(one),
            12 => {
                let line = String::from_utf8_lossy(input.raw()).into_owned();
                let now = world.now;
                if let Ok(candidate) = line.parse() {
                    world.agents[one].add_remote_candidate(now, candidate);
                }
            }
            13 => {
                let now = world.now;
                world.agents[one].end_of_remote_candidates(now);
            }
            14 => {
                let now = world.now;
                let _ = world.agents[one].send(now, 1, b"\x80data");
            }
            _ => {
                let now = world.now;
                let remote = SOCKETS[1 - one].parse().expect("an address");
                let flow = Flow::unbound(Transport::Udp, SOCKETS[one].parse().expect("an address"), remote);
                world.agents[one].handle_flow_failed(now, flow);
            }
        }
        world.collect();
    }
    world.pass(Duration::from_secs(120));
    for one in 0..2 {
        let now = world.now;
        world.agents[one].close(now);
        assert_eq!(world.agents[one].state(), State::Closed);
    }
    world.pass(Duration::from_secs(120));
    assert!(world.agents.iter().all(|agent| agent.poll_timeout().is_none()), "something is left");
}

impl World {
    fn new(settings: usize) -> Self {
        let limits = Limits { remote_candidates: 12, pairs: 20, queue: 64, names: 3, local_candidates: 8 };
        let both_lite = settings & 12 == 12;
        let new = |one: usize| {
            let address = |text: &str| text.parse().expect("an address");
            let turn = IceServer::turn(Transport::Udp, address(TURN), "alice", "secret");
            let servers = vec![IceServer::stun(address(STUN)), turn];
            let config = AgentConfig {
                controlling: (settings >> one) & 1 == 1,
                mode: if settings & 4 != 0 && (one == 1 || both_lite) { Mode::Lite } else { Mode::Full },
                engine: if one == 1 && settings & 12 == 8 {
                    Engine::Is(std::time::Instant::now())
                } else {
                    Engine::CheckList
                },
                privacy: if settings & 16 != 0 { Privacy::RelayOnly } else { Privacy::All },
                servers: if settings & 32 != 0 { servers } else { Vec::new() },
                names: settings & 64 != 0,
                limits,
                ..AgentConfig::default()
            };
            let mut agent = Agent::new(config, Box::new(SplitMix64::new(one as u64 + 1)));
            agent.add_socket(Instant::ZERO, 1, address(SOCKETS[one]), Interface::default());
            agent.sockets_complete(Instant::ZERO);
            agent
        };
        let agents = [new(0), new(1)];
        let mut world = Self { now: Instant::ZERO, agents, both_lite, packets: Vec::new(), limits };
        if settings & 128 == 0 {
            (0..2).for_each(|one| world.introduce(one));
        }
        world.collect();
        world
    }

    /// Tells one agent who the other is, and where.
    fn introduce(&mut self, one: usize) {
        let credentials = self.agents[1 - one].credentials().clone();
        let options = RemoteOptions { lite: self.both_lite, trickle: true, ..RemoteOptions::default() };
        let told = self.agents[1 - one].local_candidates();
        self.agents[one].set_remote(self.now, &credentials, options);
        told.into_iter().for_each(|candidate| self.agents[one].add_remote_candidate(self.now, candidate));
    }

    fn pick(&mut self, which: usize) -> Option<&mut (usize, Flow, Vec<u8>)> {
        let count = self.packets.len();
        self.packets.get_mut(which.checked_rem(count)?)
    }

    /// Bytes of a stranger, or of what pretends to be one of the servers.
    fn inject(&mut self, one: usize, input: &mut Input<'_>) {
        let from = [SOCKETS[1 - one], TURN, STUN, "203.0.113.9:7"][input.small() % 4];
        let address = |text: &str| text.parse().expect("an address");
        let flow = Flow::unbound(Transport::Udp, address(SOCKETS[one]), address(from));
        let bytes = input.raw();
        self.agents[one].handle_receive(self.now, Receive { flow, bytes });
    }

    fn deliver_all(&mut self) {
        for (to, flow, bytes) in std::mem::take(&mut self.packets) {
            self.agents[to].handle_receive(self.now, Receive { flow, bytes: &bytes });
        }
    }

    fn collect(&mut self) {
        for one in 0..2 {
            let mut sent = 0;
            while let Some(packet) = self.agents[one].poll_transmit() {
                sent += 1;
                let to = SOCKETS.iter().position(|socket| *socket == packet.flow.remote.to_string());
                if let (Some(to), true) = (to, self.packets.len() < MOST) {
                    let flow = Flow { local: packet.flow.remote, remote: packet.flow.local, ..packet.flow };
                    self.packets.push((to, flow, packet.bytes.to_vec()));
                }
            }
            assert!(sent <= self.limits.queue, "{sent} packets waited");
            let mut events = 0;
            while let Some(event) = self.agents[one].poll_event() {
                events += 1;
                if let Event::Data { bytes, .. } = event {
                    assert!(!bytes.is_empty() && bytes[0] > 3, "this is no data: {bytes:?}");
                }
            }
            assert!(events <= 2 * self.limits.queue, "{events} events waited");
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        let mut steps = 0;
        loop {
            let next = (0..2).filter_map(|one| Some((self.agents[one].poll_timeout()?, one))).min();
            let Some((at, one)) = next.filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            self.agents[one].handle_timeout(self.now);
            self.collect();
            steps += 1;
            assert!(steps < 50_000, "time stands still at {}", self.now);
        }
        self.now = until;
    }
}
