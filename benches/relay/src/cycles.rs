//! Allocate (with the challenge), refresh, release, from a new port each time: how many a second.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use clap::Args;
use farspeak_stun::long_term::{Credentials, Verdict};
use farspeak_stun::{Attribute, Class, Message, Method};

use crate::client::{LONGEST, refusal, write};
use crate::socket::Poll;
use crate::{Failure, Server, process, result};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: Server,
    /// Clients that are busy at once.
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Cycles that one port does before another takes its place; the challenge comes with the first only.
    #[arg(long, default_value_t = 1)]
    per_port: u32,
}

/// A request is repeated after so long.
const REPEAT: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Allocating,
    Refreshing,
    Releasing,
}

struct Cycle {
    socket: UdpSocket,
    credentials: Credentials,
    state: State,
    request: Vec<u8>,
    sent: Instant,
    done: u32,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let pid = options.server.pid;
    let mut poll = Poll::new()?;
    let mut cycles = Vec::new();
    for name in 0..options.at_once {
        cycles.push(Cycle::open(options, &poll, name, 0)?);
    }
    let (mut done, mut repeats, mut errors) = (0_u64, 0_u64, Vec::new());
    let (cpu, began) = (process::cpu_us(pid)?, Instant::now());
    let mut looked = began;
    let mut opened = 0;
    while began.elapsed().as_secs_f64() < options.seconds {
        let ready: Vec<usize> = poll.wait(10).collect();
        for name in ready {
            let cycle = &mut cycles[name];
            match cycle.answered() {
                Ok(true) => {
                    done += 1;
                    cycle.done += 1;
                    if cycle.done == options.per_port {
                        opened += 1;
                        *cycle = Cycle::open(options, &poll, name, opened)?;
                    } else {
                        cycle.state = State::Allocating;
                        cycle.ask()?;
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    errors.push(error.to_string());
                    opened += 1;
                    *cycle = Cycle::open(options, &poll, name, opened)?;
                }
            }
        }
        if looked.elapsed() > REPEAT / 5 {
            looked = Instant::now();
            for cycle in cycles.iter_mut().filter(|cycle| cycle.sent.elapsed() > REPEAT) {
                repeats += 1;
                cycle.sent = Instant::now();
                cycle.socket.send(&cycle.request)?;
            }
        }
    }
    let (cpu, took) = (process::cpu_us(pid)? - cpu, began.elapsed().as_secs_f64());
    if let Some(first) = errors.first() {
        eprintln!("{} errors; the first: {first}", errors.len());
    }
    result::print(&[
        ("cycles_per_s", done as f64 / took),
        ("us_per_cycle", cpu / done.max(1) as f64),
        ("errors", errors.len() as f64),
        ("repeats", repeats as f64),
        ("busy_percent", cpu / took / 10_000.0),
    ]);
    Ok(())
}

impl Cycle {
    /// A new client; each has addresses of its own in many prefixes, and its ports come round after 20,000.
    fn open(options: &Options, poll: &Poll, name: usize, opened: usize) -> Result<Self, Failure> {
        let port = 10_000 + (opened % 20_000) as u16;
        let socket = UdpSocket::bind(SocketAddrV4::new(
            Ipv4Addr::new(127, 2, (opened % 250) as u8, 1 + (name % 250) as u8),
            port,
        ))?;
        socket.set_nonblocking(true)?;
        socket.connect(options.server.server)?;
        poll.add(&socket, name)?;
        let credentials = Credentials::new(&options.server.user, &options.server.password);
        let state = State::Allocating;
        let mut cycle = Self { socket, credentials, state, request: Vec::new(), sent: Instant::now(), done: 0 };
        cycle.ask()?;
        Ok(cycle)
    }

    fn ask(&mut self) -> Result<(), Failure> {
        let (method, attribute) = match self.state {
            State::Allocating => (Method::ALLOCATE, Attribute::RequestedTransport(17)),
            State::Refreshing => (Method::REFRESH, Attribute::Lifetime(600)),
            State::Releasing => (Method::REFRESH, Attribute::Lifetime(0)),
        };
        self.request = write(&mut [0; LONGEST], method, &[attribute], &self.credentials)?.to_vec();
        self.sent = Instant::now();
        self.socket.send(&self.request)?;
        Ok(())
    }

    /// Takes an answer and asks the next; whether the cycle is over.
    fn answered(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; LONGEST];
        let Ok(got) = self.socket.recv(&mut buffer) else { return Ok(false) };
        let (request, response) = (Message::parse(&self.request)?, Message::parse(&buffer[..got])?);
        if request.transaction_id() != response.transaction_id() {
            return Ok(false);
        }
        match self.credentials.judge(&request, &response) {
            Verdict::Retry => {}
            Verdict::Accept if response.class() == Class::Success => match self.state {
                State::Allocating => self.state = State::Refreshing,
                State::Refreshing => self.state = State::Releasing,
                State::Releasing => return Ok(true),
            },
            verdict => {
                return Err(format!("{:?}: {}", self.state, refusal(request.method(), &response, verdict)).into());
            }
        }
        self.ask()?;
        Ok(false)
    }
}
