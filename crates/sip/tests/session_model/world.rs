//! Two user agents, the link between them, and the time.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Rng, SplitMix64, Transport};
use farspeak_sip::dialog::Opening;
use farspeak_sip::endpoint::EndpointConfig;
use farspeak_sip::message::{Limits, Message};
use farspeak_sip::user_agent::{Event, UserAgent, UserAgentConfig};

use crate::app::App;
use crate::plan::{Command, Plan, Verb, Weather};
use crate::watch::{Watch, describe};

/// How much was done.
#[derive(Clone, Default, Debug)]
pub struct Steps {
    /// Commands given, datagrams delivered, timers fired.
    pub all: usize,
    /// Calls that both ends agreed on after quiet.
    pub agreed: usize,
    /// Commands that could be done, not only given.
    pub done: BTreeMap<Verb, usize>,
}

/// What checks give: what is wrong, in words.
pub type Check = Result<(), String>;

/// Longer than any call may ring, and all that follows.
const QUIET: Duration = Duration::from_secs(400);

pub struct World {
    now: Instant,
    rng: SplitMix64,
    weather: Weather,
    agents: [UserAgent; 2],
    apps: [App; 2],
    watch: Watch,
    /// By time of arrival and number: to whom, and what.
    wire: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    silent_until: Instant,
    /// Call-IDs of calls that a broken link may have left the ends at odds about.
    torn: HashSet<String>,
    steps: Steps,
    log: Option<Vec<String>>,
}

impl World {
    pub fn new(plan: &Plan, log: bool) -> Self {
        let agent = |seed: u64| {
            let mut config = UserAgentConfig::default();
            config.event_packages = vec!["presence".into()];
            config.info_packages = vec!["model".into()];
            config.offers_in_prack = plan.seed.is_multiple_of(3);
            config.session_interval = [None, Some(90), Some(300), Some(1800)][(plan.seed / 8 % 4) as usize];
            UserAgent::new(config, EndpointConfig::default(), Box::new(SplitMix64::new(plan.seed ^ seed)))
        };
        Self {
            now: Instant::ZERO,
            rng: SplitMix64::new(plan.luck),
            weather: plan.weather,
            agents: [agent(1 << 32), agent(2 << 32)],
            apps: [App::new(opening(plan.weather, 0)), App::new(opening(plan.weather, 1))],
            watch: Watch::default(),
            wire: BTreeMap::new(),
            sent: 0,
            silent_until: Instant::ZERO,
            torn: HashSet::new(),
            steps: Steps::default(),
            log: log.then(Vec::new),
        }
    }

    /// The commands, in rounds: after each both ends are left alone and have to agree; then all is ended.
    pub fn run(&mut self, plan: &Plan) -> Result<Steps, String> {
        for round in &plan.rounds {
            for command in round {
                self.pass(command.pause)?;
                self.command(command)?;
            }
            self.pass(QUIET)?;
            self.agree()?;
            for who in [0, 1] {
                self.note(|| format!("{who} ends everything"));
                self.apps[who].end_all(&mut self.agents[who].at(self.now))?;
                self.drain(who)?;
            }
            self.pass(QUIET)?;
            self.nothing_left()?;
            self.torn.clear();
        }
        Ok(std::mem::take(&mut self.steps))
    }

    pub fn ladder(&self) -> String {
        self.log.iter().flatten().map(|line| format!("{line}\n")).collect()
    }

    fn command(&mut self, command: &Command) -> Check {
        self.steps.all += 1;
        self.note(|| format!("{command:?}"));
        let mut could = true;
        match command.verb {
            Verb::Silence => {
                self.silent_until = self.now + Duration::from_secs(1 + command.how % 60);
                self.tear();
            }
            Verb::FlowFailure => {
                self.tear();
                self.wire.clear();
                self.watch.flow_failed();
                for who in [0, 1] {
                    self.agents[who].handle_flow_failed(self.now, opening(self.weather, who).flow);
                    self.drain(who)?;
                }
            }
            _ => {
                let who = command.who;
                let done = self.apps[who].command(&mut self.agents[who].at(self.now), command);
                self.note(|| format!("    {done:?}"));
                self.drain(who)?;
                could = done == Ok(true);
            }
        }
        *self.steps.done.entry(command.verb).or_default() += usize::from(could);
        Ok(())
    }

    /// Lets all happen that is due until then.
    fn pass(&mut self, pause: Duration) -> Check {
        let until = self.now + pause;
        loop {
            let wire = self.wire.keys().next().map(|(at, _)| *at);
            let timers = self.agents.iter().map(UserAgent::poll_timeout);
            let next = timers.chain([wire]).flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            self.step()?;
        }
        self.now = until;
        Ok(())
    }

    fn step(&mut self) -> Check {
        self.steps.all += 1;
        for who in [0, 1] {
            if self.agents[who].poll_timeout().is_some_and(|at| at <= self.now) {
                self.agents[who].handle_timeout(self.now);
                self.drain(who)?;
                if self.agents[who].poll_timeout().is_some_and(|at| at <= self.now) {
                    return Err(format!("{who}: a timer stays due"));
                }
            }
        }
        if let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (who, bytes) = entry.remove();
            let message = Message::parse(&bytes, &Limits::default()).map_err(|error| format!("{error:?}"))?;
            self.note(|| format!("-> {who}  {}", describe(&message)));
            let strays = self.agents[who].endpoint().counts().stray_responses;
            let flow = opening(self.weather, who).flow;
            self.agents[who].handle_receive(self.now, Receive { flow, bytes: &bytes });
            if self.agents[who].endpoint().counts().stray_responses == strays {
                self.watch.delivered(who, &message);
            }
            self.drain(who)?;
        }
        Ok(())
    }

    /// Takes out what an end has to say, to the other one and to its application.
    fn drain(&mut self, who: usize) -> Check {
        loop {
            let mut busy = false;
            while let Some(transmit) = self.agents[who].poll_transmit() {
                busy = true;
                self.send(who, &transmit.bytes)?;
            }
            while let Some(event) = self.agents[who].poll_event() {
                busy = true;
                self.note(|| format!("{who} hears {}", crate::app::name(&event)));
                if let Event::ModifyFailed { leg, changed: true, .. } = &event
                    && let Some(call) = self.apps[who].call_id(leg.session)
                {
                    self.watch.may_be_at_odds(who, call);
                }
                self.apps[who].hear(event).map_err(|what| format!("{who}: {what}"))?;
            }
            if !busy {
                break;
            }
        }
        self.apps[who].learn_call_id(&self.watch, who);
        self.bounded(who)
    }

    fn send(&mut self, who: usize, bytes: &[u8]) -> Check {
        let message = Message::parse(bytes, &Limits::default()).map_err(|error| format!("{who} sent {error:?}"))?;
        let to = 1 - who;
        let copies = match self.weather {
            _ if self.now < self.silent_until => 0,
            weather if weather.reliable => 1,
            weather if self.rng.below(100) < weather.loss => 0,
            weather => 1 + u64::from(self.rng.below(100) < weather.doubled),
        };
        let fate = ["lost", "", "twice"][copies as usize];
        self.note(|| format!("{who} -> {to}  {} {fate}", describe(&message)));
        self.watch.sent(who, &message)?;
        for _ in 0..copies {
            let way = if self.weather.reliable { 20 } else { 5 + self.rng.below(self.weather.delay) };
            self.sent += 1;
            self.wire.insert((self.now + Duration::from_millis(way), self.sent), (to, bytes.to_vec()));
        }
        Ok(())
    }

    /// What is under way may end differently at the two ends.
    fn tear(&mut self) {
        let open = self.apps.iter().flat_map(|app| app.calls());
        self.torn.extend(open.map(str::to_owned));
    }

    /// No end holds more than its application knows of, but for what is on its way out.
    fn bounded(&self, who: usize) -> Check {
        let (counts, app) = (self.agents[who].counts(), &self.apps[who]);
        let usages = counts.sessions + counts.subscriptions;
        if counts.sessions != app.sessions() {
            return Err(format!("{who} holds {counts:?}, the application knows {} sessions", app.sessions()));
        }
        if counts.dialogs > 2 * usages || counts.timers > 64 + 16 * usages {
            return Err(format!("{who} holds {counts:?}"));
        }
        Ok(())
    }

    /// After quiet: the same calls stand at both ends, with the same descriptions, and nobody owes anything.
    fn agree(&mut self) -> Check {
        let [one, other] = [0, 1].map(|who| self.apps[who].calls().map(str::to_owned).collect::<HashSet<_>>());
        for call in one.union(&other).filter(|call| !self.torn.contains(*call)) {
            if !(one.contains(call) && other.contains(call)) {
                return Err(format!("call {call} stands at one end only"));
            }
            self.watch.agree(call)?;
            self.steps.agreed += 1;
        }
        self.watch.all_acknowledged()
    }

    fn nothing_left(&mut self) -> Check {
        for who in [0, 1] {
            let (counts, endpoint) = (self.agents[who].counts(), self.agents[who].endpoint().counts());
            let left = counts.sessions + counts.subscriptions + counts.dialogs + counts.transactions + counts.timers;
            if left + endpoint.transactions() + endpoint.timers > 0 {
                return Err(format!("{who} is left with {counts:?}, {endpoint:?}"));
            }
            self.apps[who].nothing_left().map_err(|what| format!("{who}: {what}"))?;
        }
        self.watch.all_acknowledged()?;
        self.watch = Watch::default();
        Ok(())
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3}  {}", self.now.as_nanos() as f64 / 1e9, line()));
        }
    }
}

/// How one end calls the other.
fn opening(weather: Weather, who: usize) -> Opening {
    let (transport, suffix) = if weather.reliable { (Transport::Tcp, ";transport=tcp") } else { (Transport::Udp, "") };
    let address = |who: usize| SocketAddr::from(([192, 0, 2, 1 + who as u8], 5060));
    let name = |who: usize| ["alice", "bob"][who];
    let to = 1 - who;
    Opening {
        target: format!("sip:{}@{}{suffix}", name(to), address(to)).into(),
        from: format!("<sip:{}@example.org>", name(who)).into(),
        to: format!("<sip:{}@example.org>", name(to)).into(),
        contact: format!("<sip:{}@{}{suffix}>", name(who), address(who)).into(),
        route_set: Vec::new(),
        flow: Flow { id: FlowId::new(0, 1, 1), transport, local: address(who), remote: address(to) },
        account: None,
    }
}
