//! Subscription-State: what a NOTIFY says about its subscription (RFC 6665 §8.2.3).

use std::fmt;

use super::params::ParamList;
use super::{seconds, single_header, split_params, token};

/// State of a subscription, as the notifier sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SubscriptionState {
    /// The state itself.
    pub state: SubscriptionStatus,
    /// How long it lasts from now, in seconds; without it nothing changes (RFC 6665 §4.1.3).
    pub expires: Option<u32>,
    /// Why it ended.
    pub reason: Option<SubscriptionReason>,
    /// How long not to subscribe again, in seconds.
    pub retry_after: Option<u32>,
    /// All others.
    pub params: ParamList,
}

/// The states of RFC 6665 §4.1.3.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SubscriptionStatus {
    /// Accepted and authorised.
    Active,
    /// Received, and not decided yet.
    Pending,
    /// Over.
    Terminated,
    /// An extension: neither over nor known to be authorised (RFC 6665 §8.4).
    Other(String),
}

/// Why a subscription is over (RFC 6665 §4.1.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SubscriptionReason {
    /// Ended on purpose; subscribe again at once.
    Deactivated,
    /// Subscribe again later.
    Probation,
    /// Not authorised any more.
    Rejected,
    /// Not refreshed in time.
    Timeout,
    /// Authorisation was not obtained in time.
    Giveup,
    /// The resource is gone.
    NoResource,
    /// The state will not change any more.
    Invariant,
    /// An extension, as written; treated as none.
    Other(String),
}

/// What to do after a subscription was terminated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resubscribe {
    /// At once, in a new dialog.
    Now,
    /// Not before so many seconds.
    After(u32),
    /// Whenever one likes.
    Any,
    /// Not at all.
    Never,
}

single_header!(SubscriptionState, SubscriptionState);

impl SubscriptionState {
    /// `active` for so many seconds.
    pub fn active(expires: u32) -> Self {
        Self { expires: Some(expires), ..Self::bare(SubscriptionStatus::Active) }
    }

    /// `pending` for so many seconds.
    pub fn pending(expires: u32) -> Self {
        Self { expires: Some(expires), ..Self::bare(SubscriptionStatus::Pending) }
    }

    /// `terminated`, and why.
    pub fn terminated(reason: SubscriptionReason) -> Self {
        Self { reason: Some(reason), ..Self::bare(SubscriptionStatus::Terminated) }
    }

    fn bare(state: SubscriptionStatus) -> Self {
        Self { state, expires: None, reason: None, retry_after: None, params: ParamList::new() }
    }

    fn read(text: &str) -> Option<Self> {
        let (state, params) = split_params(text)?;
        let number = |name: &str| match params.get(name) {
            None => Some(None),
            Some(value) => seconds(value?).map(Some),
        };
        let reason = match params.get("reason") {
            None => None,
            Some(reason) => Some(SubscriptionReason::read(reason?)?),
        };
        Some(Self {
            state: SubscriptionStatus::read(state)?,
            expires: number("expires")?,
            reason,
            retry_after: number("retry-after")?,
            params: ParamList::except(params, &["expires", "reason", "retry-after"]),
        })
    }

    /// Whether it is over.
    pub fn is_terminated(&self) -> bool {
        self.state == SubscriptionStatus::Terminated
    }

    /// What a subscriber does after `terminated` (RFC 6665 §4.1.3); `None` in other states.
    pub fn resubscribe(&self) -> Option<Resubscribe> {
        use SubscriptionReason::{Deactivated, Giveup, Invariant, NoResource, Probation, Rejected, Timeout};
        if !self.is_terminated() {
            return None;
        }
        let later = self.retry_after.map_or(Resubscribe::Any, Resubscribe::After);
        Some(match &self.reason {
            Some(Deactivated | Timeout) => Resubscribe::Now,
            Some(Rejected | NoResource | Invariant) => Resubscribe::Never,
            Some(Probation | Giveup | SubscriptionReason::Other(_)) | None => later,
        })
    }
}

macro_rules! named {
    ($type:ident, $($variant:ident $name:literal),*) => {
        impl $type {
            fn read(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case($name) {
                    return Some(Self::$variant);
                })*
                token(text).map(Self::Other)
            }

            /// As it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => name,
                }
            }
        }
    };
}

named!(SubscriptionStatus, Active "active", Pending "pending", Terminated "terminated");
named!(
    SubscriptionReason, Deactivated "deactivated", Probation "probation", Rejected "rejected", Timeout "timeout",
    Giveup "giveup", NoResource "noresource", Invariant "invariant"
);

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state.as_str())?;
        if let Some(reason) = &self.reason {
            write!(f, ";reason={}", reason.as_str())?;
        }
        if let Some(expires) = self.expires {
            write!(f, ";expires={expires}")?;
        }
        if let Some(seconds) = self.retry_after {
            write!(f, ";retry-after={seconds}")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SubscriptionState {
        SubscriptionState::parse(text).unwrap()
    }

    #[test]
    fn every_parameter_is_read_and_written() {
        for text in [
            "active;expires=3600",
            "pending",
            "terminated;reason=probation;retry-after=60",
            "terminated;reason=gone-fishing;x=\"y\"",
            "waiting;expires=1",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(
            read("Terminated ; Reason=NoResource"),
            SubscriptionState::terminated(SubscriptionReason::NoResource)
        );
        for text in ["", ";expires=1", "active;expires", "active;expires=soon", "active, pending", "a b"] {
            assert!(SubscriptionState::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_reason_says_when_to_subscribe_again() {
        // RFC 6665 §4.1.3
        for (text, then) in [
            ("active", None),
            ("terminated;reason=deactivated", Some(Resubscribe::Now)),
            ("terminated;reason=timeout", Some(Resubscribe::Now)),
            ("terminated;reason=probation;retry-after=5", Some(Resubscribe::After(5))),
            ("terminated;reason=probation", Some(Resubscribe::Any)),
            ("terminated;reason=giveup", Some(Resubscribe::Any)),
            ("terminated;reason=rejected;retry-after=5", Some(Resubscribe::Never)),
            ("terminated;reason=noresource", Some(Resubscribe::Never)),
            ("terminated;reason=invariant", Some(Resubscribe::Never)),
            ("terminated", Some(Resubscribe::Any)),
            ("terminated;reason=new;retry-after=7", Some(Resubscribe::After(7))),
        ] {
            assert_eq!(read(text).resubscribe(), then, "{text}");
        }
    }
}
