//! Sends packets through a TURN server to an echo of its own and prints one line of JSON.
//!
//! ```text
//! turn_client udp|tcp|tls SERVER:PORT USER PASSWORD [OPTION..]
//!   --families any|4|6|both   relayed addresses to ask for (any)        --packets N    echoes to wait for (100)
//!   --echo ADDRESS            where the echo binds, per family           --size N       bytes of each (160)
//!                             (127.0.0.1, ::1)                           --timeout S    for everything (30)
//!   --indications             no channel                                 --even         an even port, its successor reserved
//!   --lifetime S              of the allocation                          --dont-fragment
//!   --pause S                 halfway, then a second peer                --move         halfway: another socket or connection
//!   --connect                 relayed TCP (RFC 6062)                     --listen       the same, the peer connects to us
//!   --ca FILE --name NAME     for TLS: whom to trust, who it must be (localhost)
//! ```
//!
//! The exit status is 0 if all echoes came and the allocation was given back.

#[path = "turn_client/echo.rs"]
mod echo;
#[path = "turn_client/links.rs"]
mod links;
#[path = "turn_client/options.rs"]
mod options;
#[path = "../../sansio/examples/support/random.rs"]
mod random;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant as Clock};

use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit};
use farspeak_turn::client::{Allocated, Client, Event, SendError};

use links::Links;
use options::Options;
use random::SystemRandom;

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("turn_client: {problem}");
            return ExitCode::from(2);
        }
    };
    match Run::new(options).and_then(Run::go) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{{\"ok\": false, \"error\": {:?}}}", problem.to_string());
            ExitCode::FAILURE
        }
    }
}

type Problem = Box<dyn std::error::Error>;

/// A peer that returns everything, and what it was sent.
struct Peer {
    address: SocketAddr,
    ready: bool,
    /// With relayed TCP: what carries its bytes, and those that wait for the rest of an echo.
    stream: Option<Flow>,
    partial: Vec<u8>,
    sent: u32,
    /// The number of the last echo, and how many have come.
    heard: u32,
    echoed: u32,
    last: Clock,
}

impl Peer {
    const fn new(address: SocketAddr, began: Clock) -> Self {
        Self { address, ready: false, stream: None, partial: Vec::new(), sent: 0, heard: 0, echoed: 0, last: began }
    }
}

struct Run {
    options: Options,
    began: Clock,
    client: Client,
    links: Links,
    peers: Vec<Peer>,
    allocated: Option<Allocated>,
    moved: u32,
    halfway: bool,
    released: bool,
    round_trips: Vec<Duration>,
}

impl Run {
    fn new(options: Options) -> Result<Self, Problem> {
        let mut links = Links::new(&options)?;
        let flow = links.open()?;
        let client = Client::new(options.client.clone(), flow, Box::new(SystemRandom::new()?));
        let (peers, round_trips) = (Vec::new(), Vec::new());
        let began = Clock::now();
        let (allocated, moved, halfway, released) = (None, 0, false, false);
        Ok(Self { options, began, client, links, peers, allocated, moved, halfway, released, round_trips })
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.began.elapsed().as_nanos() as u64)
    }

    fn go(mut self) -> Result<String, Problem> {
        self.client.allocate(self.now());
        while !self.released {
            if self.began.elapsed() > self.options.timeout {
                return Err(format!("not done in time: {}", self.line(false)).into());
            }
            self.turn()?;
        }
        let all = self.echoed() >= self.options.packets;
        if all { Ok(self.line(true)) } else { Err(format!("echoes are missing: {}", self.line(false)).into()) }
    }

    /// What a driver does: receive, tell the time, send, listen to events.
    fn turn(&mut self) -> Result<(), Problem> {
        for (flow, bytes) in self.links.receive() {
            match bytes {
                Some(bytes) => self.received(flow, &bytes),
                None => self.client.handle_flow_failed(self.now(), flow),
            }
        }
        if self.client.poll_timeout().is_some_and(|at| at <= self.now()) {
            self.client.handle_timeout(self.now());
        }
        while let Some(event) = self.client.poll_event() {
            self.handle(event)?;
        }
        self.send()?;
        while let Some(transmit) = self.client.poll_transmit() {
            self.links.send(&transmit)?;
        }
        Ok(())
    }

    fn received(&mut self, flow: Flow, bytes: &[u8]) {
        if let Some(at) = self.peers.iter().position(|peer| peer.stream == Some(flow)) {
            self.peers[at].partial.extend_from_slice(bytes);
            if self.peers[at].partial.len() >= self.options.size {
                let echo = std::mem::take(&mut self.peers[at].partial);
                self.echoed_by(at, &echo);
            }
            return;
        }
        let Some(data) = self.client.receive(self.now(), Receive { flow, bytes }) else { return };
        if let Some(at) = self.peers.iter().position(|peer| peer.address == data.peer) {
            self.echoed_by(at, data.bytes);
        }
    }

    fn echoed_by(&mut self, at: usize, bytes: &[u8]) {
        let peer = &mut self.peers[at];
        if bytes.len() == self.options.size && bytes.starts_with(&peer.sent.to_be_bytes()) {
            self.round_trips.push(peer.last.elapsed());
            peer.echoed += 1;
            peer.heard = peer.sent;
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Problem> {
        match event {
            Event::Allocated(allocated) => {
                for relayed in &allocated.relayed {
                    self.add_peer(relayed.ip())?;
                }
                self.allocated = Some(allocated);
            }
            Event::Permitted { .. } if self.options.listens => {
                let relayed = self.client.relayed()[0];
                echo::connect(relayed);
            }
            Event::Offered { connection, .. } => {
                let stream = self.links.open()?;
                self.client.accept(self.now(), connection, stream);
            }
            Event::Joined { peer, stream } => {
                self.links.unframe(stream);
                if self.options.listens {
                    self.peers.push(Peer::new(peer, self.began));
                }
                for known in self.peers.iter_mut().filter(|known| known.address == peer) {
                    (known.stream, known.ready) = (Some(stream), true);
                }
            }
            Event::NotConnected { peer, failure } => return Err(format!("{peer}: {failure}").into()),
            Event::Permitted { peer } if self.options.indications => {
                self.peers.iter_mut().filter(|known| known.address.ip() == peer).for_each(|known| known.ready = true);
            }
            Event::Bound { peer, .. } => {
                self.peers.iter_mut().filter(|known| known.address == peer).for_each(|known| known.ready = true);
            }
            Event::Moved => self.moved += 1,
            Event::Released => self.released = true,
            Event::Failed(why) | Event::Lost(why) => return Err(why.into()),
            Event::NotPermitted { peer, failure } => return Err(format!("{peer}: {failure}").into()),
            Event::NotBound { peer, failure } => return Err(format!("{peer}: {failure}").into()),
            _ => {}
        }
        Ok(())
    }

    fn add_peer(&mut self, like: IpAddr) -> Result<(), Problem> {
        let echo = self.options.echo.iter().find(|echo| echo.is_ipv4() == like.is_ipv4());
        let echo = *echo.ok_or("no address for the echo")?;
        let address = match self.options.client.streams {
            // The peer's address is known when it has connected.
            true if self.options.listens => {
                self.client.permit(self.now(), echo);
                return Ok(());
            }
            true => {
                let address = echo::accept(echo)?;
                self.client.connect(self.now(), address);
                address
            }
            false => echo::datagrams(echo)?,
        };
        if self.options.indications {
            self.client.permit(self.now(), address.ip());
        } else if !self.options.client.streams {
            self.client.bind(self.now(), address);
        }
        let ready = self.options.indications && self.peers.iter().any(|peer| peer.address.ip() == address.ip());
        self.peers.push(Peer { ready, ..Peer::new(address, self.began) });
        Ok(())
    }

    fn echoed(&self) -> u32 {
        self.peers.iter().map(|peer| peer.echoed).sum()
    }

    /// The next packet to each peer whose echo has come, or is lost.
    fn send(&mut self) -> Result<(), Problem> {
        const LOST: Duration = Duration::from_millis(250);
        if self.client.is_releasing() || self.allocated.is_none() {
            return Ok(());
        }
        if self.echoed() >= self.options.packets {
            self.client.release(self.now());
            return Ok(());
        }
        if self.echoed() >= self.options.packets / 2 && !std::mem::replace(&mut self.halfway, true) {
            self.do_halfway()?;
        }
        let now = self.now();
        let patience = if self.options.client.streams { self.options.timeout } else { LOST };
        for peer in self
            .peers
            .iter_mut()
            .filter(|peer| peer.ready && (peer.sent == peer.heard || peer.last.elapsed() > patience))
        {
            peer.sent += 1;
            peer.last = Clock::now();
            let mut data = vec![0; self.options.size];
            data[..4].copy_from_slice(&peer.sent.to_be_bytes());
            if let Some(flow) = peer.stream {
                self.links.send(&Transmit { flow, bytes: data.into() })?;
                continue;
            }
            match self.client.send(now, peer.address, &data) {
                Ok(()) | Err(SendError::Waiting | SendError::NotAllocated) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn do_halfway(&mut self) -> Result<(), Problem> {
        if let Some(pause) = self.options.pause {
            let until = Clock::now() + pause;
            while Clock::now() < until {
                std::thread::sleep(Duration::from_millis(5));
                if self.client.poll_timeout().is_some_and(|at| at <= self.now()) {
                    self.client.handle_timeout(self.now());
                }
                while let Some(transmit) = self.client.poll_transmit() {
                    self.links.send(&transmit)?;
                }
                for (flow, bytes) in self.links.receive() {
                    bytes.iter().for_each(|bytes| self.received(flow, bytes));
                }
            }
            let like = self.peers[0].address.ip();
            self.add_peer(like)?;
        }
        if self.options.moves {
            let flow = self.links.open()?;
            self.client.moved(self.now(), flow);
        }
        Ok(())
    }

    fn line(&mut self, ok: bool) -> String {
        self.round_trips.sort();
        let median = self.round_trips.get(self.round_trips.len() / 2).map_or(0, Duration::as_micros);
        let relayed = self.allocated.as_ref().map(|allocated| &allocated.relayed[..]).unwrap_or_default();
        let relayed: Vec<_> = relayed.iter().map(|address| format!("\"{address}\"")).collect();
        let lifetime = self.allocated.as_ref().map_or(0, |allocated| allocated.lifetime.as_secs());
        let missing = self.allocated.as_ref().and_then(|allocated| allocated.missing).map_or(0, |(_, code)| code);
        let reserved = self.allocated.as_ref().is_some_and(|allocated| allocated.reservation.is_some());
        let mobile = self.allocated.as_ref().is_some_and(|allocated| allocated.mobile);
        format!(
            "{{\"ok\": {ok}, \"transport\": \"{}\", \"relayed\": [{}], \"missing\": {missing}, \"lifetime\": {lifetime}, \"reserved\": {reserved}, \
             \"mobile\": {mobile}, \"moved\": {}, \"sent\": {}, \"echoed\": {}, \"median_us\": {median}, \"challenged\": {}, \
             \"released\": {}}}",
            self.options.transport,
            relayed.join(", "),
            self.moved,
            self.peers.iter().map(|peer| peer.sent).sum::<u32>(),
            self.echoed(),
            self.client.challenges(),
            self.released,
        )
    }
}
