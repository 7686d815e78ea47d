//! Packets through the relay: as many as it can take, or bursts at a rate.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use clap::Args;

use crate::lane::{self, Direction, Lanes};
use crate::socket::{self, Inbox, Poll};
use crate::{Failure, Server, process, result};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: Server,
    #[arg(long, value_enum, default_value_t = Direction::Up)]
    direction: Direction,
    #[arg(long, default_value_t = 200)]
    flows: usize,
    /// Bytes of a packet, as the peer sees it.
    #[arg(long, default_value_t = 172)]
    payload: usize,
    /// Packets that a flow sends in its turn.
    #[arg(long, default_value_t = 1)]
    train: usize,
    /// A train leaves in one call (GSO), and trains may arrive as such (GRO).
    #[arg(long)]
    together: bool,
    /// Trains of each flow that may be on their way at once.
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Packets per second of all flows, in bursts of a train at random times; 0 is as many as the server can take.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// How long is measured, after a start of 300 ms.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

const WARM_UP: Duration = Duration::from_millis(300);
/// When nothing has arrived for so long, what is on its way is lost.
const STALL: Duration = Duration::from_millis(20);
/// How long stragglers are waited for at the end.
const PATIENCE: Duration = Duration::from_millis(500);

pub fn run(options: &Options) -> Result<(), Failure> {
    let mut lanes = lane::open(&options.server, options.direction, options.flows, options.payload)?;
    if options.together {
        for lane in &mut lanes.lanes {
            lane.datagram = lane.datagram.repeat(options.train);
        }
        for socket in lanes.senders() {
            socket::send_trains(socket, lanes.lanes[0].datagram.len() / options.train)?;
        }
        for socket in &lanes.ends {
            socket::receive_trains(socket)?;
        }
    }
    let mut arrivals = Arrivals::new(&lanes, options.together)?;
    let pid = options.server.pid;
    let seconds = Duration::from_secs_f64(options.seconds);
    let mut sender = Sender::new(options, &lanes);
    sender.run(&mut arrivals, WARM_UP);
    let (cpu, began, before) = (process::cpu_us(pid)?, Instant::now(), (sender.sent, arrivals.count));
    sender.run(&mut arrivals, seconds);
    let (cpu, took) = (process::cpu_us(pid)? - cpu, began.elapsed().as_secs_f64());
    let delivered = (arrivals.count - before.1) as f64;
    let sent = (sender.sent - before.0) as f64;
    let end = Instant::now() + PATIENCE;
    while arrivals.count < sender.sent && Instant::now() < end {
        arrivals.collect();
    }
    result::print(&[
        ("us_per_packet", cpu / delivered.max(1.0)),
        ("delivered_per_s", delivered / took),
        ("sent_per_s", sent / took),
        ("lost_percent", 100.0 * sender.sent.saturating_sub(arrivals.count) as f64 / sender.sent.max(1) as f64),
        ("lost", sender.sent.saturating_sub(arrivals.count) as f64),
        ("wrong", arrivals.wrong as f64),
        ("busy_percent", cpu / took / 10_000.0),
        ("worst_lag_ms", sender.lag.as_secs_f64() * 1000.0),
    ]);
    Ok(())
}

/// What arrives, counted and compared with what was sent.
struct Arrivals<'a> {
    lanes: &'a Lanes,
    poll: Option<Poll>,
    inbox: Inbox,
    count: u64,
    wrong: u64,
}

impl<'a> Arrivals<'a> {
    fn new(lanes: &'a Lanes, together: bool) -> Result<Self, Failure> {
        let mut poll = None;
        if lanes.ends.len() > 1 {
            let all = Poll::new()?;
            lanes.ends.iter().enumerate().try_for_each(|(name, socket)| all.add(socket, name))?;
            poll = Some(all);
        }
        let inbox = Inbox::new(64, if together { 65536 } else { 2048 });
        Ok(Self { lanes, poll, inbox, count: 0, wrong: 0 })
    }

    /// Takes what is there; whether there was anything.
    fn collect(&mut self) -> bool {
        let before = self.count;
        let Self { lanes, poll, inbox, count, wrong } = self;
        let mut take = |end: usize| {
            for bytes in inbox.receive(lanes.ends[end].as_raw_fd()) {
                *count += bytes.len().div_ceil(lanes.arrives) as u64;
                let number = bytes.get(lanes.head..lanes.head + 4).and_then(|bytes| bytes.first_chunk());
                let number = number.map_or(usize::MAX, |number| u32::from_be_bytes(*number) as usize);
                let expected = if lanes.ends.len() == 1 { number < lanes.lanes.len() } else { number == end };
                *wrong += u64::from(!expected || !bytes.len().is_multiple_of(lanes.arrives));
            }
        };
        match poll {
            None => take(0),
            Some(poll) => poll.wait(0).for_each(take),
        }
        self.count > before
    }
}

struct Sender<'a> {
    options: &'a Options,
    lanes: &'a Lanes,
    next: usize,
    sent: u64,
    given_up: u64,
    random: u64,
    lag: Duration,
}

impl<'a> Sender<'a> {
    fn new(options: &'a Options, lanes: &'a Lanes) -> Self {
        Self { options, lanes, next: 0, sent: 0, given_up: 0, random: 1, lag: Duration::ZERO }
    }

    fn run(&mut self, arrivals: &mut Arrivals<'_>, how_long: Duration) {
        if self.options.rate > 0.0 {
            self.at_a_rate(arrivals, how_long);
        } else {
            self.all_it_can_take(arrivals, how_long);
        }
    }

    /// Each flow in its turn, as long as no more is on its way than the window allows.
    fn all_it_can_take(&mut self, arrivals: &mut Arrivals<'_>, how_long: Duration) {
        let most = (self.options.window * self.options.train * self.lanes.lanes.len()) as u64;
        let train = self.options.train as u64;
        let end = Instant::now() + how_long;
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return;
            }
            // In small groups, so that what arrives is not left waiting.
            for _ in 0..16 {
                if self.sent + train > arrivals.count + self.given_up + most {
                    break;
                }
                self.turn();
            }
            if arrivals.collect() {
                heard = now;
            } else if now - heard > STALL {
                self.given_up = self.sent.saturating_sub(arrivals.count);
                heard = now;
            }
        }
    }

    /// Bursts of one flow after another, independent of what arrives; the times between are exponential.
    fn at_a_rate(&mut self, arrivals: &mut Arrivals<'_>, how_long: Duration) {
        let between = self.options.train as f64 / self.options.rate;
        let began = Instant::now();
        let mut due = Duration::ZERO;
        while due < how_long {
            let now = began.elapsed();
            if now >= due {
                self.lag = self.lag.max(now - due);
                self.turn();
                due += Duration::from_secs_f64(-between * (1.0 - self.uniform()).ln());
                self.next = (self.uniform() * self.lanes.lanes.len() as f64) as usize;
            }
            arrivals.collect();
        }
    }

    fn turn(&mut self) {
        let lane = &self.lanes.lanes[self.next];
        let calls = if self.options.together { 1 } else { self.options.train };
        let each = (self.options.train / calls) as u64;
        for _ in 0..calls {
            if socket::send(lane.from, &lane.datagram, lane.to.as_ref()) {
                self.sent += each;
            }
        }
        self.next = (self.next + 1) % self.lanes.lanes.len();
    }

    /// Below 1, from a fixed course.
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}
