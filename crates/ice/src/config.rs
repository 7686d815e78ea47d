//! What an agent is told at birth.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::Transport;
use farspeak_stun::Schedule;

/// How an agent behaves. The default is a controlled full agent with one component, no servers and full trickle.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Whether it begins as the controlling one: as a rule, who sent the offer (RFC 8445 §6.1.1). Default false. A
    /// conflict is settled by the tie-breaker.
    pub controlling: bool,
    /// Full or lite. Default full.
    pub mode: Mode,
    /// How many components the stream has: 1, or 2 where RTCP has a port of its own. Default 1.
    pub components: u16,
    /// What may be told and used. Default all.
    pub privacy: Privacy,
    /// Servers to gather from. Default none.
    pub servers: Vec<IceServer>,
    /// When own candidates are told, and whether the peer may send some later. Default full.
    pub trickle: Trickle,
    /// When the controlling agent nominates.
    pub nomination: Nomination,
    /// Whether own host candidates are told as names for multicast DNS, so that the peer learns no address of the local
    /// network. Default false.
    pub names: bool,
    /// Whether loopback addresses become candidates. Default false (RFC 8445 §5.1.1.1 forbids it); for tests on one
    /// machine.
    pub loopback: bool,
    /// The tie-breaker for role conflicts. Default: drawn from the agent's randomness.
    pub tie_breaker: Option<u64>,
    /// Which check list runs underneath. Default our own.
    pub engine: Engine,
    /// Durations.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            controlling: false,
            mode: Mode::Full,
            components: 1,
            privacy: Privacy::All,
            servers: Vec::new(),
            trickle: Trickle::Full,
            nomination: Nomination::default(),
            names: false,
            loopback: false,
            tie_breaker: None,
            engine: Engine::default(),
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }
}

/// RFC 8445 §2.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Checks, and answers checks.
    Full,
    /// Answers only: for servers with public addresses. Always controlled towards a full agent. Towards a lite one it
    /// sends to the best of the peer's candidates unseen (RFC 8445 §8.2).
    Lite,
}

/// What may be told to the peer, and be used towards it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privacy {
    /// Everything.
    All,
    /// Relayed candidates only: the peer learns no address of ours but the relay's.
    RelayOnly,
}

/// RFC 8838 §3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trickle {
    /// Own candidates are told as they are found.
    Full,
    /// Own candidates are told when all are found; the peer may trickle its own.
    Half,
    /// The same, and the peer's candidates are complete when its credentials come.
    None,
}

/// A STUN or TURN server. Names are resolved by the driver.
#[derive(Clone)]
pub struct IceServer {
    /// Where it is.
    pub address: SocketAddr,
    /// How to reach it. STUN over UDP only.
    pub transport: Transport,
    /// `None`: a STUN server. Else a TURN server, with user name and password.
    pub login: Option<Login>,
}

/// User name and password for a TURN server.
#[derive(Clone)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, ..)", self.username)
    }
}

impl IceServer {
    /// A STUN server.
    pub const fn stun(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp, login: None }
    }

    /// A TURN server over UDP, TCP or TLS.
    pub fn turn(transport: Transport, address: SocketAddr, username: &str, password: &str) -> Self {
        let login = Login { username: username.into(), password: password.into() };
        Self { address, transport, login: Some(login) }
    }
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.login.is_some() { "turn" } else { "stun" };
        write!(f, "{scheme}:{}/{}", self.address, self.transport)
    }
}

/// When the controlling agent nominates (RFC 8445 §8.1.1 leaves it open; regular nomination, once per session unless
/// the peer negotiated `renomination`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nomination {
    /// How long to wait for a better pair after the first valid one. Data flows meanwhile. Default 500 ms. A pair whose
    /// better ones have all failed, or that is host to host, is nominated at once.
    pub patience: Duration,
    /// How long to wait if the best valid pair is relayed. Default 2 s; two and a half times as long while there is a
    /// direct pair on which the peer was heard, or that has hardly been tried.
    pub relayed_patience: Duration,
    /// Whether to offer `renomination` to the peer and to use it if the peer offers it as well. Default false.
    pub renomination: bool,
}

impl Default for Nomination {
    fn default() -> Self {
        Self { patience: Duration::from_millis(500), relayed_patience: Duration::from_secs(2), renomination: false }
    }
}

/// Which implementation of [`IceSession`](crate::session::IceSession) runs the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Engine {
    /// RFC 8445's check list as it is written, on `farspeak-stun`.
    #[default]
    CheckList,
    /// The `is` crate: nominates what is best at each moment, so that a nomination is not final. It counts in the
    /// system's time: the agent's instants are added to this one, whichever it is, and no clock is read.
    Is(std::time::Instant),
}

/// Durations of an agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between two new transactions, checks and gathering together (Ta). Default 50 ms (RFC 8445 §14.2), at least 5 ms.
    /// A peer that wants more, or says nothing while this is less than 50 ms, makes it longer. All agents of a program
    /// together have to keep to 5 ms, which is for the program to see to.
    pub ta: Duration,
    /// When a check is sent again. Default: RTO 500 ms, seven times in all, 39.5 s. The RTO grows with the number of
    /// pairs (RFC 8445 §14.3).
    pub checks: Schedule,
    /// When a request to a STUN or TURN server is sent again. Default: RTO 500 ms, five times, given up after 9.5 s; over
    /// a stream, after the same time.
    pub gathering: Schedule,
    /// How long UDP to TURN servers is tried before TCP is tried as well, and TCP before TLS. Default 500 ms.
    pub fall_back: Duration,
    /// How long allocations that the selected pairs do not use are kept after the end, and data is taken over the pair from
    /// before a restart. Default 3 s (RFC 8445 §8.3.1).
    pub linger: Duration,
    /// How long failure is not declared (the PAC timer). Default 39.5 s (RFC 8863 §4).
    pub patience: Duration,
    /// How long consent lasts after an answer. Default 30 s (RFC 7675 §5.1).
    pub consent: Duration,
    /// Between two requests for consent, times 0.8 to 1.2. Default 5 s, which is the least (RFC 7675 §5.1).
    pub consent_interval: Duration,
    /// Between two requests that keep a mapping at a STUN server's way alive, until ICE has concluded. Default 15 s
    /// (RFC 8445 §5.1.1.4, §11).
    pub keepalive: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let gathering = Schedule { rc: 5, rm: 4, ti: Duration::from_millis(9500), ..Schedule::default() };
        Self {
            ta: Duration::from_millis(50),
            checks: Schedule::default(),
            gathering,
            fall_back: Duration::from_millis(500),
            linger: Duration::from_secs(3),
            patience: Duration::from_millis(39_500),
            consent: Duration::from_secs(30),
            consent_interval: Duration::from_secs(5),
            keepalive: Duration::from_secs(15),
        }
    }
}

/// Bounds of what others can make an agent keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Own candidates of all components. Default 64.
    pub local_candidates: usize,
    /// The peer's candidates of one component, peer-reflexive ones included. Default 64.
    pub remote_candidates: usize,
    /// Pairs of one component. Default 100 (RFC 8445 §6.1.2.5).
    pub pairs: usize,
    /// Events and packets that wait to be fetched. Default 1024 each; what comes after is dropped.
    pub queue: usize,
    /// Names of the peer that wait for their address. Default 16.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { local_candidates: 64, remote_candidates: 64, pairs: 100, queue: 1024, names: 16 }
    }
}
