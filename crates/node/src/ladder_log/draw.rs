//! Draws a call as a ladder: the node and each peer a column, each message an arrow.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{LadderRecord, What};

/// One call (or registration, or other exchange) of a ladder log.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Its Call-ID.
    pub id: &'a str,
    /// What happened in it, in order.
    pub records: Vec<&'a LadderRecord>,
}

impl<'a> Call<'a> {
    /// Its messages, in order.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &'a LadderRecord> {
        self.records.iter().copied().filter(|record| record.message().is_some())
    }

    /// The method that began it.
    pub fn method(&self) -> &'a str {
        self.messages().next().map_or("", |record| start(record).split(' ').next().unwrap_or(""))
    }

    /// Who called, as the From header field says.
    pub fn from(&self) -> &'a str {
        self.messages().next().and_then(|record| record.header("From", "f")).map_or("", address)
    }

    /// Who was called, as the To header field says.
    pub fn to(&self) -> &'a str {
        self.messages().next().and_then(|record| record.header("To", "t")).map_or("", address)
    }

    /// The last final response that the node sent to the request that began it, as `200 OK`.
    pub fn outcome(&self) -> Option<&'a str> {
        let first = self.messages().next()?;
        let method = self.method();
        let mut finals = self.messages().filter(|record| {
            matches!(record.what, What::Sent(_))
                && record.remote == first.remote
                && record.header("CSeq", "CSeq").is_some_and(|cseq| cseq.ends_with(method))
                && start(record).strip_prefix("SIP/2.0 ").is_some_and(|status| !status.starts_with('1'))
        });
        let last = finals.next_back()?;
        start(last).strip_prefix("SIP/2.0 ")
    }
}

/// All calls of a log, in the order they began. What has no Call-ID is left out.
pub fn calls(records: &[LadderRecord]) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for record in records.iter().filter(|record| !record.call.is_empty()) {
        let at = *index.entry(record.call.as_str()).or_insert_with(|| {
            calls.push(Call { id: &record.call, records: Vec::new() });
            calls.len() - 1
        });
        calls[at].records.push(record);
    }
    calls
}

/// The picture: time since the first record, then a column for each peer with the node after the first of them. A state
/// or timer stands beside the peer of its transaction, a state in brackets.
pub fn draw(call: &Call<'_>) -> String {
    let mut peers: Vec<SocketAddr> = Vec::new();
    for record in &call.records {
        if !peers.contains(&record.remote) {
            peers.push(record.remote);
        }
    }
    // The caller stands on the left, the node next to it, everybody else on the right.
    let column = |peer: usize| if peer == 0 { 0 } else { peer + 1 };
    let columns = peers.len() + 1;
    let mut out = String::new();
    let name = |peer: usize| {
        let of_peer = call.records.iter().find(|record| record.remote == peers[peer]);
        of_peer.map_or_else(String::new, |record| format!("{} {}", record.transport, record.remote))
    };
    let mut head = vec![String::from("farspeak"); columns];
    for peer in 0..peers.len() {
        head[column(peer)] = name(peer);
    }
    let _ = writeln!(out, "{:9}{}", "", row(head.iter().map(|name| centre(name, ' '))));
    let begin = call.records.first().map_or(0, |record| record.unix_ms);
    for record in &call.records {
        let peer = peers.iter().position(|peer| *peer == record.remote).unwrap_or(0); // each was entered above
        let line = match &record.what {
            What::Received(_) => arrow(columns, column(peer), NODE, &label(record)),
            What::Sent(_) => arrow(columns, NODE, column(peer), &label(record)),
            What::Timer(name) => aside(columns, column(peer), name),
            What::State(name) => aside(columns, column(peer), &format!("[{name}]")),
        };
        let elapsed = record.unix_ms - begin;
        let _ = writeln!(out, "{:>4}.{:03} {line}", elapsed / 1000, elapsed.rem_euclid(1000));
    }
    out
}

const NODE: usize = 1;
/// Characters of a column.
const WIDTH: usize = 28;

fn arrow(columns: usize, from: usize, to: usize, label: &str) -> String {
    let (left, right) = (from.min(to), from.max(to));
    let span = (right - left) * WIDTH - 1;
    let label: String = label.chars().take(span.saturating_sub(6)).collect();
    let dashes = span - label.chars().count() - 2;
    let (before, after) = (dashes / 2, dashes - dashes / 2);
    let mut shaft = format!("{} {label} {}", "-".repeat(before), "-".repeat(after));
    if from < to {
        shaft.replace_range(shaft.len() - 1.., ">");
    } else {
        shaft.replace_range(..1, "<");
    }
    between(columns, left, right, &shaft)
}

/// A line that says `text` in the gap beside a peer's column, on the node's side of it.
fn aside(columns: usize, peer: usize, text: &str) -> String {
    let left = peer.saturating_sub(1);
    between(columns, left, left + 1, &format!("{text:^width$.width$}", width = WIDTH - 1))
}

/// The columns, with `inlay` instead of what is between `left` and `right`.
fn between(columns: usize, left: usize, right: usize, inlay: &str) -> String {
    let mut line = " ".repeat(WIDTH / 2);
    let mut at = 0;
    while at < columns {
        line.push('|');
        if at == left {
            line.push_str(inlay);
            at = right;
        } else {
            if at + 1 < columns {
                line.push_str(&" ".repeat(WIDTH - 1));
            }
            at += 1;
        }
    }
    line.trim_end().to_owned()
}

fn row(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<String>().trim_end().to_owned()
}

fn centre(text: &str, fill: char) -> String {
    let text: String = text.chars().take(WIDTH - 1).collect();
    let left = (WIDTH + 1).saturating_sub(text.chars().count()) / 2;
    let mut out = fill.to_string().repeat(left) + &text;
    while out.chars().count() < WIDTH {
        out.push(fill);
    }
    out
}

/// `INVITE`, or `180 Ringing`.
fn label(record: &LadderRecord) -> String {
    let start = start(record);
    match start.strip_prefix("SIP/2.0 ") {
        Some(status) => {
            let method = record.header("CSeq", "CSeq").and_then(|cseq| cseq.split_whitespace().nth(1)).unwrap_or("");
            if matches!(method, "INVITE" | "") { status.to_owned() } else { format!("{status} ({method})") }
        }
        None => start.split(' ').next().unwrap_or("").to_owned(),
    }
}

fn start(record: &LadderRecord) -> &str {
    record.message().and_then(|message| message.lines().next()).unwrap_or("")
}

/// The URI of a From or To value.
fn address(value: &str) -> &str {
    let inner = value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(uri, _)| uri);
    inner.unwrap_or_else(|| value.split(';').next().unwrap_or("").trim())
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::{Flow, RecordKind, Transport};

    use super::*;

    const ALICE: &str = "192.0.2.4:40000";
    const BOB: &str = "192.0.2.5:40001";

    fn record(at: i64, remote: &str, kind: RecordKind<'_>) -> LadderRecord {
        let flow = Flow::unbound(Transport::Tls, "192.0.2.1:5061".parse().unwrap(), remote.parse().unwrap());
        LadderRecord::new(1_000_000 + at, flow, "c1", kind)
    }

    fn received(at: i64, remote: &str, start: &str, cseq: &str) -> LadderRecord {
        record(at, remote, RecordKind::Received(text(start, cseq).as_bytes()))
    }

    fn sent(at: i64, remote: &str, start: &str, cseq: &str) -> LadderRecord {
        record(at, remote, RecordKind::Sent(text(start, cseq).as_bytes()))
    }

    fn text(start: &str, cseq: &str) -> String {
        format!("{start}\r\nFrom: \"A\" <sip:alice@b>;tag=1\r\nTo: <sip:bob@b>\r\nCall-ID: c1\r\nCSeq: {cseq}\r\n\r\n")
    }

    fn log() -> Vec<LadderRecord> {
        vec![
            received(0, ALICE, "INVITE sip:bob@b SIP/2.0", "1 INVITE"),
            sent(0, ALICE, "SIP/2.0 100 Trying", "1 INVITE"),
            sent(1, BOB, "INVITE sip:bob@192.0.2.5 SIP/2.0", "1 INVITE"),
            received(20, BOB, "SIP/2.0 180 Ringing", "1 INVITE"),
            sent(21, ALICE, "SIP/2.0 180 Ringing", "1 INVITE"),
            received(1500, BOB, "SIP/2.0 200 OK", "1 INVITE"),
            sent(1501, ALICE, "SIP/2.0 200 OK", "1 INVITE"),
            sent(9000, ALICE, "SIP/2.0 200 OK", "2 BYE"),
        ]
    }

    #[test]
    fn draws_arrows_between_columns() {
        let log = log();
        let calls = calls(&log);
        assert_eq!(calls.len(), 1);
        let picture = draw(&calls[0]);
        let expected = "
              TLS 192.0.2.4:40000              farspeak               TLS 192.0.2.5:40001
   0.000               |--------- INVITE --------->|                           |
   0.000               |<------ 100 Trying --------|                           |
   0.001               |                           |--------- INVITE --------->|
   0.020               |                           |<------ 180 Ringing -------|
   0.021               |<------ 180 Ringing -------|                           |
   1.500               |                           |<-------- 200 OK ----------|
   1.501               |<-------- 200 OK ----------|                           |
   9.000               |<----- 200 OK (BYE) -------|                           |
";
        assert_eq!(format!("\n{picture}"), expected, "\n{picture}");
    }

    #[test]
    fn states_and_timers_stand_beside_their_peer() {
        let carol = "192.0.2.6:40002";
        let log = [
            received(0, ALICE, "INVITE sip:bob@b SIP/2.0", "1 INVITE"),
            record(0, ALICE, RecordKind::State("Proceeding")),
            sent(1, BOB, "INVITE sip:bob@192.0.2.5 SIP/2.0", "1 INVITE"),
            sent(1, carol, "INVITE sip:bob@192.0.2.6 SIP/2.0", "1 INVITE"),
            record(1, carol, RecordKind::State("Calling")),
            record(501, BOB, RecordKind::Timer("Timer A")),
        ];
        let picture = draw(&calls(&log)[0]);
        let expected = "
              TLS 192.0.2.4:40000              farspeak               TLS 192.0.2.5:40001         TLS 192.0.2.6:40002
   0.000               |--------- INVITE --------->|                           |                           |
   0.000               |       [Proceeding]        |                           |                           |
   0.001               |                           |--------- INVITE --------->|                           |
   0.001               |                           |----------------------- INVITE ----------------------->|
   0.001               |                           |                           |         [Calling]         |
   0.501               |                           |          Timer A          |                           |
";
        assert_eq!(format!("\n{picture}"), expected, "\n{picture}");
    }

    #[test]
    fn sums_a_call_up() {
        // The file was turned over in the middle of a call before this one's first message.
        let mut log = log();
        log.insert(0, record(0, ALICE, RecordKind::State("Terminated")));
        let call = &calls(&log)[0];
        assert_eq!((call.method(), call.from(), call.to()), ("INVITE", "sip:alice@b", "sip:bob@b"));
        assert_eq!((call.outcome(), call.messages().count()), (Some("200 OK"), 8));
    }
}
