//! The session interval and who refreshes: what is asked for, and what is granted (RFC 4028 §7.1, §9).

use super::peer::has_tag;
use crate::header::{MinSe, OptionTag, Refresher, SessionExpires};
use crate::message::Message;

/// What this end wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Seconds; `None` to have no timer unless the peer wants one.
    pub interval: Option<u32>,
    /// The shortest interval that we take, in seconds.
    pub least: u32,
}

/// What an INVITE or UPDATE of the peer's asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Whether the peer knows session timers. Session-Expires may be a proxy's all the same.
    pub supports: bool,
    pub expires: Option<SessionExpires>,
    /// Min-SE.
    pub least: Option<u32>,
}

impl Asked {
    pub fn of(request: &Message) -> Self {
        let expires = SessionExpires::of(request).ok().flatten();
        Self { supports: supports(request), expires, least: least_of(request) }
    }

    /// Whether the interval is shorter than that, and the peer would understand a 422 (RFC 4028 §9).
    pub fn is_below(&self, least: u32) -> bool {
        self.supports && self.expires.is_some_and(|expires| expires.delta < least)
    }
}

/// Whether a message says that its sender knows session timers.
pub(super) fn supports(message: &Message) -> bool {
    has_tag(message, OptionTag::Timer)
}

/// Min-SE, which is never below 90 s (RFC 4028 §5).
pub(super) fn least_of(message: &Message) -> Option<u32> {
    MinSe::of(message).ok().flatten().map(|least| least.max(MinSe::DEFAULT).0)
}

/// What the 2xx says: RFC 4028 §9 with its Table 2. `current` is the interval in force and whether we refresh. `None` if
/// there is to be no timer.
pub(super) fn grant(asked: &Asked, wish: Wish, current: Option<(u32, bool)>) -> Option<SessionExpires> {
    let floor = asked.least.unwrap_or(MinSe::DEFAULT.0).max(wish.least);
    let Some(expires) = asked.expires else {
        // Nobody asked; we may, of who understands. Then it is our work, unless the peer does it already.
        let interval = current.map(|(interval, _)| interval).or(wish.interval).filter(|_| asked.supports)?;
        let ours = current.is_none_or(|(_, ours)| ours);
        let refresher = Some(if ours { Refresher::Uas } else { Refresher::Uac });
        return Some(SessionExpires { delta: interval.max(floor), refresher });
    };
    let refresher = match (asked.supports, expires.refresher) {
        // Row 1, and the two that cannot be: whoever put it in, we are the one who can.
        (false, _) => Refresher::Uas,
        // Row 4: who asks does the work.
        (true, None) => Refresher::Uac,
        // Rows 5 and 6.
        (true, Some(refresher)) => refresher,
    };
    // May be reduced, never increased.
    let delta = wish.interval.map_or(expires.delta, |interval| interval.max(floor).min(expires.delta));
    Some(SessionExpires { delta, refresher: Some(refresher) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish { interval: Some(1800), least: 90 };
    const OFF: Wish = Wish { interval: None, least: 90 };

    fn asked(supports: bool, delta: u32, refresher: Option<Refresher>) -> Asked {
        Asked { supports, expires: Some(SessionExpires { delta, refresher }), least: None }
    }

    fn granted(asked: &Asked, wish: Wish) -> Option<(u32, Refresher)> {
        grant(asked, wish, None).map(|expires| (expires.delta, expires.refresher.unwrap()))
    }

    #[test]
    fn who_refreshes_is_decided_by_table_2() {
        use Refresher::{Uac, Uas};
        for (supports, asks, gives) in [
            (false, None, Uas),
            (false, Some(Uac), Uas),
            (false, Some(Uas), Uas),
            (true, None, Uac),
            (true, Some(Uac), Uac),
            (true, Some(Uas), Uas),
        ] {
            assert_eq!(granted(&asked(supports, 600, asks), WISH), Some((600, gives)), "{supports} {asks:?}");
            assert_eq!(granted(&asked(supports, 600, asks), OFF), Some((600, gives)), "{supports} {asks:?}");
        }
    }

    #[test]
    fn the_interval_is_reduced_but_never_below_min_se_and_never_increased() {
        assert_eq!(granted(&asked(true, 4000, None), WISH).unwrap().0, 1800);
        assert_eq!(granted(&Asked { least: Some(3000), ..asked(true, 4000, None) }, WISH).unwrap().0, 3000);
        assert_eq!(granted(&Asked { least: Some(5000), ..asked(true, 4000, None) }, WISH).unwrap().0, 4000);
        assert_eq!(granted(&asked(true, 100, None), WISH).unwrap().0, 100);
        assert_eq!(granted(&asked(true, 4000, None), Wish { least: 2000, ..WISH }).unwrap().0, 2000);
    }

    #[test]
    fn who_is_not_asked_asks_only_who_understands() {
        let nothing = |supports| Asked { supports, expires: None, least: Some(2000) };
        assert_eq!(granted(&nothing(true), WISH), Some((2000, Refresher::Uas)));
        assert_eq!(granted(&nothing(false), WISH), None);
        assert_eq!(granted(&nothing(true), OFF), None);
        // A timer in force stays, and so does who refreshes.
        let current = grant(&nothing(true), OFF, Some((3600, false))).unwrap();
        assert_eq!((current.delta, current.refresher), (3600, Some(Refresher::Uac)));
    }
}
