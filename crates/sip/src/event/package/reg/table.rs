//! Registrations put together from documents: RFC 3680 §5.2.

use super::{ContactState, DocumentState, RegInfo, Registration, RegistrationState};
use crate::event::package::version::Version;
use crate::event::package::{Applied, DEFAULT_ROWS};

/// What a subscriber knows of all registrations it subscribed to.
///
/// Contacts and registrations that a document reports as terminated stay visible until the next document, so that whoever
/// reads the table sees why they went.
#[derive(Clone, Debug)]
pub struct RegistrationTable {
    registrations: Vec<Registration>,
    version: Version,
    rows: usize,
}

impl Default for RegistrationTable {
    fn default() -> Self {
        Self::new(DEFAULT_ROWS)
    }
}

impl RegistrationTable {
    /// An empty table that holds at most `rows` registrations and contacts together.
    pub fn new(rows: usize) -> Self {
        Self { registrations: Vec::new(), version: Version::default(), rows }
    }

    /// What is known, in the order in which it became known.
    pub fn registrations(&self) -> &[Registration] {
        &self.registrations
    }

    /// Whether nothing is known to be missing.
    pub fn is_complete(&self) -> bool {
        self.version.is_complete()
    }

    /// The version of the last document that was processed.
    pub fn version(&self) -> Option<u32> {
        self.version.number()
    }

    /// Applies a document. A gap in the versions does not keep it from being processed, but asks for a refresh (§5.2).
    pub fn apply(&mut self, document: RegInfo) -> Applied {
        if !self.version.accept(document.version, document.state) {
            return Applied::Stale;
        }
        match document.state {
            DocumentState::Full => self.registrations.clear(),
            DocumentState::Partial => self.forget_terminated(),
        }
        for registration in document.registrations {
            self.update(registration);
        }
        self.version.applied()
    }

    fn forget_terminated(&mut self) {
        self.registrations.retain(|it| it.state != RegistrationState::Terminated);
        for registration in &mut self.registrations {
            registration.contacts.retain(|it| it.state != ContactState::Terminated);
        }
    }

    fn update(&mut self, registration: Registration) {
        let mut free = self.rows.saturating_sub(self.registrations.iter().map(|it| 1 + it.contacts.len()).sum());
        let Registration { aor, id, state, contacts } = registration;
        let position = self.registrations.iter().position(|it| it.id == id);
        let position = match position {
            Some(position) => {
                let known = &mut self.registrations[position];
                (known.aor, known.state) = (aor, state);
                position
            }
            None if free == 0 => return self.version.overflow(),
            None => {
                free -= 1;
                self.registrations.push(Registration { aor, id, state, contacts: Vec::new() });
                self.registrations.len() - 1
            }
        };
        let known = &mut self.registrations[position].contacts;
        for contact in contacts {
            match known.iter_mut().find(|it| it.id == contact.id) {
                Some(row) => *row = contact,
                None if free == 0 => self.version.overflow(),
                None => {
                    free -= 1;
                    known.push(contact);
                }
            }
        }
    }
}
