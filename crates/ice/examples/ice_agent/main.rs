//! An ICE agent for the command line: tries whether two ends connect, and tells how.
//!
//! What the other end must know comes out as lines and goes in as lines, carried by whatever signalling there is:
//!
//! ```text
//! lite                             only if this end is lite; the first line then
//! ufrag 8hhY…                      credentials: these two before all candidates
//! pwd asd88fgpdd777uzjYhagZg…
//! candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host
//! end                              of candidates
//! ```
//!
//! With `--map-ports` the router is asked to open the sockets' ports (PCP, NAT-PMP, UPnP): it is somebody's, so not unasked.
//! They are given back at the end.
//!
//! A line `restart` makes it begin anew with other credentials (RFC 8445 §9); other credentials from the peer do as well.
//!
//! ```text
//! cargo run -p farspeak-ice --example ice_agent -- --controlling --turn turns:relay.example:443 --user alice --password …
//! ```
//!
//! When the agents have selected a way, each sends packets and echoes those of the other; packets of another kind are counted.
//! Ends when its input ends.

mod options;
#[path = "../../../sansio/examples/support/random.rs"]
mod random;
mod router;
mod talk;

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Write};
use std::rc::Rc;
use std::time::Duration;

use farspeak_ice::port_mapping::PortMapper;
use farspeak_ice::{Agent, Candidate, Credentials, Event, Interface, Mode, RemoteOptions, SendError, State};
use farspeak_net::{Clock, Framed, Framer, Framing, Peer, PeerConfig, PeerHandle};
use farspeak_sansio::{Instant, Machine};
use farspeak_stun::framing::{self, StreamFramer};
use options::Options;
use random::SystemRandom;
use talk::Talk;
use tokio::sync::Notify;
use tokio::task::LocalSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(run(options)))
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let agent = Agent::new(options.agent.clone(), Box::new(SystemRandom::new()?));
    let config = PeerConfig { tls: options.tls.clone(), ..PeerConfig::default() };
    let user = Rc::new(User::new(&options));
    let lite = options.agent.mode == Mode::Lite;
    let hearing = Rc::clone(&user);
    let clock = Clock::start();
    let (mut peer, handle) = Peer::new(agent, Stun, config, clock, move |_, agent, now, event| {
        hearing.hear(agent, now, event);
    });
    let sockets = peer.with(|context, agent, now| -> io::Result<_> {
        for (server, name) in &options.names {
            context.name_server(*server, name.clone());
        }
        introduce(agent, lite);
        let mut sockets = Vec::new();
        for own in options.addresses()? {
            for component in 1..=options.agent.components {
                let local = context.bind(own.address)?;
                agent.add_socket(now, component, local, Interface::default());
                sockets.push(local);
            }
        }
        if !options.map_ports {
            agent.sockets_complete(now);
        }
        Ok(sockets)
    })?;
    let mappers = if options.map_ports { router::ask(&handle, &user, clock, &sockets)? } else { Vec::new() };
    let input = handle.clone();
    std::thread::spawn(move || read_signalling(&input, &mappers, lite));
    let talking = talk::talk(handle, user, options.packets);
    tokio::select! {
        _ = peer.run() => {}
        () = talking => unreachable!("it talks until it is dropped"),
    }
    Ok(())
}

/// What the example does with what the agent tells.
struct User {
    json: bool,
    components: u16,
    /// When the peer's credentials came.
    remote: Cell<Option<Instant>>,
    talk: RefCell<Talk>,
    /// Answers to the peer's packets, by component.
    echoes: RefCell<Vec<(u16, Vec<u8>)>>,
    /// Every component has its way.
    ready: Notify,
}

impl User {
    fn new(options: &Options) -> Self {
        Self {
            json: options.json,
            components: options.agent.components,
            remote: Cell::default(),
            talk: RefCell::default(),
            echoes: RefCell::default(),
            ready: Notify::new(),
        }
    }

    fn hear(&self, agent: &mut Agent, now: Instant, event: Event) {
        match event {
            Event::LocalCandidate(candidate) => say(&candidate.to_string()),
            Event::EndOfCandidates => say("end"),
            Event::StateChanged(state) => {
                if state == State::Checking {
                    self.remote.set(Some(now));
                }
                self.tell("state", now, &[("state", quoted(&format!("{state:?}").to_lowercase()))]);
                if state == State::Completed {
                    self.ready.notify_one();
                }
            }
            Event::Selected { component, local, remote, relayed } => {
                let details = [
                    ("component", component.to_string()),
                    ("local", quoted(&local.to_string())),
                    ("remote", quoted(&remote.to_string())),
                    ("relayed", relayed.to_string()),
                ];
                self.tell("selected", now, &details);
            }
            Event::Data { component, bytes } => {
                let answer = self.talk.borrow_mut().hear(now, component, &bytes);
                self.echoes.borrow_mut().extend(answer.map(|answer| (component, answer)));
                let others = self.talk.borrow().others.get(&component).copied();
                if let Some(packets) = others.filter(|packets| packets % 25 == 0) {
                    self.tell("heard", now, &[("component", component.to_string()), ("packets", packets.to_string())]);
                }
            }
            Event::RoleChanged { controlling } => self.tell("role", now, &[("controlling", controlling.to_string())]),
            Event::ConsentLost { component } => {
                self.tell("consent lost", now, &[("component", component.to_string())]);
            }
            Event::ServerFailed { server, reason } => {
                let details = [("server", quoted(&server.to_string())), ("reason", quoted(&format!("{reason:?}")))];
                self.tell("server failed", now, &details);
            }
            // No multicast DNS here: names are of no use.
            Event::Resolve { name } => agent.resolved(now, &name, &[]),
            _ => {}
        }
        // The peer may have its way before we have ours: what cannot be answered yet waits for the next event.
        self.echoes.borrow_mut().retain(|(component, answer)| {
            let sent = agent.send(now, *component, answer);
            sent == Err(SendError::NotConnected)
        });
    }

    /// A line for whoever watches: JSON on standard output, else words on standard error. Milliseconds count from the
    /// peer's credentials.
    fn tell(&self, event: &str, now: Instant, details: &[(&str, String)]) {
        let since = self.remote.get().map_or(Duration::ZERO, |remote| now - remote).as_millis();
        if self.json {
            let details: String = details.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
            say(&format!("{{\"event\":\"{event}\",\"ms\":{since}{details}}}"));
        } else {
            let details: String = details.iter().map(|(name, value)| format!(" {name} {value}")).collect();
            eprintln!("{since:6} ms  {event}:{details}");
        }
    }
}

/// The first lines for the other end, in each generation.
fn introduce(agent: &Agent, lite: bool) {
    if lite {
        say("lite");
    }
    let own = agent.credentials();
    say(&format!("ufrag {}", own.ufrag()));
    say(&format!("pwd {}", own.password()));
}

/// Lines of the other end, until there are no more: then the agent ends.
fn read_signalling(handle: &PeerHandle<Agent>, mappers: &[PeerHandle<PortMapper>], lite: bool) {
    let mut options = RemoteOptions { trickle: true, ..RemoteOptions::default() };
    let mut ufrag = String::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let done = match line.trim().split_once(' ') {
            None if line.trim() == "lite" => {
                options.lite = true;
                Ok(())
            }
            None if line.trim() == "end" => handle.run(|_, agent, now| agent.end_of_remote_candidates(now)),
            None if line.trim() == "restart" => handle.run(move |_, agent, now| {
                agent.restart(now);
                introduce(agent, lite);
            }),
            Some(("ufrag", rest)) => {
                ufrag = rest.to_owned();
                Ok(())
            }
            Some(("pwd", password)) => match Credentials::new(&ufrag, password) {
                Ok(credentials) => handle.run(move |_, agent, now| {
                    let before = agent.credentials().clone();
                    agent.set_remote(now, &credentials, options);
                    if *agent.credentials() != before {
                        introduce(agent, lite); // the other end has restarted, and so have we
                    }
                }),
                Err(error) => return complain(&error),
            },
            _ => match line.parse::<Candidate>() {
                Ok(candidate) => handle.run(move |_, agent, now| agent.add_remote_candidate(now, candidate)),
                Err(error) => {
                    complain(&error); // it is ignored, the others stay (RFC 8839 §5.1)
                    Ok(())
                }
            },
        };
        if done.is_err() {
            return;
        }
    }
    end(handle, mappers);
}

/// Closes the agent, and lets it give back what it has at relays and routers.
fn end(agent: &PeerHandle<Agent>, mappers: &[PeerHandle<PortMapper>]) {
    let _ = agent.run(|_, agent, now| agent.close(now)); // it may have ended
    for mapper in mappers {
        let _ = mapper.run(|_, mapper, now| mapper.close(now));
    }
    for _ in 0..FAREWELLS {
        let mut mappers = mappers.iter();
        if is_done(agent, |agent| agent.poll_timeout().is_none()) && mappers.all(|of| is_done(of, PortMapper::is_idle))
        {
            break;
        }
        std::thread::sleep(FAREWELL / FAREWELLS);
    }
    let _ = agent.stop();
}

/// Asks a machine, from this thread; one that has ended is done.
fn is_done<M: Machine + 'static>(handle: &PeerHandle<M>, test: fn(&M) -> bool) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    let asked = handle.run(move |_, machine, _| {
        let _ = tell.send(test(machine)); // we wait for it below
    });
    asked.is_err() || told.recv().unwrap_or(true)
}

fn complain(error: &dyn std::error::Error) {
    eprintln!("ice_agent: {error}");
}

/// One line out, at once.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush()); // nobody listens any more: the input will end as well
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// Streams to TURN servers: STUN messages and ChannelData. Datagrams: whatever they are.
struct Stun;

#[derive(Default)]
struct StunStream {
    framer: StreamFramer,
    message: Vec<u8>,
}

impl Framer for StunStream {
    fn push(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
    }

    fn next(&mut self) -> Option<Framed<'_>> {
        let Some(framing::Framed::Stun(bytes) | framing::Framed::ChannelData(bytes)) = self.framer.next() else {
            let broken = || Framed::Broken { reply: None, reason: "neither STUN nor ChannelData".into() };
            return self.framer.is_lost().then(broken);
        };
        self.message.clear();
        self.message.extend_from_slice(bytes);
        Some(Framed::Message(self.message.as_slice().into()))
    }

    fn is_partial(&self) -> bool {
        self.framer.pending() > 0
    }
}

impl Framing for Stun {
    type Stream = StunStream;

    fn stream(&self) -> StunStream {
        StunStream::default()
    }

    fn datagram<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }

    fn websocket<'a>(&self, bytes: &'a [u8]) -> Framed<'a> {
        Framed::Message(bytes.into())
    }
}

/// How long relays and routers may take to answer a farewell, and how often to look.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELLS: u32 = 100;
