//! One call of a test phone: a dialog (RFC 3261 §12) and where its INVITE stands.

use std::sync::Arc;

use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::message::{Contacts, Message};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// We have sent an INVITE and wait for its final response.
    Calling,
    /// An INVITE (the first or a later one) waits for our final response.
    Incoming(ServerTx),
    /// We have answered and wait for the ACK.
    Accepted { tx: ServerTx },
    /// Both talk.
    Up,
    /// Over.
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Caller,
    Callee,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub role: Role,
    pub state: State,
    pub call_id: String,
    pub local: String,
    pub local_tag: String,
    pub remote: String,
    pub remote_tag: Option<String>,
    pub local_cseq: u32,
    pub remote_cseq: u32,
    pub route_set: Vec<String>,
    pub remote_target: String,
    /// Our 2xx to the last INVITE of the peer.
    pub answer: Option<Arc<[u8]>>,
    /// Our last ACK, and for which INVITE.
    pub ack: Option<Arc<[u8]>>,
    pub acked_cseq: u32,
    /// How many ACKs have come in.
    pub acks: u32,
}

impl Call {
    pub fn outgoing(uri: &str, local: &str, call_id: String, tag: String) -> Self {
        Self {
            role: Role::Caller,
            state: State::Calling,
            call_id,
            local: local.to_owned(),
            local_tag: tag,
            remote: uri.to_owned(),
            remote_tag: None,
            local_cseq: 1,
            remote_cseq: 0,
            route_set: Vec::new(),
            remote_target: uri.to_owned(),
            answer: None,
            ack: None,
            acked_cseq: 0,
            acks: 0,
        }
    }

    pub fn incoming(request: &Message, tx: ServerTx, tag: String) -> Self {
        let uri_of = |name: Result<farspeak_sip::message::NameAddr<'_>, _>| name.map(|n| n.uri_text.to_owned());
        Self {
            role: Role::Callee,
            state: State::Incoming(tx),
            call_id: request.call_id().unwrap_or_default().to_owned(),
            local: uri_of(request.to()).unwrap_or_default(),
            local_tag: tag,
            remote: uri_of(request.from()).unwrap_or_default(),
            remote_tag: request.from_tag().map(str::to_owned),
            local_cseq: 0,
            remote_cseq: request.cseq().map_or(0, |cseq| cseq.number),
            // RFC 3261 §12.1.1: in the order of the request.
            route_set: record_routes(request),
            remote_target: contact(request).unwrap_or_default(),
            answer: None,
            ack: None,
            acked_cseq: 0,
            acks: 0,
        }
    }

    /// The 2xx of our INVITE makes the dialog (RFC 3261 §12.1.2: Record-Route in reverse).
    pub fn establish(&mut self, response: &Message) {
        if self.remote_tag.is_none() || self.remote_tag.as_deref() != response.to_tag() {
            self.route_set = record_routes(response);
            self.route_set.reverse();
        }
        self.remote_tag = response.to_tag().map(str::to_owned);
        if let Some(target) = contact(response) {
            self.remote_target = target;
        }
    }

    /// A later INVITE of the peer: a new target, a new number.
    pub fn refresh(&mut self, request: &Message) {
        self.remote_cseq = request.cseq().map_or(0, |cseq| cseq.number);
        if let Some(target) = contact(request) {
            self.remote_target = target;
        }
    }

    /// Whether a request of the peer is part of this dialog.
    pub fn is_of(&self, request: &Message) -> bool {
        request.call_id().is_ok_and(|id| id == self.call_id)
            && request.to_tag() == Some(&self.local_tag)
            && request.from_tag() == self.remote_tag.as_deref()
    }

    /// Whether this is what another answer to the same INVITE became.
    pub fn is_twin_of(&self, _at: usize, tag: &str, response: &Message) -> bool {
        response.call_id().is_ok_and(|id| id == self.call_id) && self.remote_tag.as_deref() == Some(tag)
    }

    /// From, To, Call-ID and Route.
    pub fn headers(&self) -> Vec<(String, String)> {
        let tag = self.remote_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let mut headers = vec![
            ("From".to_owned(), format!("<{}>;tag={}", self.local, self.local_tag)),
            ("To".to_owned(), format!("<{}>{tag}", self.remote)),
            ("Call-ID".to_owned(), self.call_id.clone()),
        ];
        headers.extend(self.route_set.iter().map(|route| ("Route".to_owned(), route.clone())));
        headers
    }
}

fn record_routes(message: &Message) -> Vec<String> {
    message.record_routes().filter_map(|route| route.ok().map(|route| format!("<{}>", route.uri_text))).collect()
}

fn contact(message: &Message) -> Option<String> {
    match message.contacts().ok()? {
        Contacts::List(mut list) => list.next()?.ok().map(|contact| contact.uri_text.to_owned()),
        _ => None,
    }
}
