//! What a watcher of registrations has been told, and what it is told next (RFC 3680 §4.7, §5).
//!
//! Each change of the location table is found by comparing: what holds now against what the watcher knew. So it does not
//! matter who changed the table, on which shard, or how often before the next NOTIFY may leave. Every document is full;
//! contacts that went since the last one are in it, once, with the event that took them away.

use std::hash::Hasher as _;
use std::sync::Arc;

use farspeak_sansio::Instant;
use farspeak_sip::event::package::DocumentState;
use farspeak_sip::event::package::reg::{Contact, ContactEvent, RegInfo, Registration, RegistrationState};
use siphasher::sip::SipHasher24;

use super::news::Cause;
use crate::binding::Binding;
use crate::domain::Aor;

/// One watcher's view of one user's registrations.
#[derive(Debug, Default)]
pub(crate) struct RegistrationView {
    known: Vec<(Arc<Binding>, ContactEvent)>,
    /// What went since the last document.
    gone: Vec<(Arc<Binding>, ContactEvent)>,
    /// Whether the last contact went since the last document.
    terminated: bool,
    version: u32,
}

/// Most contacts that a document says have gone; further ones are merely absent.
const MAX_GONE: usize = 32;

impl RegistrationView {
    /// Takes in what holds now; gives whether the watcher has to be told.
    pub(crate) fn update(&mut self, now: Instant, bindings: &[Arc<Binding>], cause: Cause) -> bool {
        let had_any = !self.known.is_empty();
        let mut changed = false;
        let mut known = Vec::with_capacity(bindings.len());
        for binding in bindings {
            let old = self.known.iter().find(|(old, _)| is_same_contact(old, binding));
            known.push((
                Arc::clone(binding),
                match old {
                    Some((old, event)) if old.version() == binding.version() => *event,
                    Some(_) => {
                        changed = true;
                        ContactEvent::Refreshed
                    }
                    None => {
                        changed = true;
                        self.gone.retain(|(gone, _)| !is_same_contact(gone, binding));
                        if binding.since() == binding.version() {
                            ContactEvent::Registered
                        } else {
                            ContactEvent::Refreshed
                        }
                    }
                },
            ));
        }
        for (old, _) in &self.known {
            if !bindings.iter().any(|binding| is_same_contact(old, binding)) {
                changed = true;
                self.gone.push((Arc::clone(old), why_gone(now, old, cause)));
            }
        }
        let over = self.gone.len().saturating_sub(MAX_GONE);
        self.gone.drain(..over);
        self.terminated = known.is_empty() && (had_any || self.terminated);
        self.known = known;
        changed
    }

    /// The next document.
    pub(crate) fn document(&mut self, now: Instant, aor: &Aor, key: &[u8; 16]) -> RegInfo {
        let contacts = self.known.iter().chain(&self.gone);
        let contacts = contacts.map(|(binding, event)| contact(now, binding, *event, key)).collect();
        let state = match (self.known.is_empty(), self.terminated) {
            (false, _) => RegistrationState::Active,
            (true, true) => RegistrationState::Terminated,
            (true, false) => RegistrationState::Init,
        };
        let version = self.version;
        self.version = self.version.wrapping_add(1);
        self.gone.clear();
        self.terminated = false;
        let registration =
            Registration { aor: format!("sip:{}", aor.as_str()), id: id(key, &["", aor.as_str()]), state, contacts };
        RegInfo { version, state: DocumentState::Full, registrations: vec![registration] }
    }

    /// When the first of what the watcher knows expires.
    pub(crate) fn first_expiry(&self) -> Option<Instant> {
        self.known.iter().map(|(binding, _)| binding.expires_at()).min()
    }
}

/// RFC 3680 §4.7.1. What the operator took away shall be registered again, with a password that is good.
fn why_gone(now: Instant, binding: &Binding, cause: Cause) -> ContactEvent {
    match cause {
        _ if !binding.is_current(now) => ContactEvent::Expired,
        Cause::Phone => ContactEvent::Unregistered,
        Cause::Operator => ContactEvent::Deactivated,
        Cause::UserGone => ContactEvent::Rejected,
    }
}

fn contact(now: Instant, binding: &Binding, event: ContactEvent, key: &[u8; 16]) -> Contact {
    let mut contact = Contact::new(contact_id(binding, key), event, binding.contact());
    contact.expires = binding.is_current(now).then(|| u64::from(binding.remaining(now)));
    if event.state() == farspeak_sip::event::package::reg::ContactState::Terminated {
        contact.expires = None;
    }
    contact.q = Some(format!("{}.{:03}", binding.q() / 1000, binding.q() % 1000));
    contact.call_id = Some(binding.call_id().to_owned());
    contact.cseq = Some(binding.cseq().into());
    if let Some(instance) = binding.instance() {
        contact.unknown_params.push(("+sip.instance".to_owned(), format!("\"<{instance}>\"")));
    }
    if let Some(reg_id) = binding.reg_id() {
        contact.unknown_params.push(("reg-id".to_owned(), reg_id.to_string()));
    }
    contact
}

/// Whether one took the place of the other: a flow of the same phone by its number, anything else by its URI.
fn is_same_contact(one: &Binding, other: &Binding) -> bool {
    one.is_same_place(other)
}

fn contact_id(binding: &Binding, key: &[u8; 16]) -> String {
    match (binding.instance(), binding.reg_id()) {
        (Some(instance), Some(reg_id)) => id(key, &["flow", instance, &reg_id.to_string()]),
        _ => id(key, &["contact", binding.contact()]),
    }
}

/// Says the same of the same, and nothing else: it goes to everybody who may watch.
fn id(key: &[u8; 16], parts: &[&str]) -> String {
    let mut hasher = SipHasher24::new_with_key(key);
    for part in parts {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    format!("x{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farspeak_sansio::{Flow, Transport};

    use super::*;
    use crate::binding::{BindingParts, Reach};

    const KEY: [u8; 16] = [1; 16];

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn binding(contact: &str, since: u64, version: u64, expires: u64) -> Arc<Binding> {
        let address = "192.0.2.7:5060".parse().unwrap();
        let parts = BindingParts {
            aor: Aor::new("bob", "example.org"),
            contact,
            params: "",
            instance: "",
            reg_id: None,
            q: 700,
            call_id: "c@phone",
            cseq: 3,
            path: "",
            user_agent: Arc::from(""),
            reach: Reach::Flow(Flow::unbound(Transport::Udp, address, address)),
            since,
            updated_at: Instant::ZERO,
            expires_at: at(expires),
            version,
        };
        Arc::new(Binding::new(&parts).unwrap())
    }

    fn told(view: &mut RegistrationView, now: Instant) -> (RegistrationState, Vec<(String, &'static str)>) {
        let document = view.document(now, &Aor::new("bob", "example.org"), &KEY);
        let read = RegInfo::parse(&document.write()).unwrap();
        assert_eq!(read, document);
        let registration = &document.registrations[0];
        let contacts = registration.contacts.iter().map(|it| (it.uri.clone(), it.event.as_str())).collect();
        (registration.state, contacts)
    }

    #[test]
    fn each_change_is_told_with_its_event_once() {
        let mut view = RegistrationView::default();
        assert!(!view.update(at(0), &[], Cause::Phone));
        assert_eq!(told(&mut view, at(0)), (RegistrationState::Init, vec![]));
        let (one, two) = ("sip:bob@192.0.2.7".to_owned(), "sip:bob@192.0.2.8".to_owned());
        assert!(view.update(at(1), &[binding(&one, 1, 1, 60)], Cause::Phone));
        assert_eq!(told(&mut view, at(1)), (RegistrationState::Active, vec![(one.clone(), "registered")]));
        let both = [binding(&one, 1, 2, 90), binding(&two, 3, 3, 60)];
        assert!(view.update(at(2), &both, Cause::Phone));
        assert!(!view.update(at(2), &both, Cause::Phone), "nothing new");
        assert_eq!(told(&mut view, at(2)).1, [(one.clone(), "refreshed"), (two.clone(), "registered")]);
        assert!(view.update(at(61), &both[..1], Cause::Phone));
        assert_eq!(told(&mut view, at(61)).1, [(one.clone(), "refreshed"), (two, "expired")]);
        assert!(view.update(at(62), &[], Cause::Phone));
        assert_eq!(told(&mut view, at(62)), (RegistrationState::Terminated, vec![(one, "unregistered")]));
        assert_eq!(told(&mut view, at(63)), (RegistrationState::Init, vec![]), "never reported twice");
    }

    #[test]
    fn what_the_operator_takes_away_is_to_be_registered_again() {
        for (cause, event) in [(Cause::Operator, "deactivated"), (Cause::UserGone, "rejected")] {
            let mut view = RegistrationView::default();
            view.update(at(0), &[binding("sip:bob@192.0.2.7", 1, 1, 60)], Cause::Phone);
            assert!(view.update(at(1), &[], cause));
            assert_eq!(told(&mut view, at(1)).1[0].1, event);
        }
    }

    #[test]
    fn contacts_that_come_and_go_without_end_fill_nothing() {
        let mut view = RegistrationView::default();
        for number in 0..1000 {
            view.update(at(0), &[binding(&format!("sip:bob@h{number}.example"), number, number, 60)], Cause::Phone);
        }
        assert_eq!(told(&mut view, at(0)).1.len(), MAX_GONE + 1);
    }
}
