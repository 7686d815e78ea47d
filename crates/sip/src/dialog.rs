//! Dialogs: what two user agents remember of each other between requests (RFC 3261 §12).
//!
//! ```text
//!   UAC: INVITE ──> half dialog (no remote tag) ──1xx, 2xx──> one dialog for each remote tag   (§12.1.2)
//!   UAS: INVITE ──> dialog, with the tag that we choose                                         (§12.1.1)
//! ```
//!
//! A [`Dialog`] builds the requests that run inside it and judges those that arrive. It knows
//! nothing of sessions or subscriptions: those are *usages* of a dialog (RFC 5057), several may share one, and it ends
//! with the last of them.

mod route;
mod table;

use std::fmt::Display;
use std::sync::Arc;

use farspeak_sansio::Flow;

use crate::message::{Contacts, HeaderName, Message, Method, NameAddr, RequestBuilder, StatusCode};
use crate::user_agent::AccountId;
pub(crate) use table::{DialogKey, Dialogs};

/// What names a dialog at this end (RFC 3261 §12).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: Arc<str>,
    /// Our tag.
    pub local_tag: Arc<str>,
    /// The peer's tag. Empty in a half dialog, and for a peer of RFC 2543.
    pub remote_tag: Arc<str>,
}

/// How a dialog of ours begins: who calls whom, and over which flow.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Request-URI of the first request: the remote target until the peer says better.
    pub target: Arc<str>,
    /// Our From value without a tag: `"Alice" <sip:alice@example.org>`.
    pub from: Arc<str>,
    /// The To value: `<sip:bob@example.org>`.
    pub to: Arc<str>,
    /// Our Contact value: `<sip:alice@192.0.2.1:5060>`.
    pub contact: Arc<str>,
    /// Route values to begin with, such as the outbound proxy's or a Service-Route (RFC 3608). Default none.
    pub route_set: Vec<Arc<str>>,
    /// The flow to the first hop.
    pub flow: Flow,
    /// Whose logins answer challenges. Default: the first account's.
    pub account: Option<AccountId>,
}

/// One end's state of a dialog (RFC 3261 §12.1).
#[derive(Clone, Debug)]
pub struct Dialog {
    id: DialogId,
    /// The whole value of From in our requests, tag included.
    local: Arc<str>,
    /// The whole value of To in our requests, tag included once there is one.
    remote: Arc<str>,
    contact: Arc<str>,
    remote_target: Arc<str>,
    route_set: Vec<Arc<str>>,
    local_seq: u32,
    remote_seq: Option<u32>,
    confirmed: bool,
    flow: Flow,
    account: Option<AccountId>,
    /// What the last INVITE proved itself with: its ACK says the same.
    credentials: Vec<(HeaderName, String)>,
}

/// Why a request has no place in a dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) enum DialogError {
    /// Its CSeq is not above the last one's: 500 (RFC 3261 §12.2.2).
    OutOfOrder,
    /// From, To, Call-ID, CSeq or Contact is missing or malformed: 400.
    Malformed,
}

impl DialogError {
    /// What the peer is told.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::OutOfOrder => StatusCode::SERVER_INTERNAL_ERROR,
            Self::Malformed => StatusCode::BAD_REQUEST,
        }
    }
}

impl Dialog {
    /// A half dialog for a request of ours (RFC 3261 §8.1.1): tags, Call-ID and the CSeq before the first come from the
    /// caller's randomness.
    pub(crate) fn open(opening: Opening, call_id: Arc<str>, local_tag: Arc<str>, seq: u32) -> Self {
        let local = format!("{};tag={local_tag}", opening.from).into();
        Self {
            id: DialogId { call_id, local_tag, remote_tag: Arc::from("") },
            local,
            remote: opening.to,
            contact: opening.contact,
            remote_target: opening.target,
            route_set: opening.route_set,
            local_seq: seq,
            remote_seq: None,
            confirmed: false,
            flow: opening.flow,
            account: opening.account.or(Some(AccountId::FIRST)),
            credentials: Vec::new(),
        }
    }

    /// The dialog that a response to the half dialog's request opens (RFC 3261 §12.1.2): Record-Route reversed, the
    /// target from Contact. The flow stays: it led to the first hop.
    pub(crate) fn fork(&self, response: &Message) -> Result<Self, DialogError> {
        let mut dialog = self.clone();
        let remote = response.header(HeaderName::To).ok_or(DialogError::Malformed)?;
        dialog.id.remote_tag = response.to_tag().unwrap_or_default().into();
        dialog.remote = remote.into();
        dialog.take_route_set(response, true)?;
        dialog.refresh_target(response);
        Ok(dialog)
    }

    /// The dialog that a NOTIFY opens from the half dialog of a SUBSCRIBE or REFER (RFC 6665 §4.4.1).
    pub(crate) fn fork_by_request(&self, request: &Message) -> Result<Self, DialogError> {
        let mut dialog = self.clone();
        let remote = request.header(HeaderName::From).ok_or(DialogError::Malformed)?;
        dialog.id.remote_tag = request.from_tag().ok_or(DialogError::Malformed)?.into();
        dialog.remote = remote.into();
        dialog.remote_seq = Some(request.cseq().map_err(|_| DialogError::Malformed)?.number);
        dialog.take_route_set(request, false)?;
        dialog.refresh_target(request);
        Ok(dialog)
    }

    /// The dialog that a request opens here (RFC 3261 §12.1.1). `contact` is our Contact value.
    pub(crate) fn accept(
        request: &Message,
        local_tag: Arc<str>,
        contact: Arc<str>,
        seq: u32,
        flow: Flow,
    ) -> Result<Self, DialogError> {
        let text = |name| request.header(name).ok_or(DialogError::Malformed);
        let (from, to) = (text(HeaderName::From)?, text(HeaderName::To)?);
        let malformed = |_| DialogError::Malformed;
        let mut dialog = Self {
            id: DialogId {
                call_id: request.call_id().map_err(malformed)?.into(),
                remote_tag: request.from_tag().unwrap_or_default().into(),
                local_tag: Arc::clone(&local_tag),
            },
            // Some phones end a value with a semicolon of no use; two would not be well formed.
            local: format!("{};tag={local_tag}", to.trim_end_matches([';', ' ', '\t'])).into(),
            remote: from.into(),
            contact,
            remote_target: request.from().map_err(malformed)?.uri_text.into(),
            route_set: Vec::new(),
            local_seq: seq,
            remote_seq: Some(request.cseq().map_err(malformed)?.number),
            confirmed: false,
            flow,
            account: None,
            credentials: Vec::new(),
        };
        dialog.take_route_set(request, false)?;
        dialog.refresh_target(request);
        Ok(dialog)
    }

    /// The dialog's name.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Whether no response has told the peer's tag yet.
    pub(crate) fn is_half(&self) -> bool {
        self.id.remote_tag.is_empty()
    }

    /// Whether a 2xx has confirmed it; before that it is early (RFC 3261 §12).
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// A 2xx has confirmed it. Its Record-Route replaces an early one's (RFC 3261 §13.2.2.4).
    pub(crate) fn confirm(&mut self, response: Option<&Message>) -> Result<(), DialogError> {
        if let Some(response) = response
            && !self.confirmed
        {
            self.take_route_set(response, true)?;
        }
        if let Some(response) = response {
            self.refresh_target(response);
        }
        self.confirmed = true;
        Ok(())
    }

    /// Where requests are meant to end: the peer's Contact.
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The Route values of requests, nearest first.
    pub fn route_set(&self) -> &[Arc<str>] {
        &self.route_set
    }

    /// From in our requests, tag included.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// To in our requests, tag included.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// Our Contact value.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Sets our Contact value, for the next target refresh to tell the peer.
    pub(crate) fn set_contact(&mut self, contact: Arc<str>) {
        self.contact = contact;
    }

    /// Sets From in our requests, given without tag (RFC 4916 §4.4.1).
    pub(crate) fn set_local(&mut self, from: &str) {
        self.local = format!("{from};tag={}", self.id.local_tag).into();
    }

    /// Takes the peer's From as our To, if its URI is another one than before (RFC 4916 §4.4.2).
    pub(crate) fn take_remote(&mut self, request: &Message) -> bool {
        let (Ok(from), Some(text)) = (request.from(), request.header(HeaderName::From)) else { return false };
        let same = match (NameAddr::parse(HeaderName::To, &self.remote), from.uri()) {
            (Ok(old), Ok(new)) => old.uri().is_ok_and(|old| old.equivalent(&new)),
            (_, Ok(_)) => false,
            (_, Err(_)) => true,
        };
        if !same {
            self.remote = text.into();
        }
        !same
    }

    pub(crate) fn set_flow(&mut self, flow: Flow) {
        self.flow = flow;
    }

    /// The flow over which the next hop was reached last.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    pub(crate) fn set_account(&mut self, account: AccountId) {
        self.account = Some(account);
    }

    /// Whose logins answer challenges to its requests; nobody's, if the peer began it.
    pub(crate) fn account(&self) -> Option<AccountId> {
        self.account
    }

    pub(crate) fn credentials(&self) -> &[(HeaderName, String)] {
        &self.credentials
    }

    pub(crate) fn set_credentials(&mut self, credentials: Vec<(HeaderName, String)>) {
        self.credentials = credentials;
    }

    /// The Request-URI of requests.
    pub fn request_uri(&self) -> &str {
        route::plan(&self.remote_target, &self.route_set).0
    }

    /// The CSeq of our last request.
    pub fn local_seq(&self) -> u32 {
        self.local_seq
    }

    /// The CSeq of the peer's last request.
    pub fn remote_seq(&self) -> Option<u32> {
        self.remote_seq
    }

    /// Takes a request of the peer's: its CSeq must be above the last one (RFC 3261 §12.2.2). ACK and CANCEL have the
    /// CSeq of their INVITE and do not come here. The flow it came over is the way back if it is a connection.
    pub(crate) fn receive(&mut self, request: &Message, flow: Flow) -> Result<(), DialogError> {
        let seq = request.cseq().map_err(|_| DialogError::Malformed)?.number;
        if self.remote_seq.is_some_and(|last| seq <= last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_seq = Some(seq);
        if flow.transport.is_reliable() && flow.remote == self.flow.remote {
            self.flow = flow;
        }
        Ok(())
    }

    /// Takes the peer's Contact from a target refresh request or its 2xx (RFC 3261 §12.2, RFC 6141 §4).
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        if let Ok(Contacts::List(mut contacts)) = message.contacts()
            && let Some(Ok(contact)) = contacts.next()
        {
            self.remote_target = contact.uri_text.into();
        }
    }

    /// The CSeq number for our next request.
    pub(crate) fn next_seq(&mut self) -> u32 {
        self.local_seq += 1;
        self.local_seq
    }

    /// The URI that the request is sent towards, and the request without Via: From, To, Call-ID, CSeq, Route,
    /// Max-Forwards and, in target refresh requests, Contact. ACK takes the CSeq of the INVITE that it answers.
    pub(crate) fn request(&self, method: &Method, seq: u32, via: impl Display, hops: &str) -> RequestBuilder<'_> {
        let (uri, routes, last) = route::plan(&self.remote_target, &self.route_set);
        let mut builder = RequestBuilder::new(method.clone(), uri).header_of(HeaderName::Via, via);
        for value in routes {
            builder = builder.header(HeaderName::Route, value);
        }
        if let Some(last) = last {
            builder = builder.header_of(HeaderName::Route, format_args!("<{last}>"));
        }
        builder = builder
            .header(HeaderName::MaxForwards, hops)
            .header(HeaderName::From, &self.local)
            .header(HeaderName::To, &self.remote)
            .header(HeaderName::CallId, &self.id.call_id)
            .header_of(HeaderName::CSeq, format_args!("{seq} {method}"));
        if refreshes_target(method) {
            builder = builder.header(HeaderName::Contact, &self.contact);
        }
        builder
    }

    /// The URI of the next hop: the first Route, or the target.
    pub fn next_hop(&self) -> &str {
        let first = self.route_set.first().and_then(|value| NameAddr::parse(HeaderName::Route, value).ok());
        first.map_or(&self.remote_target, |address| address.uri_text)
    }

    /// Record-Route as the route set: reversed at the UAC, as it stands at the UAS (RFC 3261 §12.1).
    fn take_route_set(&mut self, message: &Message, reversed: bool) -> Result<(), DialogError> {
        let mut values = route::record_route(message)?;
        if reversed {
            values.reverse();
        }
        self.route_set = values;
        Ok(())
    }
}

/// Whether a request of that method says where the sender can be reached from now on (RFC 3261 §12.2.1.1, RFC 3311 §5.1,
/// RFC 6665 §3.1, RFC 3515 §2.2).
pub(crate) fn refreshes_target(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer | Method::Register
    )
}
