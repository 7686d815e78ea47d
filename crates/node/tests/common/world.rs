//! A node, phones around it, and the weather between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use farspeak_node::authentication::AuthenticationConfig;
use farspeak_node::b2bua::{Joining, Which};
use farspeak_node::binding::BindingRow;
use farspeak_node::domain::Domain;
use farspeak_node::event::Event;
use farspeak_node::events::EventsConfig;
use farspeak_node::location::Location;
use farspeak_node::registrar::RegistrarConfig;
use farspeak_node::shard::{Shard, ShardConfig};
use farspeak_node::shared::{Clock, Keys, ProxyConfig, Settings, Shared, SharedParts};
use farspeak_node::throttle::{Throttle, ThrottleConfig};
use farspeak_node::users::{Secret, User, Users};
use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transmit, Transport};
use farspeak_sim::{Context, Framed, Framer, Host, Link, Network};
use farspeak_sip::digest::{NonceConfig, Nonces};
use farspeak_sip::endpoint::{Endpoint, EndpointConfig};
use farspeak_sip::framer::{Frame, StreamFramer};
use farspeak_sip::message::{Limits, Message, Method};

use super::phone::{Account, Phone};

pub const DOMAIN: &str = "biloxi.example";
pub const PROXY: &str = "192.0.2.10";

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How strictly a run is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Every expectation is met, in order.
    Ladder,
    /// Every expectation is met in whatever order, provisional responses excepted: nobody repeats those.
    Outcome,
    /// Whatever happens, happens; in the end nothing may be left.
    Leftovers,
}

/// What goes wrong, once, at a certain message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The phone's streams stand still for 3 s, in both directions.
    Stall,
    /// The phone's streams are reset.
    Reset,
    /// The phone forgets its streams and the node does not notice.
    HalfOpen,
}

/// The conditions of one run.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub transport: Transport,
    pub loss: f64,
    pub chunks: bool,
    /// How many shards the node has; each phone belongs to one of them by its address.
    pub shards: usize,
    pub seed: u64,
    pub watch: Watch,
    /// What happens to which phone (by its order) once that many messages have travelled.
    pub fault: Option<(Fault, usize, usize)>,
    /// Whether all calls go through the back-to-back user agent.
    pub joined: bool,
}

impl Conditions {
    pub const fn fair(transport: Transport) -> Self {
        let (watch, fault) = (Watch::Ladder, None);
        Self { transport, loss: 0.0, chunks: false, shards: 1, seed: 1, watch, fault, joined: false }
    }
}

/// The same scenario over every transport, with loss, in chunks, and with each fault at each message.
///
/// Every third message is hit, each if `FARSPEAK_EVERY_FAULT` is set.
pub fn everywhere(scenario: fn(&mut World)) {
    everywhere_like(false, scenario);
}

/// The same, with all calls through the back-to-back user agent.
pub fn everywhere_joined(scenario: fn(&mut World)) {
    everywhere_like(true, scenario);
}

fn everywhere_like(joined: bool, scenario: fn(&mut World)) {
    let fair = |transport| Conditions { joined, ..Conditions::fair(transport) };
    let (mut first, mut last) = (0, 0);
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Wss] {
        (first, last) = run(fair(transport), scenario);
    }
    for transport in [Transport::Udp, Transport::Tls] {
        for shards in [2, 3] {
            run(Conditions { shards, ..fair(transport) }, scenario);
        }
    }
    for seed in 0..4 {
        // Chunks take their time: what goes to different phones arrives in either order.
        let chunks = Conditions { chunks: true, seed, watch: Watch::Outcome, ..fair(Transport::Tls) };
        run(chunks, scenario);
    }
    for seed in 0..24 {
        let lossy = Conditions { loss: 0.2, seed, watch: Watch::Outcome, ..fair(Transport::Udp) };
        run(lossy, scenario);
    }
    let every = std::env::var_os("FARSPEAK_EVERY_FAULT").map_or(3, |_| 1);
    let faults =
        [(Fault::Stall, Watch::Outcome), (Fault::Reset, Watch::Leftovers), (Fault::HalfOpen, Watch::Leftovers)];
    for (fault, watch) in faults {
        for at in (first..last).step_by(every) {
            for phone in 0..2 {
                let fault = Some((fault, phone, at));
                run(Conditions { seed: at as u64, watch, fault, ..fair(Transport::Tls) }, scenario);
            }
        }
    }
}

/// Runs the scenario, ends what it left, and asserts that no state remains. Returns how many messages had travelled when
/// the scene began, and when it was over.
pub fn run(conditions: Conditions, scenario: fn(&mut World)) -> (usize, usize) {
    let mut world = World::new(conditions);
    world.net.note(format!("{conditions:?}"));
    scenario(&mut world);
    world.settle();
    (world.scene, world.net.mark())
}

pub struct World {
    pub net: Network,
    pub conditions: Conditions,
    pub proxy: Host<Node>,
    pub shared: Arc<Shared>,
    /// What the store holds.
    pub rows: Rc<RefCell<Rows>>,
    phones: Vec<(String, Host<Phone>)>,
    scene: usize,
    fault: Option<(Fault, usize, usize)>,
}

/// The store: rows by aor, contact, instance and number; and whether it works.
#[derive(Default)]
pub struct Rows {
    pub rows: BTreeMap<(String, String, Option<String>, Option<u32>), BindingRow>,
    pub broken: bool,
    pub commits: usize,
    pub newest: u64,
}

impl World {
    pub fn new(conditions: Conditions) -> Self {
        let mut net = Network::new(conditions.seed).label(label);
        net.set_links(Link::default().loss(conditions.loss));
        let shared = shared(conditions.seed);
        if conditions.joined {
            join_all_calls(&shared);
        }
        let rows = Rc::new(RefCell::new(Rows::default()));
        let node = Node::new(&shared, conditions.seed, conditions.shards, Instant::ZERO);
        let proxy = net.host("proxy", [PROXY, "2001:db8::10"], node);
        for (transport, port) in PORTS {
            net.bind(proxy, transport, port);
        }
        let store = Rc::clone(&rows);
        net.on_event(proxy, move |node, context, event| decide(node, context, event, &store));
        net.residue_of(proxy, |node| node.shards.iter().find_map(residue));
        if conditions.chunks {
            net.set_framer(proxy, || Box::new(SipFramer(StreamFramer::new(Limits::default()))));
        }
        let fault = conditions.fault;
        Self { net, conditions, proxy, shared, rows, phones: Vec::new(), scene: 0, fault }
    }

    /// A user with a phone at its own address, over the transport of the run; not yet registered.
    pub fn phone(&mut self, name: &str) -> Host<Phone> {
        self.phone_over(name, self.conditions.transport)
    }

    pub fn phone_over(&mut self, name: &str, transport: Transport) -> Host<Phone> {
        let address = format!("192.0.2.{}", 20 + self.phones.len());
        self.phone_at(name, name, transport, &address)
    }

    /// A phone called `name` in the ladder, of the user `user`.
    pub fn phone_at(&mut self, name: &str, user: &str, transport: Transport, address: &str) -> Host<Phone> {
        let secret = secret_of(user);
        if self.shared.users.get(user).is_none() {
            self.shared.users.insert(User::new(user, DOMAIN, &secret));
        }
        self.stranger_at(name, user, secret.reveal(), DOMAIN, transport, address)
    }

    /// A phone that the node may know nothing of.
    pub fn stranger_at(
        &mut self,
        name: &str,
        user: &str,
        password: &str,
        domain: &str,
        transport: Transport,
        address: &str,
    ) -> Host<Phone> {
        let (_, port) = PORTS.into_iter().find(|(known, _)| *known == transport).expect("every transport is bound");
        let ours = if address.contains(':') { "[2001:db8::10]" } else { PROXY };
        let shown = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let local: SocketAddr = format!("{shown}:5060").parse().expect("an address");
        let remote: SocketAddr = format!("{ours}:{port}").parse().expect("an address");
        let parameter = match transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        let contact = match transport {
            // RFC 7118 §5: a browser knows no address of its own.
            Transport::Ws | Transport::Wss => format!("sip:{user}@{name}.invalid{parameter}"),
            _ => format!("sip:{user}@{shown}:5060{parameter}"),
        };
        let account = Account {
            user: user.to_owned(),
            password: password.to_owned(),
            domain: domain.to_owned(),
            flow: Flow::unbound(transport, local, remote),
            contact,
            user_agent: "Test phone".to_owned(),
        };
        let seed = self.conditions.seed.wrapping_mul(1_000).wrapping_add(self.phones.len() as u64 + 1);
        let config = EndpointConfig::default();
        let endpoint = Endpoint::new(config, Box::new(SplitMix64::new(seed)));
        let mut phone = Phone::new(account, endpoint, seed);
        phone.comes_back = self.conditions.watch == Watch::Leftovers;
        let host = self.net.host(name, [address], phone);
        if transport == Transport::Udp {
            self.net.bind(host, transport, 5060);
        }
        self.net.residue_of(host, Phone::residue);
        if self.conditions.chunks {
            self.net.set_framer(host, || Box::new(SipFramer(StreamFramer::new(Limits::default()))));
        }
        self.phones.push((name.to_owned(), host));
        host
    }

    /// A phone that has registered before the scene begins.
    pub fn registered(&mut self, name: &str) -> Host<Phone> {
        let host = self.phone(name);
        self.register(host);
        host
    }

    /// Registers a phone, and begins the scene after it.
    pub fn register(&mut self, host: Host<Phone>) {
        self.net.at(host, |phone, now| phone.register(now));
        let until = self.net.now() + secs(60);
        while self.net.machine(host).finals.last().map(String::as_str) != Some("200 REGISTER") {
            assert!(self.net.step(until), "the phone could not register\n{}", self.net);
        }
        self.net.run_until_quiet(secs(60));
        self.begin();
    }

    /// What is expected from now on counts from now on.
    pub fn begin(&mut self) {
        self.scene = self.net.mark();
        self.net.pass_over();
    }

    pub fn host(&self, name: &str) -> Host<Phone> {
        self.phones.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("there is no {name}")).1
    }

    /// The buttons of a phone.
    pub fn at(&mut self, name: &str) -> At<'_> {
        let host = self.host(name);
        At { world: self, host }
    }

    pub fn is(&self, name: &str) -> &Phone {
        self.net.machine(self.host(name))
    }

    /// Waits for a message, as strictly as the run is watched.
    #[track_caller]
    pub fn expect(&mut self, pattern: &str) {
        match self.conditions.watch {
            Watch::Ladder => {
                self.net.expect(pattern);
            }
            Watch::Outcome | Watch::Leftovers => {
                let provisional = pattern.split_whitespace().nth(3).is_some_and(|word| word.starts_with('1'));
                if provisional {
                    return;
                }
                let seen = self.wait(pattern, secs(70));
                assert!(seen || self.is_excused(), "`{pattern}` did not happen\n{}", self.net);
            }
        }
    }

    /// Waits for a message that nobody repeats if it is lost.
    #[track_caller]
    pub fn expect_once(&mut self, pattern: &str) {
        if self.conditions.watch == Watch::Ladder {
            self.expect(pattern);
        }
    }

    /// Waits for a message, wherever in the scene it comes.
    #[track_caller]
    pub fn expect_any(&mut self, pattern: &str) {
        let seen = self.wait(pattern, secs(70));
        assert!(seen || self.is_excused(), "`{pattern}` did not happen\n{}", self.net);
    }

    /// Asserts something about the outcome, unless anything may happen.
    #[track_caller]
    pub fn check(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        if self.conditions.watch == Watch::Leftovers {
            return;
        }
        let until = self.net.now() + secs(64);
        while !holds(self) {
            self.strike();
            let more = self.net.step(until);
            if !more && self.is_excused() {
                return;
            }
            assert!(more, "{what} did not come true\n{}", self.net);
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, duration: Duration) {
        let until = self.net.now() + duration;
        loop {
            self.strike();
            if !self.net.step(until) {
                return self.net.run_until(until);
            }
        }
    }

    /// Ends whatever is left and asserts that nothing remains.
    #[track_caller]
    pub fn settle(&mut self) {
        if self.conditions.watch != Watch::Ladder {
            // A CANCEL or a BYE may cross with something, so that what it ends begins anew: twice is enough.
            for _ in 0..2 {
                self.pass(secs(40));
                for at in 0..self.phones.len() {
                    let host = self.phones[at].1;
                    self.net.at(host, |phone, now| phone.end_everything(now));
                }
            }
        }
        self.net.settled_within(secs(300)).no_state_left();
        assert!(self.net.mark() < 3_000, "a storm of messages\n{}", self.net);
    }

    /// Whether anything may happen; or so much was lost that a phone gave up as RFC 3261 §13.3.1.4 says: 2xx and ACK are
    /// repeated from end to end alone, and at a loss of 20 % one of 500 answers has bad luck for 32 s.
    fn is_excused(&self) -> bool {
        let gave_up = || self.phones.iter().any(|(_, host)| self.net.machine(*host).gave_up > 0);
        self.conditions.watch == Watch::Leftovers || (self.conditions.loss > 0.0 && gave_up())
    }

    fn wait(&mut self, pattern: &str, within: Duration) -> bool {
        let until = self.net.now() + within;
        loop {
            if self.net.seen_since(self.scene, pattern) {
                return true;
            }
            self.strike();
            if !self.net.step(until) {
                return false;
            }
        }
    }

    fn strike(&mut self) {
        let Some((fault, phone, at)) = self.fault else { return };
        if self.net.mark() < at || phone >= self.phones.len() {
            return;
        }
        self.fault = None;
        let (name, host) = self.phones[phone].clone();
        self.net.note(format!("{fault:?} of {name}"));
        match fault {
            Fault::Stall => {
                self.net.stall(host, self.proxy, secs(3));
                self.net.stall(self.proxy, host, secs(3));
            }
            Fault::Reset => self.net.reset(host, self.proxy),
            Fault::HalfOpen => self.net.half_open(host, self.proxy),
        }
    }

    /// The time of day at the network's origin, whichever process it is.
    fn shared_clock(&self) -> Clock {
        Clock { unix_at_origin_ms: UNIX_AT_ORIGIN_MS }
    }

    /// The node dies and is started again with what its store holds.
    pub fn restart_node(&mut self) {
        // A new process: its time begins anew, the time of day goes on.
        let origin = self.net.now();
        let clock = Clock { unix_at_origin_ms: self.shared_clock().unix_ms(origin) };
        let shared = shared_for(self.conditions.seed, our_domain(), clock);
        for user in self.shared.users.list() {
            shared.users.insert((*user).clone());
        }
        let store = self.rows.borrow();
        shared.location.restore(Instant::ZERO, shared.clock, store.newest, store.rows.values().cloned());
        drop(store);
        self.shared = Arc::clone(&shared);
        self.net.note("the node is killed and started again");
        let node = Node::new(&shared, self.conditions.seed + 1, self.conditions.shards, origin);
        self.net.restart(self.proxy, node);
    }
}

/// The buttons of one phone.
pub struct At<'a> {
    world: &'a mut World,
    host: Host<Phone>,
}

impl At<'_> {
    pub fn press(self, button: impl FnOnce(&mut Phone, Instant)) {
        self.world.net.at(self.host, button);
    }

    pub fn register(self) {
        self.press(Phone::register);
    }

    pub fn unregister(self) {
        self.press(Phone::unregister);
    }

    pub fn invite(self, uri: &str) {
        self.press(|phone, now| phone.invite(now, uri));
    }

    pub fn ring(self) {
        self.press(Phone::ring);
    }

    pub fn answer(self) {
        self.press(Phone::answer);
    }

    pub fn refuse(self, status: u16) {
        self.press(|phone, now| phone.refuse(now, status));
    }

    pub fn cancel(self) {
        self.press(Phone::cancel);
    }

    pub fn bye(self) {
        self.press(Phone::bye);
    }

    pub fn reinvite(self) {
        self.press(Phone::reinvite);
    }

    pub fn request(self, method: Method, uri: &str) {
        self.press(|phone, now| phone.request(now, method, uri));
    }
}

const PORTS: [(Transport, u16); 5] = [
    (Transport::Udp, 5060),
    (Transport::Tcp, 5060),
    (Transport::Tls, 5061),
    (Transport::Ws, 80),
    (Transport::Wss, 443),
];

pub fn secret_of(user: &str) -> Secret {
    let seed = user.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Secret::generate(&mut SplitMix64::new(seed))
}

/// The time of day when the network begins.
const UNIX_AT_ORIGIN_MS: i64 = 1_800_000_000_000;

pub fn shared(seed: u64) -> Arc<Shared> {
    shared_for(seed, our_domain(), Clock { unix_at_origin_ms: UNIX_AT_ORIGIN_MS })
}

fn our_domain() -> Domain {
    let mut domain = Domain::new(DOMAIN);
    for (transport, port) in PORTS {
        domain = domain.with_listener(transport, format!("{PROXY}:{port}").parse().expect("an address"));
        domain = domain.with_listener(transport, format!("[2001:db8::10]:{port}").parse().expect("an address"));
    }
    domain
}

/// Puts all calls through the back-to-back user agent.
pub fn join_all_calls(shared: &Shared) {
    let mut settings = (*shared.settings()).clone();
    settings.proxy.joining = Joining { calls: Which::Always, ..Joining::default() };
    shared.replace_settings(settings);
}

/// What the shards of a node share that serves this domain.
pub fn shared_for(seed: u64, domain: Domain, clock: Clock) -> Arc<Shared> {
    Shared::new(SharedParts {
        location: Location::default(),
        users: Users::new(domain.name(), &mut SplitMix64::new(seed)),
        throttle: Throttle::new(ThrottleConfig::default()),
        nonces: Nonces::new([9; 32], NonceConfig::default()),
        keys: Keys { flow_token: [1; 16], branch: [2; 16] },
        clock,
        settings: Settings {
            domain,
            public_name: None,
            proxy: ProxyConfig::default(),
            registrar: RegistrarConfig::default(),
            authentication: AuthenticationConfig::default(),
            events: EventsConfig::default(),
            limits: Limits::default(),
        },
    })
}

pub fn shard(shared: &Arc<Shared>, seed: u64, id: u8) -> Shard {
    let rng = Box::new(SplitMix64::new(seed ^ 0x5eed ^ u64::from(id) << 32));
    Shard::new(ShardConfig { id, shared: Arc::clone(shared), rng, endpoint: EndpointConfig::default() })
}

pub fn decide(node: &mut Node, context: &mut Context, (at, event): (usize, Event), store: &RefCell<Rows>) {
    let now = node.own(context.now());
    match event {
        Event::Commit { ticket, changes } => {
            let mut store = store.borrow_mut();
            if store.broken {
                return node.shards[at].committed(now, ticket, Err("the disk is full"));
            }
            store.commits += 1;
            for row in changes {
                store.newest = store.newest.max(row.version);
                let key = (row.aor.clone(), row.contact.clone(), row.instance.clone(), row.reg_id);
                match row.is_removal() {
                    true => store.rows.remove(&key),
                    false => store.rows.insert(key, row),
                };
            }
            node.shards[at].committed(now, ticket, Ok::<(), &str>(()));
        }
        Event::ToShard { shard, flow, bytes } => {
            node.handed_over += 1;
            node.shards[usize::from(shard)].handle_receive(now, Receive { flow, bytes: &bytes });
        }
        Event::Tell { shard, news } => {
            node.told += 1;
            node.shards[usize::from(shard)].hear(now, news);
        }
        Event::CloseFlow { flow } => context.close(flow),
    }
}

/// A process: shards whose time began when it was started. A phone's messages come to the shard that its address hashes
/// to, as the kernel does it.
pub struct Node {
    pub shards: Vec<Shard>,
    /// How many messages came to another shard than the one whose transaction they belong to.
    pub handed_over: usize,
    /// How often a shard told another what its watchers wait for.
    pub told: usize,
    origin: Instant,
}

impl Node {
    pub fn new(shared: &Arc<Shared>, seed: u64, shards: usize, origin: Instant) -> Self {
        let shards = (0..shards as u8).map(|id| shard(shared, seed, id)).collect();
        Self { shards, handed_over: 0, told: 0, origin }
    }

    fn own(&self, now: Instant) -> Instant {
        Instant::ZERO + (now - self.origin)
    }
}

impl Machine for Node {
    type Event = (usize, Event);

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        let own = self.own(now);
        let hash = match received.flow.remote.ip() {
            IpAddr::V4(ip) => usize::from(ip.octets()[3]),
            IpAddr::V6(ip) => usize::from(ip.octets()[15]),
        };
        let at = hash % self.shards.len();
        self.shards[at].handle_receive(own, received);
    }

    fn handle_timeout(&mut self, now: Instant) {
        let own = self.own(now);
        self.shards.iter_mut().for_each(|shard| shard.handle_timeout(own));
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        let own = self.own(now);
        self.shards.iter_mut().for_each(|shard| shard.handle_flow_failed(own, flow));
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.shards.iter_mut().find_map(Machine::poll_transmit)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let next = self.shards.iter().filter_map(Machine::poll_timeout).min();
        next.map(|at| self.origin + at.since_origin())
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        let events = self.shards.iter_mut().enumerate();
        events.filter_map(|(at, shard)| shard.poll_event().map(|event| (at, event))).next()
    }
}

pub fn residue(shard: &Shard) -> Option<String> {
    let counts = shard.counts();
    let proxy = counts.contexts + counts.branches + counts.commits + counts.transactions;
    let left = proxy + counts.subscriptions + counts.joins + counts.joined;
    (left > 0).then(|| format!("{counts:?}"))
}

/// `INVITE`, or `180 INVITE`.
pub fn label(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let method = || {
        let cseq = text.split("\r\n").find(|line| line.to_ascii_lowercase().starts_with("cseq"));
        cseq.and_then(|line| line.rsplit(' ').next()).unwrap_or("?").to_owned()
    };
    match first[..] {
        ["SIP/2.0", status, ..] => format!("{status} {}", method()),
        [""] => "keep-alive".to_owned(),
        [word, ..] => word.chars().take(24).collect(),
        [] => String::new(),
    }
}

/// The product's own framer between the simulator's chunks and the machines.
struct SipFramer(StreamFramer);

impl Framer for SipFramer {
    fn push(&mut self, bytes: &[u8]) -> Vec<Framed> {
        self.0.push(bytes);
        let mut found = Vec::new();
        while let Some(frame) = self.0.next() {
            found.push(match frame {
                Frame::Message(message) => Framed::Message(message.to_vec()),
                Frame::Ping => Framed::Reply(b"\r\n".to_vec()),
                Frame::Pong => continue,
                Frame::Broken { reply, .. } => Framed::Broken(reply),
            });
        }
        found
    }
}

/// What a phone was told last, whole.
pub fn last_response(phone: &Phone) -> &Message {
    phone.last_response.as_ref().expect("there was a response")
}
