//! A component: its session, and after a restart the one before.

use farspeak_sansio::Instant;

use crate::session::check_list::CheckList;
use crate::session::is::IsSession;
use crate::session::{IceSession, Path, SessionEvent};
use crate::{Agent, Engine};

pub(super) struct Component {
    pub(super) id: u16,
    pub(super) session: Box<dyn IceSession>,
    /// By which requests for it are known.
    pub(super) ufrag: String,
    /// Carries the data until the new session has selected a pair (RFC 8445 §9).
    pub(super) previous: Option<Previous>,
    pub(super) valid: bool,
    pub(super) failed: bool,
    pub(super) consent_lost: bool,
}

pub(super) struct Previous {
    pub(super) session: Box<dyn IceSession>,
    pub(super) ufrag: String,
    /// When it goes, once the new session has selected: till then the peer may send over the old pair.
    until: Option<Instant>,
}

impl Component {
    pub(super) fn sendable(&self) -> Option<Path> {
        let previous = || self.previous.as_ref().and_then(|previous| previous.session.sendable());
        self.session.selected().or_else(previous).or_else(|| self.session.sendable())
    }

    pub(super) fn accepts(&self, path: Path) -> bool {
        self.session.accepts(path) || self.previous.as_ref().is_some_and(|previous| previous.session.accepts(path))
    }

    /// Puts a fresh session in place. Of two restarts in a row, the pair that was selected last carries the data.
    pub(super) fn restart(&mut self, fresh: Self) {
        let old = std::mem::replace(self, fresh);
        let previous = Previous { session: old.session, ufrag: old.ufrag, until: None };
        self.previous = if previous.session.selected().is_some() { Some(previous) } else { old.previous };
    }

    pub(super) fn sessions(&mut self) -> impl Iterator<Item = &mut Box<dyn IceSession>> {
        let previous = self.previous.as_mut().map(|previous| &mut previous.session);
        std::iter::once(&mut self.session).chain(previous)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let previous = self.previous.as_ref().and_then(|previous| previous.session.poll_timeout());
        let until = self.previous.as_ref().and_then(|previous| previous.until);
        [self.session.poll_timeout(), previous, until].into_iter().flatten().min()
    }

    /// The new session has selected: the old one is heard for a while yet (RFC 8445 §8.3.1).
    pub(super) fn replace_previous(&mut self, until: Instant) {
        self.previous.iter_mut().for_each(|previous| previous.until = Some(until));
    }

    pub(super) fn drop_previous(&mut self, now: Instant) {
        self.previous.take_if(|previous| previous.until.is_some_and(|until| until <= now));
    }

    /// Takes the next event of the session; those of the one before matter no more, but for its consent, which
    /// [`IceSession::sendable`] tells.
    pub(super) fn poll_event(&mut self) -> Option<SessionEvent> {
        if let Some(previous) = &mut self.previous {
            while previous.session.poll_event().is_some() {}
            if previous.session.sendable().is_none() {
                self.previous = None;
            }
        }
        self.session.poll_event()
    }
}

impl Agent {
    pub(super) fn new_component(&mut self, id: u16) -> Component {
        let (config, own, controlling, tie_breaker) = (&self.config, &self.own, self.controlling, self.tie_breaker);
        let session: Box<dyn IceSession> = match config.engine {
            Engine::CheckList => Box::new(CheckList::new(id, config, own, controlling, tie_breaker, &mut *self.rng)),
            Engine::Is(base) => Box::new(IsSession::new(config, own, controlling, tie_breaker, base)),
        };
        let ufrag = own.ufrag().to_owned();
        Component { id, session, ufrag, previous: None, valid: false, failed: false, consent_lost: false }
    }
}
