//! What a network's behaviour means for calls: a table, and the rules around it.
//!
//! Two ends that know each other's mapped addresses and both begin to send (ICE) find a direct way or do not; which, is
//! a matter of their translators' mapping and filtering alone (RFC 4787, RFC 5128 §3.3).

use farspeak_stun::discovery::Dependence;

use super::report::{Finding, Path, Report};

use Dependence::{AddressAndPortDependent as Both, AddressDependent as Address, EndpointIndependent as Free};

/// How good a finding is for calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// As good as can be.
    Good,
    /// Something works less well than it could.
    Weak,
    /// Something does not work.
    Bad,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Weak => "weak",
            Self::Bad => "bad",
        }
    }
}

/// One kind of translator: mapping and filtering.
pub type Kind = (Dependence, Dependence);

/// What one kind means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub kind: Kind,
    /// How people call it.
    pub name: &'static str,
    /// With how many of the nine kinds at the other end there is a direct way.
    pub direct: usize,
    pub level: Level,
    /// What it means for calls.
    pub means: &'static str,
}

/// The nine kinds of RFC 4787.
pub const ROWS: [Row; 9] = [
    row(Free, Free, "full cone", 9, Level::Good, EVERYBODY),
    row(Free, Address, "address-restricted cone", 9, Level::Good, EVERYBODY),
    row(Free, Both, "port-restricted cone", 3, Level::Good, MOST),
    row(Address, Free, "address-dependent, open", 6, Level::Weak, MANY),
    row(Address, Address, "address-dependent", 6, Level::Weak, MANY),
    row(Address, Both, "address-dependent, port-restricted", 2, Level::Weak, FEW),
    row(Both, Free, "symmetric, open", 4, Level::Weak, MANY),
    row(Both, Address, "symmetric, address-restricted", 4, Level::Weak, MANY),
    row(Both, Both, "symmetric", 2, Level::Weak, FEW),
];

const EVERYBODY: &str = "calls go direct, whatever the other end is behind";
const MOST: &str = "calls go direct with most; those whose translator changes ports (symmetric) need a relay";
const MANY: &str = "calls go direct with some; those behind a usual home router need a relay";
const FEW: &str = "calls go direct only with open networks; most others need a relay";

const fn row(
    mapping: Dependence,
    filtering: Dependence,
    name: &'static str,
    direct: usize,
    level: Level,
    means: &'static str,
) -> Row {
    Row { kind: (mapping, filtering), name, direct, level, means }
}

/// The row of a kind.
pub fn of(kind: Kind) -> &'static Row {
    ROWS.iter().find(|row| row.kind == kind).expect("the table has all nine")
}

/// What the whole of it means for calls, the most important first.
pub fn findings(report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |level, text: String| found.push(Finding { level, text });
    if !report.is_any_answer() {
        let why = match report.addresses.is_empty() && report.servers.is_empty() {
            true => "this machine has no network: connect it to one",
            false => "no server answers by UDP, TCP or TLS: nothing can be said, and no calls can be made",
        };
        say(Level::Bad, why.to_owned());
        return found;
    }
    for (v4, family) in [(true, "IPv4"), (false, "IPv6")] {
        if let Some((level, text)) = of_path(report.path(v4), report, v4) {
            say(level, format!("{family}: {text}"));
        }
    }
    of_reach(report, &mut say);
    of_routers(report, &mut say);
    of_details(report, &mut say);
    found
}

/// What one family's path means.
fn of_path(path: Path, report: &Report, v4: bool) -> Option<(Level, String)> {
    let tcp = report.of_family(v4).any(|server| server.tcp.is_open() || server.tls.is_open());
    Some(match path {
        Path::None => return None,
        Path::Blocked if tcp => (
            Level::Bad,
            "UDP is blocked: calls need a relay over TCP or TLS, and stutter where the line is bad".to_owned(),
        ),
        Path::Blocked => (Level::Bad, "no answer at all".to_owned()),
        Path::Untranslated(Some(Free)) => {
            (Level::Good, "no translator and no firewall: everybody reaches you".to_owned())
        }
        Path::Untranslated(Some(filtering)) => {
            let row = of((Free, filtering));
            (row.level, format!("no translator, but a firewall: {}", row.means))
        }
        Path::Untranslated(None) => (Level::Good, format!("no translator: {MOST}")),
        Path::Translated(Some(mapping), Some(filtering)) => {
            let row = of((mapping, filtering));
            (row.level, row.means.to_owned())
        }
        Path::Translated(Some(Free), None) => {
            (Level::Good, format!("the translator keeps one port for everybody: {MOST}"))
        }
        Path::Translated(Some(_), None) => (Level::Weak, format!("the translator changes ports: {FEW}")),
        Path::Translated(None, _) => {
            let more =
                "a translator; its kind stays unknown: ask a server with two addresses (RFC 5780), or two servers";
            (Level::Weak, more.to_owned())
        }
    })
}

/// What else gets through.
fn of_reach(report: &Report, say: &mut impl FnMut(Level, String)) {
    let any = |of: fn(&super::report::Server) -> bool| report.servers.iter().any(of);
    if any(|server| server.tls.is_open()) {
        say(Level::Good, "TLS gets through: where UDP is blocked, calls still work through a relay".to_owned());
    } else if any(|server| server.tls_port.is_open()) {
        let text =
            "the TLS port opens, but no STUN comes back over it: the server has none there, or a device reads along";
        say(Level::Weak, text.to_owned());
    } else {
        say(
            Level::Weak,
            "nothing gets through to the TLS port: there is no way for calls where UDP is blocked".to_owned(),
        );
    }
    let strangers = report.servers.iter().filter(|it| it.certificate.as_ref().is_some_and(|shown| !shown.fits));
    for server in strangers {
        let text = "the certificate is for another name: the server lacks it, or a device in between answers for it";
        say(Level::Weak, format!("{}: {text}", server.name));
    }
}

/// What the routers do.
fn of_routers(report: &Report, say: &mut impl FnMut(Level, String)) {
    let mut ways: Vec<String> = report.mapped().map(|mapping| mapping.by.to_string()).collect();
    ways.dedup();
    if report.mapped().any(|mapping| mapping.is_public()) {
        say(Level::Good, format!("the router opens ports ({}): {EVERYBODY}", ways.join(", ")));
    } else if let Some(mapping) = report.mapped().next() {
        let (by, address) = (ways.join(", "), mapping.external.ip());
        let text = "another translator is behind it, which is what counts";
        say(Level::Weak, format!("the router opens ports ({by}), but at {address}, which is not public: {text}"));
    }
}

/// What is seldom wrong.
fn of_details(report: &Report, say: &mut impl FnMut(Level, String)) {
    let behaviours = || report.servers.iter().map(|server| &server.behaviour);
    if behaviours().any(|found| found.translated == Some(true) && found.hairpin == Some(false)) {
        let text = "no hairpin: phones behind this translator reach each other by their private addresses alone";
        say(Level::Good, text.to_owned());
    }
    if behaviours().any(|found| found.rewrites_payload == Some(true)) {
        let text = "something on the way changes addresses inside packets (an \"ALG\"): switch it off in the router";
        say(Level::Weak, text.to_owned());
    }
    let shortest = report.servers.iter().filter_map(|server| server.mtu?.passes).min();
    if let Some(shortest) = shortest.filter(|passes| *passes < LEAST) {
        let text = "video and key exchange may be lost or cut in pieces";
        say(Level::Weak, format!("packets longer than {shortest} bytes are lost: {text}"));
    }
}

/// The least that every IPv6 link carries (RFC 8200 §5), and what media and DTLS count on.
const LEAST: usize = 1280;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    use farspeak_sansio::Instant;
    use farspeak_sim::{Dependence as Sim, Nat, NatTable, PortAssignment, Protocol};

    use super::*;

    fn nat(kind: Kind, outside: &str, seed: u64) -> NatTable {
        let sim = |dependence| match dependence {
            Free => Sim::EndpointIndependent,
            Address => Sim::AddressDependent,
            Both => Sim::AddressAndPortDependent,
        };
        let nat = Nat::new(sim(kind.0), sim(kind.1)).ports(PortAssignment::Random);
        NatTable::new(nat, [outside.parse().unwrap()], seed)
    }

    /// Two ends behind translators check, as ICE does, every address that they learnt of each other.
    fn is_direct(kinds: [Kind; 2]) -> bool {
        let inside: [SocketAddr; 2] = ["10.0.0.2:4000".parse().unwrap(), "10.0.1.2:4000".parse().unwrap()];
        let server: SocketAddr = "192.0.2.1:3478".parse().unwrap();
        let mut nats = [nat(kinds[0], "198.51.100.1", 1), nat(kinds[1], "198.51.100.2", 2)];
        let out = |nats: &mut [NatTable; 2], end: usize, to| {
            nats[end].outbound(Instant::ZERO, Protocol::Udp, inside[end], to).unwrap()
        };
        let mapped = [out(&mut nats, 0, server), out(&mut nats, 1, server)];
        let mut known = [BTreeSet::from([mapped[1]]), BTreeSet::from([mapped[0]])];
        for _ in 0..4 {
            for end in [0, 1] {
                for to in known[end].clone() {
                    let from = out(&mut nats, end, to);
                    if nats[1 - end].inbound(Instant::ZERO, Protocol::Udp, to, from).is_none() {
                        continue;
                    }
                    // The other end learns the address, and answers there: the answer counts if it comes from where
                    // the check went.
                    known[1 - end].insert(from);
                    let back = out(&mut nats, 1 - end, from);
                    let arrives = nats[end].inbound(Instant::ZERO, Protocol::Udp, from, back).is_some();
                    if arrives && back == to {
                        return true;
                    }
                }
            }
        }
        false
    }

    #[test]
    fn each_row_counts_the_kinds_that_can_be_reached() {
        for row in ROWS {
            let direct = ROWS.iter().filter(|other| is_direct([row.kind, other.kind])).count();
            assert_eq!(direct, row.direct, "{}", row.name);
        }
    }
}
