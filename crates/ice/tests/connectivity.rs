//! Who reaches whom, and how: every kind of network against every other, compared with what theory allows.
//!
//! The table stands in `connectivity.txt`; `UPDATE_SNAPSHOTS=1 cargo test -p farspeak-ice --test connectivity` writes it
//! anew. `SEED=7` shuffles what is lost.

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use farspeak_ice::State;
use farspeak_sansio::Transport;
use farspeak_sim::Dependence::{self, AddressAndPortDependent, AddressDependent, EndpointIndependent};
use farspeak_sim::{HostId, Link, Nat, Network};
use support::{End, World, relay, turn};

const TURN: [&str; 2] = ["198.51.100.9", "2001:db8:5::9"];
const KINDS: [Dependence; 3] = [EndpointIndependent, AddressDependent, AddressAndPortDependent];

/// Behind what a host is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Open,
    Translated(Dependence, Dependence),
    /// No UDP; TCP to any port, or to 443 alone.
    Blocked(Option<u16>),
    V6Only,
    Dual,
    /// A home router behind the translator of a carrier (RFC 6888: endpoint-independent mapping).
    Carrier,
}

use Place::{Blocked, Carrier, Dual, Open, Translated, V6Only};

fn places() -> Vec<Place> {
    let mut all = vec![Open];
    all.extend(KINDS.iter().flat_map(|mapping| KINDS.iter().map(|filtering| Translated(*mapping, *filtering))));
    all.extend([Blocked(None), Blocked(Some(443)), V6Only, Dual, Carrier]);
    all
}

impl Place {
    fn name(self) -> String {
        let short = |dependence| match dependence {
            EndpointIndependent => "ei",
            AddressDependent => "ad",
            AddressAndPortDependent => "apd",
        };
        match self {
            Open => "open".into(),
            Translated(mapping, filtering) => format!("{}/{}", short(mapping), short(filtering)),
            Blocked(None) => "no-udp".into(),
            Blocked(Some(_)) => "443".into(),
            V6Only => "v6".into(),
            Dual => "dual".into(),
            Carrier => "cgnat".into(),
        }
    }

    fn addresses(self, at: usize) -> &'static [&'static str] {
        match (self, at) {
            (Open, 0) => &["192.0.2.10"],
            (Open, _) => &["192.0.2.20"],
            (V6Only, 0) => &["2001:db8:a::1"],
            (V6Only, _) => &["2001:db8:b::1"],
            (Dual, 0) => &["192.0.2.10", "2001:db8:a::1"],
            (Dual, _) => &["192.0.2.20", "2001:db8:b::1"],
            (_, 0) => &["10.0.0.2"],
            (_, _) => &["10.0.0.3"],
        }
    }

    fn put(self, net: &mut Network, host: HostId, at: usize) {
        let outside = ["203.0.113.1", "203.0.113.2"][at];
        let name = ["nat1", "nat2"][at];
        match self {
            Open | V6Only | Dual => {}
            Translated(mapping, filtering) => {
                let nat = net.nat(name, Nat::new(mapping, filtering), [outside]);
                net.put_behind(host, nat);
            }
            Blocked(port) => {
                let nat = net.nat(name, Nat::home_router().without_udp(port), [outside]);
                net.put_behind(host, nat);
            }
            Carrier => {
                let home = net.nat(name, Nat::home_router(), [["100.64.0.1", "100.64.0.2"][at]]);
                let nat = Nat::new(EndpointIndependent, AddressDependent);
                let carrier = net.nat(["carrier1", "carrier2"][at], nat, [outside]);
                net.put_nat_behind(home, carrier);
                net.put_behind(host, home);
            }
        }
    }

    /// Mapping and filtering of all translators on the way together: what is strictest of each.
    fn behaviour(self) -> Option<(Dependence, Dependence)> {
        match self {
            Translated(mapping, filtering) => Some((mapping, filtering)),
            Carrier => Some((EndpointIndependent, AddressAndPortDependent)),
            _ => None,
        }
    }

    const fn has_v4(self) -> bool {
        !matches!(self, V6Only)
    }

    const fn has_v6(self) -> bool {
        matches!(self, V6Only | Dual)
    }
}

/// Whether a direct path exists, by RFC 4787 and RFC 5128 §3.3, if nobody guesses ports.
///
/// Both must find an endpoint of the other's that holds for them. A mapping that does not depend on the peer is known
/// beforehand; one that does is learnt only if a packet from it passes the other's filter.
fn theory(left: Place, right: Place) -> bool {
    if left.has_v6() && right.has_v6() {
        return true;
    }
    if !left.has_v4() || !right.has_v4() || matches!(left, Blocked(_)) || matches!(right, Blocked(_)) {
        return false;
    }
    let (Some(left), Some(right)) = (left.behaviour(), right.behaviour()) else {
        return true; // one end is in the open: the other sends first
    };
    let fixed = |(mapping, _): (Dependence, Dependence)| mapping == EndpointIndependent;
    let learns = |(_, filtering): (Dependence, Dependence)| filtering != AddressAndPortDependent;
    match (fixed(left), fixed(right)) {
        (true, true) => true,
        // The end whose mapping is known has to let in a port that it has not sent to.
        (true, false) => learns(left),
        (false, true) => learns(right),
        // Each has to; and one mapping must not change with the other's port, or each answer comes from a new one.
        (false, false) => {
            let per_port = left.0 == AddressAndPortDependent && right.0 == AddressAndPortDependent;
            learns(left) && learns(right) && !per_port
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Outcome {
    direct: bool,
    /// Until data could be sent both ways, and until both had selected.
    valid: Duration,
    selected: Duration,
}

fn end(place: Place, at_end: usize, controlling: bool) -> End {
    let end = End::new(place.addresses(at_end)).config(|config| {
        for ip in TURN {
            let ways = [Transport::Udp, Transport::Tcp, Transport::Tls];
            config.servers.extend(ways.map(|transport| turn(transport, ip)));
        }
    });
    if controlling { end.controlling() } else { end }
}

fn run(seed: u64, left: End, right: End, loss: f64, place: impl FnOnce(&mut Network, [HostId; 2])) -> Outcome {
    let mut world = World::behind(seed, left, right, |net, hosts| {
        relay::host(net, "turn", TURN, |_| ());
        net.set_links(Link::default().delay(Duration::from_millis(20)).loss(loss));
        place(net, hosts);
    });
    world.start();
    let mut valid = None;
    let limit = Duration::from_secs(60);
    while !(0..2).all(|end| world.state(end) == State::Completed) {
        world.run(Duration::from_millis(10));
        let both = (0..2).all(|end| matches!(world.state(end), State::Connected | State::Completed));
        valid = valid.or(both.then(|| world.net.now().since_origin()));
        assert!(world.net.now().since_origin() < limit, "no way was found\n{}", world.net.ladder());
    }
    let selected = world.net.now().since_origin();
    // Words each way, until one has got through; a lossy stream takes its time.
    for word in 0.. {
        assert!(word < 200, "nothing arrives\n{}", world.net.ladder());
        for end in 0..2 {
            world.agent(end, |agent, now| agent.send(now, 1, format!("word {word}").as_bytes())).unwrap();
        }
        world.run(Duration::from_millis(20));
        if (0..2).all(|end| !world.data(end).is_empty()) {
            break;
        }
    }
    let relayed = (0..2).any(|end| {
        let (_, remote, relayed) = world.selected(end).unwrap();
        relayed || TURN.contains(&remote.ip().to_string().as_str())
    });
    Outcome { direct: !relayed, valid: valid.unwrap_or(selected), selected }
}

fn meet(left: Place, right: Place, controlling: usize, loss: f64) -> Outcome {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("a number")) + controlling as u64;
    let (one, other) = (end(left, 0, controlling == 0), end(right, 1, controlling == 1));
    run(seed, one, other, loss, |net, hosts| {
        left.put(net, hosts[0], 0);
        right.put(net, hosts[1], 1);
    })
}

/// All pairs in both directions with either end controlling, for one loss.
fn table(loss: f64) -> String {
    let places = places();
    let mut text = format!("{:8}", "");
    places.iter().for_each(|place| write!(text, "{:>8}", place.name()).unwrap());
    text.push('\n');
    let (mut times, mut wrong) = (Vec::new(), Vec::new());
    for left in &places {
        write!(text, "{:8}", left.name()).unwrap();
        for right in &places {
            let outcomes = [0, 1].map(|controlling| meet(*left, *right, controlling, loss));
            let letters = outcomes.map(|outcome| if outcome.direct { "D" } else { "R" });
            let cell = if letters[0] == letters[1] { letters[0].to_owned() } else { letters.join("/") };
            if outcomes.iter().any(|outcome| outcome.direct != theory(*left, *right)) {
                wrong.push(format!("{}-{}: {cell}", left.name(), right.name()));
            }
            write!(text, "{cell:>8}").unwrap();
            times.extend(outcomes.map(|one| (format!("{}-{}", left.name(), right.name()), one)));
        }
        text.push('\n');
    }
    println!("{:.0} % loss\n{text}", loss * 100.0);
    for (name, of) in [("direct", true), ("relayed", false)] {
        let sorted = |time: fn(&Outcome) -> Duration| {
            let mut times: Vec<_> =
                times.iter().filter(|(_, one)| one.direct == of).map(|(_, one)| time(one)).collect();
            times.sort_unstable();
            times
        };
        for (what, times) in [("data", sorted(|one| one.valid)), ("selected", sorted(|one| one.selected))] {
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            println!("{name:8} {what:8} after {median:?} (median), {worst:?} (worst) of {}", times.len());
        }
    }
    let patience = if loss == 0.0 { Duration::from_millis(1500) } else { Duration::from_secs(8) };
    let slow: Vec<_> = times.iter().filter(|(_, one)| one.valid > patience).collect();
    assert!(slow.is_empty(), "{slow:?}");
    assert!(wrong.is_empty(), "theory says otherwise: {wrong:?}");
    text
}

fn snapshot(text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/connectivity.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        return std::fs::write(path, text).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    assert!(known == text, "{path} is another; UPDATE_SNAPSHOTS=1 accepts this one:\n{text}");
}

#[test]
fn everybody_reaches_everybody_without_loss() {
    snapshot(&table(0.0));
}

#[test]
fn everybody_reaches_everybody_with_5_percent_loss() {
    snapshot(&table(0.05));
}

#[test]
fn everybody_reaches_everybody_with_10_percent_loss() {
    snapshot(&table(0.10));
}

#[test]
fn two_behind_one_translator_meet_inside_even_without_hairpin() {
    for mapping in KINDS {
        for filtering in KINDS {
            for (controlling, loss) in [(0, 0.0), (1, 0.0), (0, 0.05), (1, 0.05), (0, 0.1), (1, 0.1)] {
                let left = end(Translated(mapping, filtering), 0, controlling == 0);
                let right = end(Translated(mapping, filtering), 1, controlling == 1);
                let outcome = run(5, left, right, loss, |net, hosts| {
                    let nat = net.nat("nat", Nat::new(mapping, filtering).hairpin(false), ["203.0.113.1"]);
                    hosts.into_iter().for_each(|host| net.put_behind(host, nat));
                });
                assert!(outcome.direct, "{mapping:?} {filtering:?} {loss}");
            }
        }
    }
}

#[test]
fn two_homes_of_one_carrier_meet_if_it_hairpins_and_by_relay_otherwise() {
    for hairpin in [true, false] {
        let outcome = run(6, end(Carrier, 0, true), end(Carrier, 1, false), 0.0, |net, hosts| {
            let behaviour = Nat::new(EndpointIndependent, EndpointIndependent).hairpin(hairpin);
            let carrier = net.nat("carrier", behaviour, ["203.0.113.1"]);
            for (host, (name, outside)) in hosts.into_iter().zip([("home1", "100.64.0.1"), ("home2", "100.64.0.2")]) {
                let home = net.nat(name, Nat::home_router(), [outside]);
                net.put_nat_behind(home, carrier);
                net.put_behind(host, home);
            }
        });
        assert_eq!(outcome.direct, hairpin);
    }
}
