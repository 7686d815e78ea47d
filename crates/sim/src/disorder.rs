//! Disorder on purpose: two datagrams that change places, a connection that breaks at a certain message. A test that
//! runs a flow once for each `nth` has tried every place.

use std::time::Duration;

use crate::network::Happening;
use crate::{HostId, Network};

/// How long a datagram is held back if no other follows.
const HOLD: Duration = Duration::from_secs(2);

/// A datagram that changes places with the next one.
pub(crate) struct Swap {
    from: HostId,
    to: HostId,
    held: Held,
}

enum Held {
    /// So many go before it.
    After(usize),
    /// It waits.
    Now(Box<Happening>),
    /// It has gone.
    Gone,
}

/// A connection that breaks.
pub(crate) struct Reset {
    ends: [HostId; 2],
    /// So many messages arrive before.
    after: Option<usize>,
}

impl Network {
    /// Lets the datagram number `nth` (the first is 0) from one host to another arrive after the one that follows it, or
    /// 2 s late if none does. One swap at a time; loss on the link is up to the link.
    pub fn swap(&mut self, from: impl Into<HostId>, to: impl Into<HostId>, nth: usize) {
        self.swap = Some(Swap { from: from.into(), to: to.into(), held: Held::After(nth) });
    }

    /// Whether there were so many datagrams that the swap has begun: if not, a greater `nth` tries nothing new.
    pub fn has_swapped(&self) -> bool {
        self.swap.as_ref().is_some_and(|swap| !matches!(swap.held, Held::After(_)))
    }

    /// Resets the streams between two hosts as soon as message number `nth` (the first is 0) has arrived, whichever way.
    /// One reset at a time; hosts with a framer are not counted.
    pub fn reset_after(&mut self, one: impl Into<HostId>, other: impl Into<HostId>, nth: usize) {
        self.reset = Some(Reset { ends: [one.into(), other.into()], after: Some(nth) });
    }

    /// Whether that has happened.
    pub fn has_reset(&self) -> bool {
        self.reset.as_ref().is_some_and(|reset| reset.after.is_none())
    }

    /// Puts a datagram under way that takes so long.
    pub(crate) fn launch(&mut self, from: HostId, to: Option<HostId>, delay: Duration, datagram: Happening) {
        let at = self.now + delay;
        let Some(swap) = self.swap.as_mut().filter(|swap| swap.from == from && Some(swap.to) == to) else {
            return self.schedule(at, datagram);
        };
        match std::mem::replace(&mut swap.held, Held::Gone) {
            Held::After(0) => {
                swap.held = Held::Now(Box::new(datagram));
                self.schedule(at + HOLD, Happening::HeldTooLong);
            }
            Held::After(before) => {
                swap.held = Held::After(before - 1);
                self.schedule(at, datagram);
            }
            Held::Now(held) => {
                self.schedule(at, datagram);
                self.schedule(at, *held);
            }
            Held::Gone => self.schedule(at, datagram),
        }
    }

    /// No other datagram has followed the one that is held.
    pub(crate) fn release_held(&mut self) {
        let Some(swap) = &mut self.swap else { return };
        if let Held::Now(held) = std::mem::replace(&mut swap.held, Held::Gone) {
            self.schedule(self.now, *held);
        }
    }

    /// A message has arrived on a stream.
    pub(crate) fn count_towards_reset(&mut self, from: HostId, to: HostId) {
        let Some(reset) = self.reset.as_mut().filter(|reset| reset.ends == [from, to] || reset.ends == [to, from])
        else {
            return;
        };
        match reset.after {
            Some(0) => {
                reset.after = None;
                self.reset(from, to);
            }
            Some(more) => reset.after = Some(more - 1),
            None => {}
        }
    }
}
