//! One line of the ladder log.

use std::net::SocketAddr;

use farspeak_sansio::{Flow, RecordKind};
use serde_json::{Value, json};

/// What a line tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A message to the node, whole, secrets masked. Bytes that are not UTF-8 are replaced.
    Received(String),
    /// The same from the node.
    Sent(String),
    /// A timer of a transaction fired ("Timer B").
    Timer(String),
    /// A transaction entered a state ("Proceeding").
    State(String),
}

/// One line: what happened between the node and a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LadderRecord {
    /// When, in milliseconds since 1970.
    pub unix_ms: i64,
    /// What carries the messages (`TLS`).
    pub transport: String,
    /// The node's end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The Call-ID; empty if a message has none.
    pub call: String,
    /// What.
    pub what: What,
}

impl LadderRecord {
    /// A record of what happened on `flow`. `call` is the Call-ID; empty, a message is asked for its own.
    pub fn new(unix_ms: i64, flow: Flow, call: &str, kind: RecordKind<'_>) -> Self {
        let text = |bytes: &[u8]| mask(&String::from_utf8_lossy(bytes));
        let what = match kind {
            RecordKind::Received(bytes) => What::Received(text(bytes)),
            RecordKind::Sent(bytes) => What::Sent(text(bytes)),
            RecordKind::Timer(name) => What::Timer(name.to_owned()),
            RecordKind::State(name) => What::State(name.to_owned()),
        };
        let call = call.to_owned();
        let transport = flow.transport.as_str().to_owned();
        let mut record = Self { unix_ms, transport, local: flow.local, remote: flow.remote, call, what };
        if record.call.is_empty() {
            record.call = record.header("Call-ID", "i").unwrap_or_default().to_owned();
        }
        record
    }

    /// The message, if it is one.
    pub fn message(&self) -> Option<&str> {
        match &self.what {
            What::Received(message) | What::Sent(message) => Some(message),
            What::Timer(_) | What::State(_) => None,
        }
    }

    /// The line in the file, with its end.
    pub fn to_line(&self) -> String {
        let mut line = json!({
            "unix_ms": self.unix_ms, "transport": self.transport,
            "local": self.local.to_string(), "remote": self.remote.to_string(), "call": self.call,
        });
        match &self.what {
            What::Received(message) => (line["direction"], line["message"]) = (json!("received"), json!(message)),
            What::Sent(message) => (line["direction"], line["message"]) = (json!("sent"), json!(message)),
            What::Timer(name) => line["timer"] = json!(name),
            What::State(name) => line["state"] = json!(name),
        }
        format!("{line}\n")
    }

    /// Reads a line back; `None` if it is something else (a line cut off by a crash, for one).
    pub fn from_line(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name)?.as_str();
        let what = match (text("direction"), text("timer"), text("state")) {
            (Some("received"), ..) => What::Received(text("message")?.to_owned()),
            (Some("sent"), ..) => What::Sent(text("message")?.to_owned()),
            (None, Some(timer), _) => What::Timer(timer.to_owned()),
            (None, None, Some(state)) => What::State(state.to_owned()),
            _ => return None,
        };
        Some(Self {
            unix_ms: value.get("unix_ms")?.as_i64()?,
            transport: text("transport")?.to_owned(),
            local: text("local")?.parse().ok()?,
            remote: text("remote")?.parse().ok()?,
            call: text("call")?.to_owned(),
            what,
        })
    }

    /// The header field of that name or compact form of a message: its first value.
    pub(super) fn header(&self, name: &str, compact: &str) -> Option<&str> {
        header(self.message()?, name, compact)
    }
}

fn header<'a>(message: &'a str, name: &str, compact: &str) -> Option<&'a str> {
    message.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        let found = found.trim();
        (found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact)).then(|| value.trim())
    })
}

/// Hides what would let a reader of the log sign in or listen: digest answers, and keys in session descriptions.
fn mask(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut credentials = false;
    for line in message.split_inclusive('\n') {
        let folded = line.starts_with([' ', '\t']);
        if !folded {
            let name = line.split(':').next().unwrap_or("").trim();
            credentials = ["authorization", "proxy-authorization"].iter().any(|it| name.eq_ignore_ascii_case(it));
        }
        if credentials {
            mask_after(&mut out, line, "response=", &[',', '\r', '\n', ' ']);
        } else if line.starts_with("a=crypto:") {
            mask_after(&mut out, line, "inline:", &['|', ' ', '\r', '\n', ';']);
        } else if line.starts_with("k=") {
            out.push_str("k=(masked)\r\n");
        } else {
            out.push_str(line);
        }
    }
    out
}

/// Copies `line`, masking what follows each `mark` up to one of `ends`. The mark is found in any case.
fn mask_after(out: &mut String, line: &str, mark: &str, ends: &[char]) {
    let lower = line.to_ascii_lowercase();
    let mut at = 0;
    while let Some(found) = lower[at..].find(mark) {
        let start = at + found + mark.len();
        let end = line[start..].find(ends).map_or(line.len(), |end| start + end);
        out.push_str(&line[at..start]);
        out.push_str("(masked)");
        at = end;
    }
    out.push_str(&line[at..]);
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::Transport;

    use super::*;

    const INVITE: &str = "INVITE sip:bob@example.org SIP/2.0\r\n\
        i: c1@phone\r\n\
        Authorization: Digest username=\"alice\",\r\n nonce=\"n\", RESPONSE=\"5ec2e7\", nc=00000001\r\n\
        Content-Type: application/sdp\r\n\r\n\
        v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:S3CR3T|2^31;inline:OTH3R\r\n";

    fn record(kind: RecordKind<'_>) -> LadderRecord {
        let (local, remote) = ("192.0.2.1:5061".parse().unwrap(), "[2001:db8::4]:40000".parse().unwrap());
        LadderRecord::new(7, Flow::unbound(Transport::Tls, local, remote), "", kind)
    }

    #[test]
    fn a_line_round_trips() {
        let invite = INVITE.as_bytes();
        let kinds = [RecordKind::Sent(invite), RecordKind::State("Calling"), RecordKind::Timer("Timer B")];
        for kind in kinds.into_iter().chain([RecordKind::Received(invite)]) {
            let line = record(kind).to_line();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(LadderRecord::from_line(&line), Some(record(kind)));
            assert_eq!(LadderRecord::from_line(&line[..line.len() / 2]), None);
        }
        assert_eq!(record(RecordKind::Sent(invite)).call, "c1@phone");
    }

    #[test]
    fn secrets_are_never_written() {
        let line = record(RecordKind::Received(INVITE.as_bytes())).to_line();
        for secret in ["5ec2e7", "S3CR3T", "OTH3R"] {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
        assert!(line.contains("nc=00000001") && line.contains("|2^31"));
    }
}
