//! REGISTER in the shard: authenticate, let the registrar decide, wait for the store, answer (RFC 3261 §10.3).
//!
//! [`Authenticator`](crate::authentication::Authenticator) and [`Registrar`] decide; here the server transaction is kept
//! until the journal has written, and the flow of a phone on UDP is put on the list of those to keep alive.

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::endpoint::ServerTx;
use farspeak_sip::header::Accept;
use farspeak_sip::message::Message;

use crate::authentication::{Checked, Role, Verdict};
use crate::event::{Event, Ticket};
use crate::proxy::Refusal;
use crate::registrar::{Commit, Outcome, Registrar};
use crate::shard::Core;
use crate::shared::Counters;

/// A REGISTER that waits for the store.
pub(crate) struct Registration {
    tx: ServerTx,
    flow: Flow,
    request: Arc<Message>,
    commit: Box<Commit>,
}

/// Most registrations of one shard that wait for the store; beyond it a phone is told to come back.
const MAX_COMMITS: usize = 65_536;

impl Core {
    /// A REGISTER for our domain.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        tx: ServerTx,
        flow: Flow,
        request: &Arc<Message>,
    ) -> Result<(), Refusal> {
        let authenticator = self.authenticator();
        let user = match authenticator.check(now, &flow, request, Role::Registrar) {
            Checked::CutOff => return Err(Refusal::silence()),
            Checked::Slow(answer) => return Err(answer.into()),
            Checked::Verdict(Verdict::Valid(user)) => user,
            Checked::Verdict(verdict) => {
                let stale = verdict == Verdict::Stale;
                return Err(authenticator.challenge(now, &flow, request, Role::Registrar, stale).into());
            }
        };
        if self.commits.len() >= MAX_COMMITS {
            Counters::count(&self.shared.counters.overloaded);
            return Err(Refusal::overloaded());
        }
        let registrar = Registrar {
            config: &self.settings.registrar,
            domain: &self.settings.domain,
            location: &self.shared.location,
            clock: self.shared.clock,
        };
        match registrar.process(now, &flow, request, &user) {
            Outcome::Respond(answer) => {
                if answer.status.is_success() {
                    Counters::count(&self.shared.counters.registrations);
                }
                self.refuse(now, tx, request, answer.into());
            }
            Outcome::Commit(mut commit) => {
                let ticket = self.ticket();
                let changes = std::mem::take(&mut commit.rows);
                if let Some(until) = changes.iter().map(|row| row.expires_at_unix_ms).max().filter(|until| *until > 0) {
                    self.keep_flow_alive(now, flow, self.shared.clock.instant(until));
                }
                self.commits.insert(ticket, Registration { tx, flow, request: Arc::clone(request), commit });
                self.events.push_back(Event::Commit { ticket, changes });
            }
        }
        Ok(())
    }

    /// The store is done with `ticket`.
    pub(crate) fn finish_registration(&mut self, now: Instant, ticket: Ticket, stored: bool) {
        let Some(registration) = self.commits.remove(&ticket) else { return };
        let Registration { tx, flow, request, commit } = registration;
        self.registrations_changed(|| commit.aor.clone());
        let user = commit.aor.user().to_owned();
        let answer = commit.settle(now, &self.shared.location, stored);
        if stored {
            Counters::count(&self.shared.counters.registrations);
        }
        // The connection may have ended while the store wrote: the binding must not outlive it as reachable.
        if self.shared.is_dead(&flow) {
            self.shared.location.flow_failed(now, &flow);
        }
        let mut answer = Refusal::from(answer);
        // Whoever is believed without proof gets no way to relay on top of it.
        let proved = !self.shared.settings().authentication.believe_everybody;
        if stored && proved && wants_turn_credential(&request, &flow) {
            // RFC 3261 table 2 allows a body in the 200.
            if let Some(json) = self.shared.turn_credential(now, &user) {
                answer = answer.body(TURN_CREDENTIAL, json);
            }
        }
        self.refuse(now, tx, &request, answer);
    }
}

/// Whether the phone asks for a credential for the TURN service along with the 200, by that very name, over TLS.
fn wants_turn_credential(request: &Message, flow: &Flow) -> bool {
    flow.transport.is_secure()
        && request.header(Accept::NAME).is_some()
        && Accept::of(request)
            .is_ok_and(|accept| accept.ranges().iter().any(|range| range.q > 0 && range.media.is(TURN_CREDENTIAL)))
}

/// The type of a time-limited credential for the TURN service: an object with `username`, `credential`, `ttl` in seconds,
/// and `uris`.
const TURN_CREDENTIAL: &str = "application/vnd.farspeak.turn+json";
