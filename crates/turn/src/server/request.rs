//! Requests: who asks, what is refused to everybody, and how answers are written. RFC 8656 §5, RFC 8489 §9.2.4.

use farspeak_sansio::{Flow, Instant, Transmit, Verdict};
use farspeak_stun::attribute::{Attribute, AttributeType, ErrorCode, UnknownAttributes};
use farspeak_stun::limit::longest_answer;
use farspeak_stun::long_term::{Authenticated, Refused};
use farspeak_stun::{Class, Key, Malformed, Message, Method, TransactionId, Writer};

use super::action::Action;
use super::allocation::Owner;
use super::flows::Home;
use super::{ConnectionId, Server, reservation};

/// Who asks, and all that an answer needs, now or later.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) flow: Flow,
    method: Method,
    pub(super) transaction: TransactionId,
    fingerprint: bool,
    seal: Authenticated,
}

/// A request of somebody who has proved who it is.
pub(super) struct Request<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) asker: Asker,
    pub(super) owner: Owner,
    /// Allocations that this user may have.
    pub(super) quota: Option<u32>,
    /// The allocation of the 5-tuple.
    pub(super) slot: Option<u32>,
}

/// Why a request fails.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// With this code.
    Code(ErrorCode<'static>),
    /// 420: comprehension-required attributes are unknown (RFC 8489 §6.3.1).
    Unknown,
    /// 300: elsewhere (RFC 8489 §10).
    Elsewhere,
}

impl From<ErrorCode<'static>> for Fault {
    fn from(code: ErrorCode<'static>) -> Self {
        Self::Code(code)
    }
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Code(ErrorCode::BAD_REQUEST)
    }
}

/// Longest answer: two addresses, a ticket, a token, SOFTWARE of 508 bytes and seals fit.
const LONGEST: usize = 1024;
/// Most types in UNKNOWN-ATTRIBUTES.
const MOST_UNKNOWN: usize = 16;

impl Server {
    /// A TURN request.
    pub(super) fn request(&mut self, now: Instant, client: Flow, message: &Message<'_>) -> Verdict {
        let method = message.method();
        let tcp = self.config.tcp_relaying && matches!(method, Method::CONNECT | Method::CONNECTION_BIND);
        if !tcp
            && !matches!(method, Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND)
        {
            return self.malformed();
        }
        let elsewhere = self.home_elsewhere(now, &client, message);
        match elsewhere {
            // RFC 6062 §5.4: what follows a ConnectionBind request is for the peer, if it succeeds. No way to remember.
            Some(shard) if method == Method::CONNECTION_BIND => return Verdict::ToHome { shard, waits: true },
            // A ticket was given to somebody who had proved who it is; a token anybody can make up.
            Some(shard) if method == Method::REFRESH && self.leads(now, &client, shard) => {
                return Verdict::ToHome { shard, waits: false };
            }
            _ => {}
        }
        let request = match self.authenticate(now, client, message) {
            Ok(request) => request,
            Err(refused) => {
                self.challenge(now, &client, message, refused);
                return Verdict::Nothing;
            }
        };
        if let Some(shard) = elsewhere.filter(|_| method == Method::ALLOCATE)
            && self.leads(now, &client, shard)
        {
            return Verdict::ToHome { shard, waits: false };
        }
        let asker = request.asker.clone();
        let done = self.understood(&request).and_then(|()| match method {
            Method::ALLOCATE => self.allocate(now, request),
            Method::REFRESH => self.refresh(now, request),
            Method::CREATE_PERMISSION => self.create_permission(now, &request),
            Method::CHANNEL_BIND => self.channel_bind(now, &request),
            Method::CONNECT => self.connect(now, &request),
            _ => self.connection_bind(now, &request),
        });
        if let Err(fault) = done {
            self.fail(&asker, message, fault);
        }
        Verdict::Nothing
    }

    /// Remembers where a client's packets belong, if there is room for that.
    fn leads(&mut self, now: Instant, client: &Flow, shard: u8) -> bool {
        let (until, most) = (now + self.config.lifetimes.max, self.config.quotas.handed_over);
        self.flows.hand_over(now, client, shard, until, most)
    }

    /// The shard that made the ticket or token in a request, if another one did and the client's address is its own: the
    /// nonce proves that.
    fn home_elsewhere(&self, now: Instant, client: &Flow, message: &Message<'_>) -> Option<u8> {
        let shard = match message.method() {
            Method::REFRESH => self.tickets.shard(message.mobility_ticket().ok()??)?,
            Method::ALLOCATE => reservation::shard(message.reservation_token().ok()??),
            Method::CONNECTION_BIND => ConnectionId::shard_of(message.connection_id().ok()??),
            _ => return None,
        };
        let here = matches!(self.flows.get(client), Some(Home::Here(_)));
        if here || self.is_guest(client) || shard == self.config.shard || shard >= self.config.shards {
            return None;
        }
        let nonce = message.nonce().ok()??;
        self.nonces.check(now, client.remote, nonce).ok()?;
        message.has_integrity().then_some(shard)
    }

    /// Who asks (RFC 8489 §9.2.4).
    fn authenticate<'a>(&mut self, now: Instant, flow: Flow, message: &'a Message<'a>) -> Result<Request<'a>, Refused> {
        let slot = match self.flows.get(&flow) {
            Some(Home::Here(slot)) => Some(slot),
            _ => None,
        };
        let unix = self.unix_now(now);
        // A client that moves, or binds a connection, names its allocation from another 5-tuple.
        let named = || match message.method() {
            Method::REFRESH => self.ticket_slot(message.mobility_ticket().ok()??),
            Method::CONNECTION_BIND => self.tcp.slot(message.connection_id().ok()??),
            _ => None,
        };
        let lasting = slot.or_else(named).and_then(|slot| self.allocations.get(slot));
        let lasting = lasting.filter(|_| !self.config.strict_expiry);
        let realm = &self.config.realm;
        let mut owner: Option<(Owner, Option<u32>)> = None;
        let seal = self.authority.check(now, flow.remote, message, |account, algorithm| {
            // What was allocated with a credential that has a time may outlast it.
            let known = lasting.and_then(|allocation| allocation.owner.lasting(account, algorithm));
            let found = match known {
                Some(known) => known,
                None => {
                    let mut found = self.accounts.find(unix, account, realm, algorithm)?;
                    if !found.other_keys.is_empty() && message.check_integrity(&found.key).is_err() {
                        let fits = |key: &Key| message.check_integrity(key).is_ok();
                        found.key = std::mem::take(&mut found.other_keys).into_iter().find(fits).unwrap_or(found.key);
                    }
                    found
                }
            };
            let (key, quota) = (found.key.clone(), found.quota.map(|quota| quota.allocations));
            owner = Some((Owner::new(found, account, algorithm), quota));
            Some(key)
        })?;
        let (owner, quota) = owner.ok_or(Refused::Unauthenticated)?;
        let (method, transaction) = (message.method(), message.transaction_id());
        let asker = Asker { flow, method, transaction, fingerprint: message.has_fingerprint(), seal };
        Ok(Request { message, asker, owner, quota, slot })
    }

    /// Answers who has not proved who it is: seldom enough, and shortly enough, that it is no use against others.
    fn challenge(&mut self, now: Instant, client: &Flow, message: &Message<'_>, refused: Refused) {
        let mut buffer = [0; LONGEST];
        let mut room = LONGEST;
        if !client.transport.is_reliable() {
            if !self.limit.admit(now, client.remote.ip()) {
                self.counters.limited += 1;
                return;
            }
            room = room.min(longest_answer(message.bytes().len(), client.remote.ip()));
        }
        match self.authority.refuse(now, client.remote, message, refused, &mut buffer[..room]) {
            Some(bytes) => {
                let bytes = bytes.into();
                self.actions.push_back(Action::Transmit(Transmit { flow: *client, bytes }));
                self.counters.challenged += 1;
                let code = match refused {
                    Refused::Unauthenticated => 401,
                    Refused::BadRequest => 400,
                    Refused::StaleNonce => 438,
                };
                self.counters.requests.count(client.transport, message.method(), code);
            }
            None => self.counters.limited += 1,
        }
    }

    /// Refuses what has to be understood and is not (RFC 8489 §6.3.1).
    fn understood(&self, request: &Request<'_>) -> Result<(), Fault> {
        let understands = self.understands();
        if request.message.not_understood(understands).next().is_some() { Err(Fault::Unknown) } else { Ok(()) }
    }

    fn understands(&self) -> impl Fn(AttributeType) -> bool + Copy + use<> {
        let dont_fragment = self.config.dont_fragment;
        let tcp = self.config.tcp_relaying;
        move |kind| match kind {
            AttributeType::DONT_FRAGMENT => dont_fragment,
            AttributeType::CONNECTION_ID => tcp,
            AttributeType::ACCESS_TOKEN | AttributeType::CHANGE_REQUEST | AttributeType::RESPONSE_PORT => false,
            kind => kind.is_known(),
        }
    }

    /// Answers with success.
    pub(super) fn succeed(&mut self, asker: &Asker, write: impl FnOnce(&mut Writer<'_>)) {
        self.counters.succeeded += 1;
        self.counters.requests.count(asker.flow.transport, asker.method, 0);
        self.answer(asker, Class::Success, write);
    }

    /// Answers with an error. The message is the request, for its attributes; an answer that comes later has none left.
    pub(super) fn fail(&mut self, asker: &Asker, message: &Message<'_>, fault: Fault) {
        let mut types = [0; MOST_UNKNOWN * 2];
        let mut length = 0;
        if matches!(fault, Fault::Unknown) {
            for (kind, room) in message.not_understood(self.understands()).zip(types.chunks_exact_mut(2)) {
                room.copy_from_slice(&kind.0.to_be_bytes());
                length += 2;
            }
        }
        match fault {
            Fault::Code(code) => self.fail_with(asker, code),
            Fault::Unknown => {
                let list = UnknownAttributes::from_bytes(&types[..length]).expect("two bytes each");
                self.refused(asker, ErrorCode::UNKNOWN_ATTRIBUTE);
                self.answer(asker, Class::Error, |writer| {
                    writer.push(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE));
                    writer.push(Attribute::UnknownAttributes(list));
                });
            }
            Fault::Elsewhere => {
                let Some((server, domain)) = self.elsewhere(&asker.flow) else { return };
                self.refused(asker, ErrorCode::TRY_ALTERNATE);
                self.answer(asker, Class::Error, |writer| {
                    writer.push(Attribute::ErrorCode(ErrorCode::TRY_ALTERNATE));
                    writer.push(Attribute::AlternateServer(server));
                    if let Some(domain) = &domain {
                        writer.push(Attribute::AlternateDomain(domain));
                    }
                });
            }
        }
    }

    /// Answers with an error that needs no more than its code.
    pub(super) fn fail_with(&mut self, asker: &Asker, code: ErrorCode<'_>) {
        self.refused(asker, code);
        self.counters.over_quota += u64::from(code.code == ErrorCode::ALLOCATION_QUOTA_REACHED.code);
        self.counters.forbidden += u64::from(code.code == ErrorCode::FORBIDDEN.code);
        self.answer(asker, Class::Error, |writer| {
            writer.push(Attribute::ErrorCode(code));
        });
    }

    fn refused(&mut self, asker: &Asker, code: ErrorCode<'_>) {
        self.counters.refused += 1;
        self.counters.requests.count(asker.flow.transport, asker.method, code.code);
    }

    fn answer(&mut self, asker: &Asker, class: Class, write: impl FnOnce(&mut Writer<'_>)) {
        let mut buffer = [0; LONGEST];
        let mut writer = Writer::new(&mut buffer, class, asker.method, asker.transaction);
        write(&mut writer);
        // RFC 8656 §5.
        let software = self.config.software.as_deref();
        if let Some(software) = software.filter(|_| matches!(asker.method, Method::ALLOCATE | Method::REFRESH)) {
            writer.push(Attribute::Software(software));
        }
        asker.seal.seal(&mut writer);
        if asker.fingerprint {
            writer.fingerprint();
        }
        if let Ok(bytes) = writer.finish() {
            let bytes = bytes.into();
            self.actions.push_back(Action::Transmit(Transmit { flow: asker.flow, bytes }));
        }
    }

    /// Where this client shall go instead, if anywhere.
    pub(super) fn elsewhere(&self, flow: &Flow) -> Option<(std::net::SocketAddr, Option<String>)> {
        let alternate = self.config.alternate_server.as_ref()?;
        let server = if flow.remote.ip().to_canonical().is_ipv4() { alternate.v4? } else { alternate.v6? };
        Some((server, alternate.domain.clone().filter(|_| flow.transport.is_secure())))
    }

    /// The allocation of a request that needs one (437), made by the same user (441).
    pub(super) fn allocation_of(&self, request: &Request<'_>) -> Result<u32, Fault> {
        let slot = request.slot.ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let allocation = self.allocations.get(slot).filter(|allocation| allocation.opening.is_none());
        let allocation = allocation.ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        if !allocation.is_owned_by(&request.owner) {
            return Err(ErrorCode::WRONG_CREDENTIALS.into());
        }
        Ok(slot)
    }
}
