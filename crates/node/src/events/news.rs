//! What shards tell each other: something that watchers may be subscribed to has changed.
//!
//! The news name what changed, never how: whoever has watchers looks into the shared tables. So news that are lost in a
//! full queue cost a delay until the next news, or the refresh of the subscription, and never an untruth.

use std::collections::VecDeque;

use farspeak_sansio::Instant;

use super::Topic;
use crate::domain::Aor;
use crate::event::Event;
use crate::shard::{Core, Shard};

/// Something has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// The registrations of that address.
    Registrations {
        /// Whose.
        aor: Aor,
        /// Who changed them.
        cause: Cause,
    },
    /// The presence of that address.
    Presence {
        /// Whose.
        aor: Aor,
    },
    /// Who watches that address.
    Watchers {
        /// Whom.
        aor: Aor,
    },
    /// The settings of that user: who may see the user's presence among them.
    User {
        /// Who.
        name: String,
    },
    /// That user has a new password or is gone: the user's subscriptions, publications and registrations have ended.
    UserEnded {
        /// Who.
        name: String,
        /// Whether for ever.
        gone: bool,
    },
}

/// Who changed a user's registrations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A REGISTER, or the clock.
    Phone,
    /// The operator: the phones shall register again.
    Operator,
    /// The operator, for good.
    UserGone,
}

impl Shard {
    /// Tells the shard, and those who watch through it, what another shard or the operator changed.
    pub fn hear(&mut self, now: Instant, news: News) {
        self.core.notifier.news.push_back(news);
        self.pump(now);
    }
}

impl Core {
    /// Tells every shard that has watchers of `topic` at `aor`, this one included.
    pub(crate) fn tell(&mut self, aor: &Aor, topic: Topic, news: &News) {
        for shard in self.shared.watches.shards(aor, topic) {
            if shard == self.id {
                self.notifier.news.push_back(news.clone());
            } else {
                self.events.push_back(Event::Tell { shard, news: news.clone() });
            }
        }
    }

    /// The registrations of `aor` have changed here. Where nobody watches any, this is one relaxed load.
    #[inline]
    pub(crate) fn registrations_changed(&mut self, aor: impl FnOnce() -> Aor) {
        if self.shared.watches.any_of_registrations() {
            let aor = aor();
            self.tell(&aor.clone(), Topic::Registrations, &News::Registrations { aor, cause: Cause::Phone });
        }
    }

    /// Somebody began or ended to watch `aor`'s presence, or is allowed to now.
    pub(crate) fn watchers_changed(&mut self, aor: &Aor) {
        self.tell(aor, Topic::Watchers, &News::Watchers { aor: aor.clone() });
    }

    /// Passes news on to the watchers of this shard.
    pub(super) fn heard(&mut self, now: Instant, news: News) {
        match news {
            News::Registrations { aor, cause } => self.registrations_moved(now, &aor, cause),
            News::Presence { aor } => self.state_changed(now, &aor, Topic::Presence),
            News::Watchers { aor } => self.state_changed(now, &aor, Topic::Watchers),
            News::User { name } => self.reconsider(now, &name),
            News::UserEnded { name, gone } => {
                let aor = self.settings.domain.aor_of_user(&name);
                self.shared.publications.remove_all(&aor);
                self.end_subscriptions_of(now, &name, gone);
                let cause = if gone { Cause::UserGone } else { Cause::Operator };
                self.registrations_moved(now, &aor, cause);
                self.reconsider(now, &name);
                self.state_changed(now, &aor, Topic::Presence);
            }
        }
    }
}

/// News that wait for their turn: a queue, so that what news bring about may itself be news.
pub(super) type Queue = VecDeque<News>;
