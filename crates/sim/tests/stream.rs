//! Streams: order, connecting, stalls, resets, half-open ends, framing.

use std::net::SocketAddr;
use std::time::Duration;

use farspeak_sansio::{Flow, FlowId, Instant, Transport};
use farspeak_sim::{Framed, Framer, Host, Link, Network, Probe};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn pair(seed: u64, transport: Transport) -> (Network, Host<Probe>, Host<Probe>, Flow) {
    let mut net = Network::new(seed);
    let alice = net.host("alice", ["192.0.2.1", "2001:db8::1"], Probe::new());
    let proxy = net.host("proxy", ["2001:db8::9"], Probe::new());
    net.bind(proxy, transport, 5061);
    (net, alice, proxy, Flow::unbound(transport, addr("0.0.0.0:0"), addr("[2001:db8::9]:5061")))
}

fn texts(net: &Network, host: Host<Probe>) -> Vec<String> {
    let inbox = &net.machine(host).inbox;
    inbox.iter().map(|received| String::from_utf8_lossy(&received.bytes).into_owned()).collect()
}

#[test]
fn an_unbound_flow_connects_once_and_is_reused() {
    let (mut net, alice, proxy, flow) = pair(1, Transport::Tcp);
    net.at(alice, |probe, _| {
        probe.send(flow, *b"one");
        probe.send(flow, *b"two");
    });
    net.run_until_quiet(ms(100));
    net.at(alice, |probe, _| probe.send(flow, *b"three"));
    net.run_until_quiet(ms(100));
    assert_eq!(texts(&net, proxy), ["one", "two", "three"]);
    assert_eq!(net.streams(), 1);
    let seen = net.machine(proxy).inbox[0].flow;
    assert_eq!((seen.local, seen.remote.ip()), (addr("[2001:db8::9]:5061"), addr("[2001:db8::1]:0").ip()));
    // The way back: by the handle, and by the remote address alone.
    net.at(proxy, |probe, _| probe.reply(*b"by handle"));
    net.at(proxy, |probe, _| probe.send(Flow { id: FlowId::UNBOUND, ..seen }, *b"by address"));
    net.run_until_quiet(ms(100));
    assert_eq!(texts(&net, alice), ["by handle", "by address"]);
}

#[test]
fn connecting_takes_the_round_trips_of_its_transport() {
    for (transport, arrival) in [(Transport::Tcp, 30), (Transport::Tls, 50), (Transport::Ws, 50), (Transport::Wss, 70)]
    {
        let (mut net, alice, _, flow) = pair(2, transport);
        net.at(alice, |probe, _| probe.send(flow, *b"hello"));
        let seen = net.expect("alice -> proxy  hello");
        assert_eq!(seen.at, Instant::ZERO + ms(arrival), "{transport}");
    }
}

#[test]
fn order_survives_jitter_and_loss() {
    let (mut net, alice, proxy, flow) = pair(3, Transport::Tls);
    net.set_links(Link::default().jitter(ms(50)).loss(0.2).reorder(0.2).duplicate(0.2));
    let sent: Vec<String> = (0..200).map(|n| format!("message {n}")).collect();
    for text in &sent {
        net.at(alice, |probe, _| probe.send(flow, text.as_bytes()));
        net.run_for(ms(3));
    }
    net.run_until_quiet(Duration::from_secs(60));
    assert_eq!(texts(&net, proxy), sent);
}

#[test]
fn a_closed_port_refuses_after_one_round_trip() {
    let (mut net, alice, _, flow) = pair(4, Transport::Tcp);
    let closed = Flow { remote: addr("[2001:db8::9]:1"), ..flow };
    net.at(alice, |probe, _| probe.send(closed, *b"hello"));
    net.run_for(ms(20));
    assert_eq!(net.machine(alice).failed[1], closed);
    assert_eq!(net.streams(), 0);
}

#[test]
fn a_stall_delays_everything_and_loses_nothing() {
    let (mut net, alice, proxy, flow) = pair(5, Transport::Tls);
    net.at(alice, |probe, _| probe.send(flow, *b"before"));
    net.expect("alice -> proxy  before");
    net.stall(alice, proxy, Duration::from_secs(5));
    for text in ["one", "two", "three"] {
        net.at(alice, |probe, _| probe.send(flow, text.as_bytes()));
        net.run_for(ms(500));
    }
    net.at(proxy, |probe, _| probe.reply(*b"the other way flows"));
    net.expect_within(ms(20), "proxy -> alice  the");
    assert_eq!(texts(&net, proxy), ["before"]);
    net.run_until_quiet(Duration::from_secs(10));
    assert_eq!(texts(&net, proxy), ["before", "one", "two", "three"]);
    assert!(net.machine(alice).failed.is_empty());
}

#[test]
fn a_stall_beyond_the_timeout_breaks_the_stream_for_its_sender() {
    let (mut net, alice, proxy, flow) = pair(6, Transport::Tls);
    net.at(alice, |probe, _| probe.send(flow, *b"before"));
    net.expect("alice -> proxy  before");
    net.stall(alice, proxy, Duration::from_secs(3600));
    net.at(alice, |probe, _| probe.send(flow, *b"never"));
    net.run_for(Duration::from_secs(59));
    assert!(net.machine(alice).failed.is_empty());
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.machine(alice).failed.len(), 2, "by its handle and as asked for");
    assert!(net.machine(proxy).failed.is_empty());
}

#[test]
fn a_reset_is_told_to_both_and_swallows_what_is_under_way() {
    let (mut net, alice, proxy, flow) = pair(7, Transport::Tls);
    net.at(alice, |probe, _| probe.send(flow, *b"before"));
    net.expect("alice -> proxy  before");
    let dead = net.machine(proxy).inbox[0].flow;
    net.at(alice, |probe, _| probe.send(flow, *b"lost"));
    net.reset(proxy, alice);
    net.run_for(Duration::from_secs(1));
    assert_eq!(texts(&net, proxy), ["before"]);
    assert_eq!((net.machine(alice).failed.len(), &net.machine(proxy).failed[..]), (2, &[dead][..]));
    // A dead handle fails again; its slot's next tenant has another generation.
    net.at(proxy, |probe, _| probe.send(dead, *b"to nobody"));
    net.at(alice, |probe, _| probe.send(flow, *b"anew"));
    net.expect("alice -> proxy  anew");
    assert_eq!(net.machine(proxy).failed, [dead, dead]);
    let next = net.machine(proxy).inbox[1].flow.id;
    assert_eq!((next.slot(), next.generation()), (dead.id.slot(), dead.id.generation() + 1));
}

#[test]
fn a_half_open_stream_shows_when_it_is_used() {
    let (mut net, alice, proxy, flow) = pair(8, Transport::Tls);
    net.at(alice, |probe, _| probe.send(flow, *b"before"));
    net.expect("alice -> proxy  before");
    net.half_open(alice, proxy);
    net.run_for(Duration::from_secs(3600));
    assert_eq!((net.machine(alice).failed.len(), net.machine(proxy).failed.len()), (2, 0));
    net.at(proxy, |probe, _| probe.reply(*b"are you there"));
    net.run_for(ms(20));
    assert_eq!(net.machine(proxy).failed.len(), 1);
    assert!(net.machine(alice).inbox.is_empty());
}

#[test]
fn a_host_without_power_is_missed_after_the_timeout() {
    let (mut net, alice, proxy, flow) = pair(9, Transport::Tls);
    net.at(alice, |probe, _| probe.send(flow, *b"before"));
    net.expect("alice -> proxy  before");
    net.power(alice, false);
    net.at(proxy, |probe, _| probe.reply(*b"are you there"));
    net.run_for(Duration::from_secs(59));
    assert!(net.machine(proxy).failed.is_empty());
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.machine(proxy).failed.len(), 1);
    net.power(alice, true);
    net.at(alice, |probe, _| probe.send(flow, *b"back"));
    net.expect("alice -> proxy  back");
}

#[test]
fn a_restart_resets_the_streams_and_keeps_the_listener() {
    let (mut net, alice, proxy, flow) = pair(10, Transport::Tls);
    net.at(alice, |probe, _| probe.send(flow, *b"before"));
    net.expect("alice -> proxy  before");
    let old = net.restart(proxy, Probe::new());
    assert_eq!(old.inbox.len(), 1);
    net.run_for(ms(10));
    assert_eq!(net.machine(alice).failed.len(), 2);
    assert!(net.machine(proxy).failed.is_empty(), "the new process never knew the stream");
    net.at(alice, |probe, _| probe.send(flow, *b"after"));
    net.expect("alice -> proxy  after");
}

#[test]
fn closing_delivers_what_was_sent_before() {
    let (mut net, alice, proxy, flow) = pair(11, Transport::Tls);
    net.at(alice, |probe, _| probe.send(flow, *b"before"));
    net.expect("alice -> proxy  before");
    let end = net.streams_of(alice)[0];
    net.at(alice, |probe, _| probe.send(end, *b"last"));
    net.close(alice, end);
    net.run_until_quiet(Duration::from_secs(1));
    assert_eq!(texts(&net, proxy), ["before", "last"]);
    assert_eq!(net.machine(proxy).failed.len(), 1);
    assert_eq!(net.streams(), 0);
}

/// Messages end with a line feed; `?` asks for `!` below the machine; `#` breaks the stream.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Framer for Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<Framed> {
        self.0.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).take(end).collect();
            match line.as_slice() {
                b"?" => found.push(Framed::Reply(b"!\n".to_vec())),
                b"#" => {
                    found.push(Framed::Broken(Some(b"400\n".to_vec())));
                    return found;
                }
                _ => found.push(Framed::Message(line)),
            }
        }
        found
    }
}

#[test]
fn a_framer_puts_messages_together_however_they_were_cut() {
    for seed in 0..50 {
        let (mut net, alice, proxy, flow) = pair(seed, Transport::Tls);
        net.set_framer(proxy, || Box::<Lines>::default());
        net.at(alice, |probe, _| {
            probe.send(flow, *b"INVITE with a long line of words\nACK\n");
            probe.send(flow, *b"BYE\n");
            probe.send(flow, *b"?\n");
        });
        net.run_until_quiet(Duration::from_secs(1));
        assert_eq!(texts(&net, proxy), ["INVITE with a long line of words", "ACK", "BYE"], "seed {seed}");
        assert_eq!(texts(&net, alice), ["!\n"]);
    }
}

#[test]
fn broken_framing_answers_and_ends_the_stream() {
    let (mut net, alice, proxy, flow) = pair(12, Transport::Tls);
    net.set_framer(proxy, || Box::<Lines>::default());
    net.at(alice, |probe, _| probe.send(flow, *b"INVITE\n#\nBYE\n"));
    net.run_until_quiet(Duration::from_secs(1));
    assert_eq!(texts(&net, proxy), ["INVITE"]);
    assert_eq!(texts(&net, alice), ["400\n"]);
    assert_eq!((net.machine(alice).failed.len(), net.streams()), (2, 0));
}

#[test]
fn unbound_flows_from_two_ports_are_two_connections() {
    let mut net = Network::new(5);
    let client = net.host("client", ["192.0.2.1"], Probe::new());
    let server = net.host("server", ["192.0.2.2"], Probe::new());
    let to = net.bind(server, Transport::Tcp, 3478);
    for port in [5000, 5001, 5000] {
        let from = SocketAddr::new([192, 0, 2, 1].into(), port);
        net.at(client, |probe, _| probe.send(Flow::unbound(Transport::Tcp, from, to), *b"hello"));
        net.run_for(Duration::from_secs(1));
    }
    assert_eq!((net.machine(server).inbox.len(), net.streams()), (3, 2));
}
