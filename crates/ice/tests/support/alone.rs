//! One agent whose peer the test plays, packet by packet.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_ice::{Agent, AgentConfig, Credentials, Interface, RemoteOptions};
use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transport};
use farspeak_stun::{Attribute, Class, Key, Message, Method, TransactionId, Writer};

/// Its socket; the one of a second component.
pub const LOCAL: &str = "192.0.2.1:6000";
pub const LOCAL_TOO: &str = "192.0.2.1:7000";
/// Where the peer is, as a rule.
pub const PEER: &str = "192.0.2.2:6001";

/// One agent whose peer the test plays.
pub struct Alone {
    pub agent: Agent,
    pub peer: Credentials,
    pub now: Instant,
    ids: u32,
}

impl Alone {
    pub fn new(controlling: bool) -> Self {
        Self::with(AgentConfig { controlling, tie_breaker: Some(5), ..AgentConfig::default() })
    }

    pub fn with(config: AgentConfig) -> Self {
        Self::told(config, RemoteOptions { trickle: true, ..RemoteOptions::default() })
    }

    /// With what the peer has said of itself.
    pub fn told(config: AgentConfig, options: RemoteOptions) -> Self {
        let components = config.components;
        let mut agent = Agent::new(config, Box::new(SplitMix64::new(1)));
        let now = Instant::ZERO;
        agent.add_socket(now, 1, LOCAL.parse().unwrap(), Interface::default());
        if components == 2 {
            agent.add_socket(now, 2, LOCAL_TOO.parse().unwrap(), Interface::default());
        }
        agent.sockets_complete(now);
        let peer = Credentials::new("peer", "abcdefghijklmnopqrstuv").unwrap();
        agent.set_remote(now, &peer, options);
        Self { agent, peer, now, ids: 0 }
    }

    pub fn receive(&mut self, from: &str, bytes: &[u8]) {
        self.receive_at(LOCAL, from, bytes);
    }

    pub fn receive_at(&mut self, local: &str, from: &str, bytes: &[u8]) {
        let flow = Flow::unbound(Transport::Udp, local.parse().unwrap(), from.parse().unwrap());
        self.agent.handle_receive(self.now, Receive { flow, bytes });
    }

    pub fn sent(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::iter::from_fn(|| self.agent.poll_transmit()).map(|t| (t.flow.remote, t.bytes.to_vec())).collect()
    }

    /// Lets time pass, in which the peer answers all checks of ours to these addresses.
    pub fn serve(&mut self, duration: Duration, alive: &[&str]) {
        let until = self.now + duration;
        let step = Duration::from_millis(10);
        while self.now < until {
            while let Some(transmit) = self.agent.poll_transmit() {
                let remote = transmit.flow.remote.to_string();
                let is_check = Message::parse(&transmit.bytes).is_ok_and(|it| it.is(Class::Request, Method::BINDING));
                if is_check && alive.contains(&remote.as_str()) {
                    let local = transmit.flow.local.to_string();
                    let answer = self.response(&transmit.bytes, &local, self.peer.password());
                    self.receive_at(&local, &remote, &answer);
                }
            }
            self.pass(step);
        }
    }

    pub fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.agent.handle_timeout(self.now);
        }
        self.now = until;
    }

    pub fn id(&mut self) -> TransactionId {
        self.ids += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.ids.to_be_bytes());
        TransactionId(id)
    }

    /// A check as the peer would send it, but for what `change` does.
    pub fn check(&mut self, password: &str, change: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let username = format!("{}:{}", self.agent.credentials().ufrag(), self.peer.ufrag());
        let id = self.id();
        let mut buffer = [0; 500];
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
        writer.push(Attribute::Username(&username));
        change(&mut writer);
        writer.integrity(&Key::from_bytes(password.as_bytes())).fingerprint();
        writer.finish().unwrap().to_vec()
    }

    pub fn good_check(&mut self) -> Vec<u8> {
        let password = self.agent.credentials().password().to_owned();
        let role = if self.agent.is_controlling() { Attribute::IceControlled(1) } else { Attribute::IceControlling(1) };
        self.check(&password, |writer| {
            writer.push(Attribute::Priority(1000)).push(role);
        })
    }

    /// A check with which the peer nominates; with renomination, by which number.
    pub fn nomination(&mut self, number: Option<u32>) -> Vec<u8> {
        let password = self.agent.credentials().password().to_owned();
        self.check(&password, |writer| {
            writer.push(Attribute::Priority(1000)).push(Attribute::IceControlling(1)).push(Attribute::UseCandidate(()));
            if let Some(number) = number {
                writer.push_raw(farspeak_stun::AttributeType(0xc001), &number.to_be_bytes());
            }
        })
    }

    /// The success response to a check of the agent's.
    pub fn response(&self, check: &[u8], mapped: &str, password: &str) -> Vec<u8> {
        let mut buffer = [0; 200];
        let check = Message::parse(check).unwrap();
        let mut writer = Writer::respond(&mut buffer, Class::Success, &check);
        writer.push(Attribute::XorMappedAddress(mapped.parse().unwrap()));
        writer.integrity(&Key::from_bytes(password.as_bytes())).fingerprint();
        writer.finish().unwrap().to_vec()
    }

    pub fn host(&mut self, address: &str) {
        self.host_of(1, address);
    }

    pub fn host_of(&mut self, component: u16, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        let (ip, port) = (address.ip(), address.port());
        let foundation = ip.to_string().replace('.', "+");
        let line = format!("candidate:{foundation} {component} UDP 2130706431 {ip} {port} typ host");
        self.agent.add_remote_candidate(self.now, line.parse().unwrap());
    }

    pub fn error_of(&mut self, request: &[u8]) -> Option<u16> {
        self.sent();
        self.receive(PEER, request);
        let (_, bytes) = self
            .sent()
            .into_iter()
            .find(|(_, bytes)| !Message::parse(bytes).unwrap().is(Class::Request, Method::BINDING))?;
        Message::parse(&bytes).unwrap().error_code().unwrap().map(|error| error.code)
    }
}
