//! What sessions and subscriptions have at hand: the transaction layer, the dialogs, the timers, the application's queue.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant, Rng, TimerTable};

use super::authenticate::may_travel;
use super::capabilities::AboutUs;
use super::merged::Ongoing;
use super::{Event, Extra, Timer, TimerKind, UserAgentConfig, sips};
use crate::dialog::{DialogKey, Dialogs};
use crate::digest::{Answerer, Attempt};
use crate::endpoint::{Branch, ClientTx, Endpoint, ServerTx};
use crate::event::SubscriptionId;
use crate::message::{HeaderName, Message, Method, RequestBuilder, ResponseBuilder, StatusCode, Uri};
use crate::registration::RegistrationId;
use crate::session::{LegId, SessionId};
use crate::timer::Timers;

/// Whose a transaction, a timer or a dialog is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Session(SessionId),
    Subscription(SubscriptionId),
    Registration(RegistrationId),
    /// A request outside any dialog.
    Outside,
}

/// A request of ours whose final response is to come: all it takes to send it again with credentials.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub owner: Owner,
    pub dialog: DialogKey,
    pub method: Method,
    /// Its CSeq.
    pub seq: u32,
    pub extra: Arc<Extra>,
    /// The transaction by which its owner knows it: itself, or the one that was challenged first.
    pub first: ClientTx,
    /// How challenges to it were answered.
    pub attempt: Attempt,
    /// Whether it was sent again: its end concerns nobody.
    pub superseded: bool,
}

/// Everything of a [`Core`](super::Core) but its usages.
pub(crate) struct Shared {
    pub config: UserAgentConfig,
    /// What the settings let us say of ourselves, once it was wanted.
    pub about_us: OnceCell<AboutUs>,
    /// T1, T2 and T4, as the endpoint has them.
    pub sip_timers: Timers,
    pub rng: Box<dyn Rng + Send>,
    pub dialogs: Dialogs,
    pub accounts: Vec<Answerer>,
    pub clients: HashMap<ClientTx, Pending>,
    /// The transaction that took the place of a challenged one.
    pub current: HashMap<ClientTx, ClientTx>,
    pub servers: HashMap<ServerTx, Owner>,
    pub ongoing: Ongoing,
    /// Whose place another session has just taken.
    pub replaced: Vec<LegId>,
    pub timers: TimerTable<Timer>,
    pub timer_serial: u64,
    /// At how many timers the outdated ones are looked for.
    pub sweep_at: usize,
    pub events: VecDeque<Event>,
}

/// What a usage acts through.
pub(crate) struct Context<'a> {
    pub now: Instant,
    pub endpoint: &'a mut Endpoint,
    pub shared: &'a mut Shared,
}

impl Context<'_> {
    /// Tells the application.
    pub fn emit(&mut self, event: Event) {
        self.shared.events.push_back(event);
    }

    /// Arms a timer; its serial number tells it from earlier ones of the same kind.
    pub fn arm(&mut self, owner: Owner, kind: TimerKind, after: Duration) -> u64 {
        self.shared.timer_serial += 1;
        let serial = self.shared.timer_serial;
        self.shared.timers.arm(self.now, after, Timer { owner, kind, serial });
        serial
    }

    /// A random token of 64 bits: a tag (RFC 3261 §19.3 asks for 32 at least).
    pub fn tag(&mut self) -> Arc<str> {
        std::str::from_utf8(&hex(self.shared.rng.next_u64())).unwrap_or_default().into()
    }

    /// A random Call-ID. It names no host: that would tell strangers our address.
    pub fn call_id(&mut self) -> Arc<str> {
        let halves = [hex(self.shared.rng.next_u64()), hex(self.shared.rng.next_u64())];
        std::str::from_utf8(halves.as_flattened()).unwrap_or_default().into()
    }

    /// A first CSeq below 2^31, with room to count (RFC 3261 §8.1.1.5).
    pub fn first_seq(&mut self) -> u32 {
        self.shared.rng.below(1 << 16) as u32
    }

    /// Sends the next request of a dialog. `None` if the dialog has gone.
    pub fn request(&mut self, owner: Owner, dialog: DialogKey, method: Method, extra: Arc<Extra>) -> Option<ClientTx> {
        let seq = self.shared.dialogs.get_mut(dialog)?.next_seq();
        self.request_with_seq(owner, dialog, method, seq, extra)
    }

    fn request_with_seq(
        &mut self,
        owner: Owner,
        dialog: DialogKey,
        method: Method,
        seq: u32,
        extra: Arc<Extra>,
    ) -> Option<ClientTx> {
        let flow = self.flow_to(dialog)?;
        let branch = self.endpoint.new_branch(0);
        let credentials = self.credentials(dialog, &flow, &method)?;
        let hops = extra.value(HeaderName::MaxForwards).unwrap_or(MAX_FORWARDS);
        let via = OurVia { flow: &flow, branch: &branch };
        let builder = self.shared.dialogs.get(dialog)?.request(&method, seq, via, hops);
        let builder = with_credentials(self.describe(&method, &extra, builder), credentials.iter());
        let bytes = extra.onto_request(builder).into_vec();
        if method == Method::Invite {
            self.shared.dialogs.get_mut(dialog)?.set_credentials(credentials);
        }
        let tx = self.endpoint.request(self.now, flow, &method, branch.as_str(), bytes);
        let attempt = Attempt::default();
        let pending = Pending { owner, dialog, method, seq, extra, first: tx, attempt, superseded: false };
        self.shared.clients.insert(tx, pending);
        Some(tx)
    }

    /// Sends the ACK to a 2xx (RFC 3261 §13.2.2.4); gives what to send again when the 2xx comes again.
    pub fn acknowledge(&mut self, dialog: DialogKey, seq: u32, extra: &Extra) -> Option<(Flow, Arc<[u8]>)> {
        let flow = self.flow_to(dialog)?;
        let branch = self.endpoint.new_branch(0);
        let dialog = self.shared.dialogs.get(dialog)?;
        let via = OurVia { flow: &flow, branch: &branch };
        // RFC 3261 §22.1: an ACK repeats the credentials of its INVITE.
        let repeated = dialog.credentials().iter().filter(|(_, value)| may_travel(&flow, value));
        let builder = with_credentials(dialog.request(&Method::Ack, seq, via, MAX_FORWARDS), repeated);
        let bytes: Arc<[u8]> = extra.onto_request(builder).into_vec().into();
        self.endpoint.send_stateless(self.now, flow, Arc::clone(&bytes));
        Some((flow, bytes))
    }

    /// Cancels an INVITE of ours (RFC 3261 §9.1), with a Reason value if there is one (RFC 3326).
    pub fn cancel(&mut self, tx: ClientTx, reason: Option<&str>) {
        let current = self.shared.current.get(&tx).copied().unwrap_or(tx);
        match reason {
            Some(reason) => self.endpoint.cancel_because(self.now, current, reason),
            None => self.endpoint.cancel(self.now, current),
        }
    }

    /// Answers a request. The dialog, if there is one, gives Contact and the tag; `None` makes up a tag.
    pub fn respond(
        &mut self,
        tx: ServerTx,
        status: StatusCode,
        dialog: Option<DialogKey>,
        extra: &Extra,
    ) -> Option<Arc<[u8]>> {
        let request = Arc::clone(self.endpoint.server_request(tx)?);
        self.respond_to(tx, &request, status, dialog, extra)
    }

    /// The same, where the endpoint may no longer have the request: a further 2xx.
    pub fn respond_to(
        &mut self,
        tx: ServerTx,
        request: &Message,
        status: StatusCode,
        dialog: Option<DialogKey>,
        extra: &Extra,
    ) -> Option<Arc<[u8]>> {
        let tag = match dialog.and_then(|key| self.shared.dialogs.get(key)) {
            Some(dialog) => Arc::clone(&dialog.id().local_tag),
            None => self.tag(),
        };
        let mut builder = ResponseBuilder::new(request, status).to_tag(&tag);
        let method = request.method()?;
        if let Some(dialog) = dialog.and_then(|key| self.shared.dialogs.get(key))
            && crate::dialog::refreshes_target(method)
            && (status.is_success() || status.is_provisional())
        {
            // RFC 3261 §12.1.1: Record-Route goes back with every value and in its order.
            for value in request.headers(HeaderName::RecordRoute) {
                builder = builder.header(HeaderName::RecordRoute, value);
            }
            builder = builder.header(HeaderName::Contact, dialog.contact());
        }
        if let Some(product) = &self.shared.config.product {
            builder = builder.header(HeaderName::Server, product);
        }
        if status.is_success() && matches!(method, Method::Invite | Method::Options | Method::Update) {
            for (name, value) in self.about_us().iter().filter(|(name, _)| !extra.has(*name)) {
                builder = builder.header(*name, value);
            }
        }
        let bytes: Arc<[u8]> = extra.onto_response(builder).to_vec().into();
        self.endpoint.respond(self.now, tx, status, Arc::clone(&bytes));
        if status.is_final() {
            self.shared.servers.remove(&tx);
            self.shared.ongoing.end(tx, request);
        }
        Some(bytes)
    }

    /// Answers a request with nothing to add.
    pub fn refuse(&mut self, tx: ServerTx, status: StatusCode) {
        self.respond(tx, status, None, &Extra::new());
    }

    /// Our Contact value towards whoever sent a request.
    pub fn contact_for(&self, request: &Message, flow: &Flow) -> Arc<str> {
        sips::contact_for(request, flow, self.shared.config.public_name.as_deref())
    }

    /// What every request that can open a session or answer for one says of us.
    fn describe<'b>(&self, method: &Method, extra: &Extra, mut builder: RequestBuilder<'b>) -> RequestBuilder<'b> {
        if let Some(product) = &self.shared.config.product {
            builder = builder.header(HeaderName::UserAgent, product);
        }
        if matches!(method, Method::Invite | Method::Update | Method::Options) {
            for (name, value) in self.about_us().iter().filter(|(name, _)| !extra.has(*name)) {
                builder = builder.header(*name, value);
            }
        }
        builder
    }

    /// The flow for the dialog's next request.
    fn flow_to(&mut self, dialog: DialogKey) -> Option<Flow> {
        let dialog = self.shared.dialogs.get(dialog)?;
        let along = dialog.flow();
        if dialog.is_half() {
            return Some(along);
        }
        let Ok(uri) = Uri::parse(dialog.next_hop()) else { return Some(along) };
        let flow = self.shared.config.next_hop.next_hop(&uri, &along);
        // RFC 5630 §5.1.1
        sips::permits(&uri, &flow).then_some(flow)
    }
}

/// Max-Forwards of our requests (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: &str = "70";

fn with_credentials<'a, 'b>(
    mut builder: RequestBuilder<'b>,
    credentials: impl Iterator<Item = &'a (HeaderName, String)>,
) -> RequestBuilder<'b> {
    for (name, value) in credentials {
        builder = builder.header(*name, value);
    }
    builder
}

/// Our Via value. `rport` asks for the way back through a NAT (RFC 3581).
struct OurVia<'a> {
    flow: &'a Flow,
    branch: &'a Branch,
}

impl fmt::Display for OurVia<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {};branch={};rport", self.flow.transport, self.flow.local, self.branch.as_str())
    }
}

/// Sixteen hexadecimal digits.
fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15])
}
