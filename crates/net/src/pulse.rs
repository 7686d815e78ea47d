//! The timeouts of one connection, for streams and WebSockets alike: what happened when, and what follows from it.

use std::time::Duration;

use farspeak_sansio::Instant;

use crate::{Counters, StreamConfig};

/// When a connection last did what. Pure: `now` is handed in.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When the peer was last heard, or the connection began.
    heard: Instant,
    /// When a keep-alive was last sent, or the connection began.
    kept: Instant,
    /// Since when the peer owes the rest of a message, or its first one; `FAR_FUTURE` if it owes nothing.
    owing: Instant,
    /// Since when something waits without the peer taking any of it; `FAR_FUTURE` if nothing waits.
    stalled: Instant,
    /// Whether the peer has ever sent something complete.
    spoke: bool,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// One side closed it in good order, or it was broken and told so.
    Closed,
    /// The network or TLS failed.
    Reset,
    /// The peer does not read.
    SlowReader,
    /// The peer does not finish what it sends, or sends nothing.
    SlowSender,
    /// The peer has been silent for too long.
    Idle,
}

impl End {
    pub(crate) fn count(self, counters: &Counters) {
        match self {
            Self::Closed => {}
            Self::Reset => counters.streams_reset.increment(),
            Self::SlowReader => counters.slow_readers_cut.increment(),
            Self::SlowSender => counters.slow_senders_cut.increment(),
            Self::Idle => counters.idle_closed.increment(),
        }
    }
}

impl Pulse {
    /// Of a connection that the peer opened: it has to speak first.
    pub(crate) const fn accepted(now: Instant) -> Self {
        Self { heard: now, kept: now, owing: now, stalled: Instant::FAR_FUTURE, spoke: false }
    }

    /// Of a connection that we opened.
    pub(crate) const fn opened(now: Instant) -> Self {
        Self { spoke: true, owing: Instant::FAR_FUTURE, ..Self::accepted(now) }
    }

    pub(crate) const fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// After framing: whether something was complete, and whether part of a message is left over.
    pub(crate) fn framed(&mut self, now: Instant, complete: bool, partial: bool) {
        self.spoke |= complete;
        if !self.spoke {
            return; // the first message is owed since the connection began
        }
        if !partial {
            self.owing = Instant::FAR_FUTURE;
        } else if complete || self.owing == Instant::FAR_FUTURE {
            self.owing = now;
        }
    }

    /// Something waits to be written.
    pub(crate) fn waiting(&mut self, now: Instant) {
        self.stalled = self.stalled.min(now);
    }

    /// The peer took some of it.
    pub(crate) const fn progressed(&mut self, now: Instant) {
        self.stalled = now;
    }

    /// The peer took all of it.
    pub(crate) const fn written(&mut self) {
        self.stalled = Instant::FAR_FUTURE;
    }

    /// The timeout that has passed, if one has. `idle` is the longest silence.
    pub(crate) fn late(&self, now: Instant, config: &StreamConfig, idle: Duration) -> Option<End> {
        let owed = if self.spoke { config.message_timeout } else { config.first_message_timeout };
        if self.stalled + config.write_timeout <= now {
            Some(End::SlowReader)
        } else if self.owing + owed <= now {
            Some(End::SlowSender)
        } else if self.heard + idle <= now {
            Some(End::Idle)
        } else {
            None
        }
    }

    /// Whether a keep-alive is due after `silence`; if so it counts as sent.
    pub(crate) fn keep_alive_due(&mut self, now: Instant, silence: Duration) -> bool {
        let due = self.heard.max(self.kept) + silence <= now;
        if due {
            self.kept = now;
        }
        due
    }

    /// When to look again.
    pub(crate) fn deadline(&self, config: &StreamConfig, idle: Duration, silence: Duration) -> Instant {
        let owed = if self.spoke { config.message_timeout } else { config.first_message_timeout };
        let keep_alive = self.heard.max(self.kept) + silence;
        let end = (self.stalled + config.write_timeout).min(self.owing + owed).min(self.heard + idle);
        end.min(keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(7200);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn config() -> StreamConfig {
        StreamConfig::default()
    }

    #[test]
    fn a_peer_that_never_speaks_is_late_after_the_first_message_timeout() {
        let mut pulse = Pulse::accepted(at(0));
        pulse.heard(at(29));
        pulse.framed(at(29), false, true); // a byte now and then does not help
        assert_eq!(pulse.late(at(29), &config(), IDLE), None);
        assert_eq!(pulse.late(at(30), &config(), IDLE), Some(End::SlowSender));
    }

    #[test]
    fn a_message_begun_must_be_finished() {
        let mut pulse = Pulse::accepted(at(0));
        pulse.framed(at(1), true, false);
        assert_eq!(pulse.late(at(100), &config(), IDLE), None);
        pulse.framed(at(100), false, true);
        pulse.framed(at(105), false, true);
        assert_eq!(pulse.late(at(109), &config(), IDLE), None);
        assert_eq!(pulse.late(at(110), &config(), IDLE), Some(End::SlowSender));
    }

    #[test]
    fn each_message_of_a_busy_peer_has_its_own_time() {
        let mut pulse = Pulse::accepted(at(0));
        for second in 1..100 {
            pulse.framed(at(second), true, true);
            assert_eq!(pulse.late(at(second + 9), &config(), IDLE), None);
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_is_late_and_one_that_takes_a_little_is_not() {
        let mut pulse = Pulse::opened(at(0));
        pulse.waiting(at(0));
        pulse.progressed(at(15));
        pulse.waiting(at(16));
        assert_eq!(pulse.late(at(34), &config(), IDLE), None);
        assert_eq!(pulse.late(at(35), &config(), IDLE), Some(End::SlowReader));
        pulse.written();
        assert_eq!(pulse.late(at(36), &config(), IDLE), None);
    }

    #[test]
    fn keep_alives_follow_silence() {
        let silence = Duration::from_secs(90);
        let mut pulse = Pulse::opened(at(0));
        assert!(!pulse.keep_alive_due(at(89), silence));
        assert!(pulse.keep_alive_due(at(90), silence));
        assert!(!pulse.keep_alive_due(at(91), silence));
        pulse.heard(at(100));
        assert!(!pulse.keep_alive_due(at(189), silence));
        assert_eq!(pulse.deadline(&config(), IDLE, silence), at(190));
    }
}
