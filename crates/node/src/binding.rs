//! A binding: where one phone of a user can be reached, until when (RFC 3261 §10, RFC 5626 §6).
//!
//! The registrar makes bindings, the location table keeps them, the proxy reads them, the journal writes them down as
//! [`BindingRow`]s. A binding never changes: a refresh makes a new one. What the proxy holds stays true while it rings.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, Instant, Transport};
use farspeak_sip::message::Uri;

use crate::domain::Aor;
use crate::shared::Clock;

/// What a binding is made of, before it is packed.
#[derive(Clone, Debug)]
pub struct BindingParts<'a> {
    /// Whose it is.
    pub aor: Aor,
    /// The Contact URI as the phone wrote it.
    pub contact: &'a str,
    /// The Contact's parameters that are echoed and kept, `expires` and `q` excepted: `;+sip.instance="<…>";reg-id=1`.
    /// Empty or beginning with `;`.
    pub params: &'a str,
    /// The instance, without quotes and brackets (`urn:uuid:…`); empty if the phone gave none.
    pub instance: &'a str,
    /// The flow's number within the instance; given only if it counts (RFC 5626 §6).
    pub reg_id: Option<u32>,
    /// Preference in thousandths, 0–1000. Default 1000 (RFC 3261 leaves it open; what every registrar does).
    pub q: u16,
    /// The Call-ID of the REGISTER that wrote it.
    pub call_id: &'a str,
    /// The CSeq number of the REGISTER that wrote it.
    pub cseq: u32,
    /// The Path header field values, comma separated, in order (RFC 3327 §5.3); empty if none.
    pub path: &'a str,
    /// The phone's User-Agent, shared between the bindings that name the same one; empty if unknown.
    pub user_agent: Arc<str>,
    /// The way back to the phone.
    pub reach: Reach,
    /// Which change of the location table first registered this contact without a gap: a smaller one held it first. 0 if
    /// nobody knows any more.
    pub since: u64,
    /// When the phone last registered it.
    pub updated_at: Instant,
    /// When the binding ends.
    pub expires_at: Instant,
    /// Which change of the location table wrote it; later is larger.
    pub version: u64,
}

/// The way back to a phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Over this flow. [`FlowId::UNBOUND`] leaves it to the driver to find or open one (datagrams, and clear streams to
    /// a phone that listens).
    Flow(Flow),
    /// Over none: its connection is gone and it cannot be called back. The old flow, for the record.
    Lost(Flow),
}

impl Reach {
    /// The flow, alive or lost.
    pub const fn last_flow(self) -> Flow {
        match self {
            Self::Flow(flow) | Self::Lost(flow) => flow,
        }
    }
}

/// Where one phone of a user can be reached, and until when.
///
/// One allocation for all text. About 270 bytes and the text.
#[derive(Clone)]
pub struct Binding {
    aor: Aor,
    /// Contact, params, instance, Call-ID and Path, one after the other.
    text: Box<str>,
    /// Where each but the last of them ends.
    ends: [u16; 4],
    user_agent: Arc<str>,
    reach: Reach,
    since: u64,
    updated_at: Instant,
    expires_at: Instant,
    version: u64,
    cseq: u32,
    reg_id: Option<u32>,
    q: u16,
}

impl Binding {
    /// Packs `parts`. `None` if the text exceeds 65,535 bytes (the registrar's bounds are far below).
    pub fn new(parts: &BindingParts<'_>) -> Option<Self> {
        let pieces = [parts.contact, parts.params, parts.instance, parts.call_id, parts.path];
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        u16::try_from(length).ok()?;
        let mut text = String::with_capacity(length);
        let mut ends = [0; 4];
        for (index, piece) in pieces.iter().enumerate() {
            text.push_str(piece);
            if let Some(end) = ends.get_mut(index) {
                *end = u16::try_from(text.len()).ok()?;
            }
        }
        Some(Self {
            aor: parts.aor.clone(),
            text: text.into_boxed_str(),
            ends,
            user_agent: Arc::clone(&parts.user_agent),
            reach: parts.reach,
            since: parts.since,
            updated_at: parts.updated_at,
            expires_at: parts.expires_at,
            version: parts.version,
            cseq: parts.cseq,
            reg_id: parts.reg_id,
            q: parts.q.min(1000),
        })
    }

    /// Whose it is.
    pub fn aor(&self) -> &Aor {
        &self.aor
    }

    /// The Contact URI as the phone wrote it: the Request-URI of what is sent to it.
    pub fn contact(&self) -> &str {
        self.piece(0)
    }

    /// The Contact's kept parameters: empty, or beginning with `;`.
    pub fn params(&self) -> &str {
        self.piece(1)
    }

    /// The instance, without quotes and brackets.
    pub fn instance(&self) -> Option<&str> {
        Some(self.piece(2)).filter(|instance| !instance.is_empty())
    }

    /// The flow's number within the instance (RFC 5626 §4.2).
    pub fn reg_id(&self) -> Option<u32> {
        self.reg_id
    }

    /// The Call-ID of the REGISTER that wrote it.
    pub fn call_id(&self) -> &str {
        self.piece(3)
    }

    /// The CSeq number of the REGISTER that wrote it.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The Path as it goes into the Route of a request to this contact, comma separated; empty if none (RFC 3327 §5.4).
    pub fn path(&self) -> &str {
        self.piece(4)
    }

    /// Preference in thousandths, 0–1000.
    pub fn q(&self) -> u16 {
        self.q
    }

    /// The phone's User-Agent; empty if unknown.
    pub fn user_agent(&self) -> &Arc<str> {
        &self.user_agent
    }

    /// The way back to the phone, lost ones included.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// The flow to send over; `None` while the phone cannot be reached.
    pub fn flow(&self) -> Option<Flow> {
        match self.reach {
            Reach::Flow(flow) => Some(flow),
            Reach::Lost(_) => None,
        }
    }

    /// Whether the phone can be reached now.
    pub fn is_reachable(&self) -> bool {
        matches!(self.reach, Reach::Flow(_))
    }

    /// Which change first registered this contact without a gap, 0 if nobody knows: see [`BindingParts::since`].
    pub fn since(&self) -> u64 {
        self.since
    }

    /// When the phone last registered this contact.
    pub fn updated_at(&self) -> Instant {
        self.updated_at
    }

    /// When the binding ends.
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// Whether the binding still holds at `now`.
    pub fn is_current(&self, now: Instant) -> bool {
        now < self.expires_at
    }

    /// What remains of the binding, in whole seconds, rounded up so that a live one never says 0.
    pub fn remaining(&self, now: Instant) -> u32 {
        let left = self.expires_at.saturating_since(now);
        u32::try_from(left.as_secs() + u64::from(left.subsec_nanos() > 0)).unwrap_or(u32::MAX)
    }

    /// Which change of the location table wrote it; later is larger.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether `other` (of the same user) is what this one replaces.
    ///
    /// Two numbered flows are compared by instance and number, whatever their contacts (RFC 5626 §6); anything else by
    /// Contact URI (RFC 3261 §10.3 step 7, §19.1.4).
    pub fn is_same_place(&self, other: &Self) -> bool {
        if let (Some(mine), Some(theirs), Some(my_id), Some(their_id)) =
            (self.instance(), other.instance(), self.reg_id, other.reg_id)
        {
            return my_id == their_id && mine.eq_ignore_ascii_case(theirs);
        }
        let equivalent = || Some(Uri::parse(self.contact()).ok()?.equivalent(&Uri::parse(other.contact()).ok()?));
        self.contact() == other.contact() || equivalent().unwrap_or(false)
    }

    /// What the store knows the row by, beside the user.
    pub fn key(&self) -> (&str, &str, Option<u32>) {
        (self.contact(), self.piece(2), self.reg_id)
    }

    /// The same binding, held since another change.
    #[must_use]
    pub fn with_since(self, since: u64) -> Self {
        Self { since, ..self }
    }

    /// The same binding with another way back.
    #[must_use]
    pub fn with_reach(&self, reach: Reach) -> Self {
        Self { reach, ..self.clone() }
    }

    /// The row for the journal, with the clock's reading of the expiry.
    pub fn row(&self, clock: Clock) -> BindingRow {
        let flow = self.reach.last_flow();
        BindingRow {
            aor: self.aor.as_str().to_owned(),
            contact: self.contact().to_owned(),
            instance: self.instance().map(str::to_owned),
            reg_id: self.reg_id,
            q: self.q,
            expires_at_unix_ms: clock.unix_ms(self.expires_at).max(1),
            call_id: self.call_id().to_owned(),
            cseq: self.cseq,
            path: self.path().to_owned(),
            params: self.params().to_owned(),
            user_agent: self.user_agent.to_string(),
            transport: flow.transport,
            local: flow.local,
            remote: flow.remote,
            flow_bits: flow.id.to_bits(),
            since: self.since,
            version: self.version,
        }
    }

    /// The row that removes this binding from the store, as change `version`.
    pub fn removal_row(&self, version: u64) -> BindingRow {
        BindingRow { expires_at_unix_ms: 0, version, ..self.row(Clock::default()) }
    }

    fn piece(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { usize::from(self.ends[index - 1]) };
        let end = self.ends.get(index).map_or(self.text.len(), |end| usize::from(*end));
        &self.text[start..end]
    }
}

/// Shows neither who nor where: bindings pass through logs.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("version", &self.version)
            .field("reachable", &self.is_reachable())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// One change of one binding, as the store keeps it: all that is needed to have the binding again after a restart.
///
/// A row replaces the row with the same `aor`, `contact`, `instance` and `reg_id`; with `expires_at_unix_ms` 0 it
/// removes it. Rows whose expiry has passed may be dropped from the store at any time: nothing tells it.
#[derive(Clone, PartialEq, Eq)]
pub struct BindingRow {
    /// Whose it is, `user@domain`.
    pub aor: String,
    /// The Contact URI as the phone wrote it.
    pub contact: String,
    /// The instance, without quotes and brackets.
    pub instance: Option<String>,
    /// The flow's number within the instance.
    pub reg_id: Option<u32>,
    /// Preference in thousandths.
    pub q: u16,
    /// When the binding ends, in milliseconds since 1970; 0 removes the row.
    pub expires_at_unix_ms: i64,
    /// The Call-ID of the REGISTER that wrote it.
    pub call_id: String,
    /// The CSeq number of the REGISTER that wrote it.
    pub cseq: u32,
    /// The Path header field values, comma separated; empty if none.
    pub path: String,
    /// The Contact's kept parameters; empty, or beginning with `;`.
    pub params: String,
    /// The phone's User-Agent; empty if unknown.
    pub user_agent: String,
    /// What carried the REGISTER.
    pub transport: Transport,
    /// Our end of the flow.
    pub local: SocketAddr,
    /// The phone's end of the flow, as seen from here.
    pub remote: SocketAddr,
    /// [`FlowId::to_bits`] of the flow; means nothing after a restart.
    pub flow_bits: u64,
    /// Which change first registered the contact without a gap; 0 if nobody knows.
    pub since: u64,
    /// Which change of the location table wrote it; later is larger, across restarts too.
    pub version: u64,
}

impl BindingRow {
    /// Whether the row removes the binding.
    pub fn is_removal(&self) -> bool {
        self.expires_at_unix_ms == 0
    }

    /// The flow as it was when the row was written, without its handle.
    pub fn flow(&self) -> Flow {
        Flow { id: FlowId::UNBOUND, transport: self.transport, local: self.local, remote: self.remote }
    }
}

/// Shows neither who nor where.
impl fmt::Debug for BindingRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingRow")
            .field("version", &self.version)
            .field("expires_at_unix_ms", &self.expires_at_unix_ms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parts() -> BindingParts<'static> {
        let end = "192.0.2.4:40123".parse().expect("an address");
        let flow = Flow { id: FlowId::new(1, 2, 3), transport: Transport::Tls, local: end, remote: end };
        BindingParts {
            aor: Aor::new("alice", "example.org"),
            contact: "sip:alice@192.0.2.4:5061;transport=tls",
            params: ";+sip.instance=\"<urn:uuid:1>\";reg-id=1",
            instance: "urn:uuid:1",
            reg_id: Some(1),
            q: 700,
            call_id: "c1@phone",
            cseq: 7,
            path: "<sip:edge.example.org;lr>",
            user_agent: Arc::from("phone/1"),
            reach: Reach::Flow(flow),
            since: 8,
            updated_at: Instant::ZERO,
            expires_at: Instant::ZERO + Duration::from_secs(60),
            version: 9,
        }
    }

    #[test]
    fn keeps_every_part() {
        let binding = Binding::new(&parts()).expect("short enough");
        assert_eq!(binding.contact(), parts().contact);
        assert_eq!(binding.params(), parts().params);
        assert_eq!(binding.instance(), Some("urn:uuid:1"));
        assert_eq!(binding.call_id(), "c1@phone");
        assert_eq!(binding.path(), parts().path);
        assert_eq!((binding.q(), binding.cseq(), binding.reg_id()), (700, 7, Some(1)));
    }

    #[test]
    fn row_tells_the_wall_clock() {
        let clock = Clock { unix_at_origin_ms: 1_800_000_000_000 };
        let row = Binding::new(&parts()).expect("short enough").row(clock);
        assert_eq!(row.expires_at_unix_ms, 1_800_000_060_000);
        assert_eq!(clock.instant(row.expires_at_unix_ms), parts().expires_at);
        assert!(!row.is_removal());
        assert_eq!(row.flow().id, FlowId::UNBOUND);
    }

    #[test]
    fn refuses_text_that_does_not_fit() {
        let long = "x".repeat(70_000);
        assert!(Binding::new(&BindingParts { contact: &long, ..parts() }).is_none());
    }

    #[test]
    fn remaining_never_says_zero_while_current() {
        let binding = Binding::new(&parts()).expect("short enough");
        assert_eq!(binding.remaining(Instant::ZERO + Duration::from_millis(59_999)), 1);
        assert_eq!(binding.remaining(Instant::ZERO + Duration::from_secs(60)), 0);
    }

    #[test]
    fn debug_tells_nobody_who_or_where() {
        let binding = Binding::new(&parts()).expect("short enough");
        let shown = format!("{binding:?} {:?}", binding.row(Clock::default()));
        assert!(!shown.contains("alice") && !shown.contains("192.0.2.4"));
    }
}
