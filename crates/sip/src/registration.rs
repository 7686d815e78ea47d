//! Registration at the phone's end: an address of record bound over one or several flows, kept alive and repaired
//! (RFC 3261 §10.2, RFC 5626 §4, RFC 5627 §4).
//!
//! ```text
//!   register ──> one machine for each flow (reg-id 1, 2 …)
//!
//!                  REGISTER            200                    before it expires
//!     Waiting ───────────────> Trying ──────> Registered ──────────────────────────> Trying
//!        ^                       │                │ flow failed, no pong
//!        └── back-off, jitter <──┴────────────────┘ next target first, if the caller gave more
//! ```
//!
//! Where a registrar is found (RFC 3263) is the caller's business: it gives each flow a list of targets, which are tried
//! in turn. Challenges are answered by the account; a 423 is obeyed; a first hop without outbound support (439) is
//! registered at without it.

mod backoff;
mod binding;
mod keep_alive;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Flow;

use crate::endpoint::ClientTx;
use crate::header::Gruus;
use crate::message::Message;
use crate::session::{Done, VerbError};
use crate::slab::Key;
use crate::user_agent::{AccountId, Agent, Context, Event, Failure, Owner, Timer};
pub use backoff::Backoff;
use binding::Binding;
pub use keep_alive::KeepAlive;

/// A registration of a user agent. Dead once [`RegistrationEvent::Ended`] has named it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(pub(crate) Key);

/// What to register, and where.
#[derive(Clone, Debug)]
pub struct Register {
    /// Request-URI: the domain's, `sip:example.org` (RFC 3261 §10.2).
    pub registrar: Arc<str>,
    /// The address of record as From and To value: `"Alice" <sip:alice@example.org>`.
    pub aor: Arc<str>,
    /// The user part of the Contact. Default of most phones: that of the address of record.
    pub user: Arc<str>,
    /// The device, `urn:uuid:…`, the same after each start (RFC 5626 §4.1). Without it, outbound and GRUUs are not asked
    /// for.
    pub instance: Option<Arc<str>>,
    /// Further Contact parameters, each with its semicolon: `;+sip.ice;q=0.7`. Default none.
    pub contact_params: Arc<str>,
    /// Route values for the outbound proxies. Default none.
    pub route_set: Vec<Arc<str>>,
    /// For each flow the ways to the registrar, the best first. One flow is usual, two survive the loss of an edge
    /// (RFC 5626 §4.2.1); at most [`Register::MAX_FLOWS`].
    pub flows: Vec<Vec<Flow>>,
    /// How long a binding lasts, in seconds. Default of most registrars: 3600. Connections want less than an hour.
    pub expires: u32,
    /// Whose logins answer challenges.
    pub account: Option<AccountId>,
}

impl Register {
    /// Most flows of a registration. RFC 5626 §4.2.1 finds more than four of no use.
    pub const MAX_FLOWS: usize = 4;
}

/// What the application hears of a registration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RegistrationEvent {
    /// A flow is registered, for the first time or again.
    Registered {
        /// Which flow, from 0.
        index: usize,
        /// The flow, as the driver now has it: calls go out and come in over it.
        flow: Flow,
        /// For how long, in seconds.
        expires: u32,
        /// The URIs under which this device can be reached from anywhere (RFC 5627).
        gruus: Gruus,
        /// Route values for requests to others (RFC 3608).
        service_route: Vec<Arc<str>>,
        /// The whole response, with the other bindings of the address of record.
        response: Arc<Message>,
    },
    /// A flow could not be registered, or was lost. It is tried again.
    Lost {
        /// Which flow, from 0.
        index: usize,
        /// Why.
        failure: Failure,
        /// When the next attempt is due.
        retry_in: Duration,
    },
    /// The registration was ended by the application; the bindings are gone, or will expire.
    Ended,
}

/// One address of record with its flows.
#[derive(Debug)]
pub(crate) struct Registration {
    id: RegistrationId,
    register: Register,
    bindings: Vec<Binding>,
    leaving: bool,
}

impl Agent<'_> {
    /// Registers, and stays registered until [`Self::unregister`].
    pub fn register(&mut self, register: Register) -> Result<RegistrationId, VerbError> {
        let (registrations, mut cx) = self.split_registrations();
        let usable = !register.flows.is_empty() && register.flows.iter().all(|targets| !targets.is_empty());
        if !usable {
            return Err(VerbError::WrongState);
        }
        if register.flows.len() > Register::MAX_FLOWS || registrations.len() >= cx.shared.config.max_registrations {
            return Err(VerbError::TooMany);
        }
        let id = RegistrationId(registrations.next_key());
        let bindings = (0..register.flows.len()).map(|index| Binding::new(&mut cx, id, &register, index)).collect();
        let mut registration = Registration { id, register, bindings, leaving: false };
        for index in 0..registration.bindings.len() {
            registration.send(&mut cx, index);
        }
        registrations.insert(registration);
        Ok(id)
    }

    /// Takes the bindings of this device back (RFC 3261 §10.2.2). [`RegistrationEvent::Ended`] follows when the registrar
    /// has answered, or did not.
    pub fn unregister(&mut self, id: RegistrationId) -> Done {
        let (registrations, mut cx) = self.split_registrations();
        let registration = registrations.get_mut(id.0).ok_or(VerbError::Gone)?;
        registration.leave(&mut cx);
        self.settle_registration(id);
        Ok(())
    }

    /// Gives a flow new targets, for when the old ones were found out to be stale. They are tried at the next attempt.
    pub fn set_targets(&mut self, id: RegistrationId, index: usize, targets: Vec<Flow>) -> Done {
        let (registrations, _) = self.split_registrations();
        let registration = registrations.get_mut(id.0).ok_or(VerbError::Gone)?;
        if targets.is_empty() || index >= registration.register.flows.len() {
            return Err(VerbError::WrongState);
        }
        registration.register.flows[index] = targets;
        Ok(())
    }

    /// The driver lost a flow: registrations over it are repaired (RFC 5626 §4.5).
    pub fn flow_failed(&mut self, flow: Flow) {
        for key in self.core.registrations.keys() {
            let (registrations, mut cx) = self.split_registrations();
            if let Some(registration) = registrations.get_mut(key) {
                registration.flow_failed(&mut cx, &flow);
                self.settle_registration(RegistrationId(key));
            }
        }
    }

    /// The peer answered a keep-alive on a flow: CRLF on a stream (RFC 5626 §4.4.1).
    pub fn pong(&mut self, flow: Flow) {
        for key in self.core.registrations.keys() {
            if let Some(registration) = self.core.registrations.get_mut(key) {
                registration.pong(&flow);
            }
        }
    }

    pub(crate) fn settle_registration(&mut self, id: RegistrationId) {
        if !self.core.registrations.get(id.0).is_some_and(Registration::is_over) {
            return;
        }
        let Some(registration) = self.core.registrations.remove(id.0) else { return };
        let (_, mut cx) = self.split_registrations();
        for binding in &registration.bindings {
            cx.shared.dialogs.release(binding.dialog, Owner::Registration(id));
        }
        emit(&mut cx, id, RegistrationEvent::Ended);
    }
}

impl Registration {
    fn is_over(&self) -> bool {
        self.leaving && self.bindings.iter().all(Binding::is_idle)
    }

    fn binding_of(&mut self, tx: ClientTx) -> Option<usize> {
        self.bindings.iter().position(|binding| binding.request() == Some(tx))
    }

    /// Whether a challenge to a request of it is not worth answering: it would bind what is being taken back.
    pub fn gave_up(&self, tx: ClientTx) -> bool {
        self.leaving && self.bindings.iter().any(|binding| binding.is_binding_by(tx))
    }

    pub fn response(&mut self, cx: &mut Context<'_>, tx: ClientTx, flow: Flow, response: &Arc<Message>) {
        if let Some(index) = self.binding_of(tx) {
            self.answered(cx, index, flow, response);
        }
    }

    pub fn failed(&mut self, cx: &mut Context<'_>, tx: ClientTx, failure: Failure) {
        if let Some(index) = self.binding_of(tx) {
            self.lost(cx, index, failure);
        }
    }

    pub fn wants(&self, timer: &Timer) -> bool {
        self.bindings.iter().any(|binding| binding.wants(timer))
    }

    pub fn timeout(&mut self, cx: &mut Context<'_>, timer: Timer) {
        if let Some(index) = self.bindings.iter().position(|binding| binding.wants(&timer)) {
            self.due(cx, index, timer);
        }
    }

    fn leave(&mut self, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        for index in 0..self.bindings.len() {
            self.take_back(cx, index);
        }
    }
}

fn emit(cx: &mut Context<'_>, registration: RegistrationId, event: RegistrationEvent) {
    cx.emit(Event::Registration { registration, event });
}

impl fmt::Debug for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registration {:?}", self.0)
    }
}
