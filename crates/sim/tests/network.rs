//! Time, chance, datagrams, events, and the drawing.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Machine, Receive, TimerTable, Transmit, Transport};
use farspeak_sim::{Host, Link, Network, Probe};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Sends its message every 500 ms until it is answered, up to seven times; then says which of the two happened.
#[derive(Default)]
struct Asker {
    question: Option<Flow>,
    tries: u32,
    timers: Option<TimerTable<()>>,
    out: VecDeque<Transmit>,
    events: VecDeque<&'static str>,
}

impl Asker {
    fn ask(&mut self, now: Instant, flow: Flow) {
        self.question = Some(flow);
        self.send(now);
    }

    fn send(&mut self, now: Instant) {
        let Some(flow) = self.question else { return };
        if self.tries == 7 {
            self.question = None;
            return self.events.push_back("unanswered");
        }
        self.tries += 1;
        self.out.push_back(Transmit { flow, bytes: (*b"QUESTION").into() });
        self.timers.get_or_insert_with(|| TimerTable::new(&[])).arm(now, ms(500), ());
    }
}

impl Machine for Asker {
    type Event = &'static str;

    fn handle_receive(&mut self, _now: Instant, _received: Receive<'_>) {
        if self.question.take().is_some() {
            self.events.push_back("answered");
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let due = self.timers.as_mut().and_then(|timers| timers.pop_due(now));
        if due.is_some() {
            self.send(now);
        }
    }

    fn handle_flow_failed(&mut self, _now: Instant, _flow: Flow) {
        self.events.push_back("unreachable");
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.as_ref().and_then(TimerTable::next)
    }

    fn poll_event(&mut self) -> Option<&'static str> {
        self.events.pop_front()
    }
}

fn asker_and_echo(seed: u64) -> (Network, Host<Asker>, Host<Probe>) {
    let mut net = Network::new(seed);
    let alice = net.host("alice", ["192.0.2.1"], Asker::default());
    let bob = net.host("bob", ["192.0.2.2"], Probe::echo());
    net.bind(alice, Transport::Udp, 5060);
    net.bind(bob, Transport::Udp, 5060);
    net.on_event(alice, |_, context, event| context.note(event));
    net.residue_of(alice, |asker| asker.question.map(|_| "a question".to_owned()));
    (net, alice, bob)
}

fn ask(net: &mut Network, alice: Host<Asker>) {
    let flow = Flow::unbound(Transport::Udp, addr("192.0.2.1:5060"), addr("192.0.2.2:5060"));
    net.at(alice, |asker, now| asker.ask(now, flow));
}

#[test]
fn the_same_seed_gives_the_same_ladder() {
    let run = |seed| {
        let (mut net, alice, _) = asker_and_echo(seed);
        net.set_links(Link::default().loss(0.5).jitter(ms(30)).duplicate(0.1).reorder(0.1));
        for _ in 0..20 {
            ask(&mut net, alice);
            net.settled_within(Duration::from_secs(4));
            net.at(alice, |asker, _| asker.tries = 0);
        }
        net.ladder()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).lines().skip(1).collect::<Vec<_>>(), run(8).lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn the_drawing_reads_like_one_in_an_rfc() {
    let (mut net, alice, bob) = asker_and_echo(3);
    let carol = net.host("carol", ["192.0.2.3"], Probe::new());
    net.bind(carol, Transport::Udp, 5060);
    net.set_link_from(alice, bob, Link::default().loss(1.0));
    ask(&mut net, alice);
    net.run_for(ms(400));
    net.set_link_from(alice, bob, Link::default());
    net.expect("alice -> bob    QUESTION");
    net.expect("bob   -> alice  QUESTION");
    let towards = |to| Flow::unbound(Transport::Udp, addr("192.0.2.3:5060"), addr(to));
    net.at(carol, |probe, _| {
        probe.send(towards("192.0.2.1:5060"), *b"ACROSS");
        probe.send(towards("192.0.2.2:9"), *b"CLOSED");
        probe.send(towards("203.0.113.5:5060"), *b"NOWHERE");
    });
    net.settled_within(Duration::from_secs(1)).no_state_left();
    let expected = "\
seed 3
                  alice                    bob                    carol
    0.000000        |------ QUESTION -----x |                       |  lost
    0.510000        |------ QUESTION ------>|                       |
    0.520000        |<----- QUESTION -------|                       |
    0.520000  # alice: answered
    0.520000        |                       | x----- NOWHERE -------|  unreachable 203.0.113.5:5060
    0.530000        |<------------------ ACROSS --------------------|
    0.530000        |                       | x----- CLOSED --------|  unreachable 192.0.2.2:9
";
    assert_eq!(net.ladder(), expected);
}

#[test]
fn retransmission_beats_loss_of_a_fifth() {
    let (mut answered, rounds) = (0, 300);
    for seed in 0..rounds {
        let (mut net, alice, _) = asker_and_echo(seed);
        net.set_links(Link::default().loss(0.2));
        ask(&mut net, alice);
        net.settled_within(Duration::from_secs(4)).no_state_left();
        answered += usize::from(net.ladder().contains("alice: answered"));
    }
    // One round of seven tries fails with probability 0.36^7, about 1 in 1,300.
    assert!(answered >= rounds as usize - 3, "{answered} of {rounds}");
}

#[test]
fn an_unreachable_port_is_reported_only_with_icmp() {
    for icmp in [false, true] {
        let (net, alice, _) = asker_and_echo(1);
        let mut net = net.icmp(icmp);
        let flow = Flow::unbound(Transport::Udp, addr("192.0.2.1:5060"), addr("192.0.2.2:9"));
        net.at(alice, |asker, now| asker.ask(now, flow));
        net.run_for(ms(100));
        assert_eq!(net.ladder().contains("alice: unreachable"), icmp, "{net}");
    }
}

#[test]
fn a_datagram_from_an_unbound_socket_fails() {
    let (mut net, alice, _) = asker_and_echo(1);
    let gone = Flow::unbound(Transport::Udp, addr("192.0.2.1:9"), addr("192.0.2.2:5060"));
    net.at(alice, |asker, now| asker.ask(now, gone));
    net.run_for(ms(1));
    assert!(net.ladder().contains("alice: unreachable"), "{net}");
}

#[test]
#[should_panic(expected = "alice has a question")]
fn unfinished_business_is_not_settled() {
    let (mut net, alice, bob) = asker_and_echo(1);
    net.set_link(alice, bob, Link::default().loss(1.0));
    ask(&mut net, alice);
    net.settled_within(Duration::from_secs(2));
}

#[test]
#[should_panic(expected = "did not happen")]
fn an_expectation_that_fails_says_so() {
    let (mut net, alice, _) = asker_and_echo(1);
    ask(&mut net, alice);
    net.expect("alice -> bob  ANSWER");
}

#[test]
fn expectations_are_met_in_order_and_never_twice() {
    let (mut net, alice, bob) = asker_and_echo(1);
    let flow = |n: u16| Flow::unbound(Transport::Udp, addr("192.0.2.2:5060"), addr(&format!("192.0.2.1:{n}")));
    net.at(bob, |probe, _| {
        probe.send(flow(5060), *b"ONE");
        probe.send(flow(5060), *b"ONE");
        probe.send(flow(5060), *b"TWO");
    });
    net.expect("bob -> alice  ONE");
    net.expect_all(["bob -> alice  TWO", "bob -> alice  ONE"]);
    net.never("alice -> bob");
    assert_eq!((net.count("bob -> alice"), net.is_quiet()), (3, true));
    assert!(net.machine(alice).question.is_none());
}

#[test]
fn an_hour_of_silence_costs_nothing() {
    let (mut net, ..) = asker_and_echo(1);
    net.run_for(Duration::from_secs(3600));
    assert_eq!(net.now(), Instant::ZERO + Duration::from_secs(3600));
}

#[test]
fn two_datagrams_change_places() {
    let mut net = Network::new(1);
    let alice = net.host("alice", ["192.0.2.1"], Probe::new());
    let bob = net.host("bob", ["192.0.2.2"], Probe::new());
    let from = net.bind(alice, Transport::Udp, 5060);
    let to = net.bind(bob, Transport::Udp, 5060);
    net.swap(alice, bob, 1);
    for text in ["one", "two", "three", "four"] {
        net.at(alice, |probe, _| probe.send(Flow::unbound(Transport::Udp, from, to), text.as_bytes()));
    }
    net.run_for(ms(100));
    let arrived: Vec<_> = net.machine(bob).inbox.iter().map(|received| received.bytes.clone()).collect();
    assert_eq!(arrived, [&b"one"[..], b"three", b"two", b"four"]);
    assert!(net.has_swapped());
    net.swap(alice, bob, 0);
    net.at(alice, |probe, _| probe.send(Flow::unbound(Transport::Udp, from, to), *b"alone"));
    net.run_for(ms(2011));
    assert_eq!(net.machine(bob).last_text(), "alone", "late, but not lost");
}

#[test]
fn a_stream_breaks_at_the_message_that_was_named() {
    let mut net = Network::new(1);
    let alice = net.host("alice", ["192.0.2.1"], Probe::new());
    let bob = net.host("bob", ["192.0.2.2"], Probe::echo());
    let (from, to) = (net.bind(alice, Transport::Tcp, 5060), net.bind(bob, Transport::Tcp, 5060));
    net.reset_after(alice, bob, 1);
    net.at(alice, |probe, _| probe.send(Flow::unbound(Transport::Tcp, from, to), *b"hello"));
    net.run_for(ms(1000));
    assert_eq!((net.machine(alice).last_text().as_str(), net.streams()), ("hello", 0));
    assert!(net.has_reset());
}
