//! Bounds and choices of the notifier and the event state compositor.

use std::time::Duration;

use farspeak_sip::event::package::Package;

/// Bounds and choices of the notifier and the event state compositor.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EventsConfig {
    /// Most subscriptions that this node notifies, over all shards. Default 50,000 (about 100 MB); beyond it 503.
    pub max_subscriptions: usize,
    /// Most subscriptions to one address, whoever they are from and whether anybody has the address. Default 512;
    /// beyond it 503.
    pub max_per_watched: usize,
    /// Most subscriptions of one user, with all phones of the user. Default 256; beyond it 503.
    pub max_per_subscriber: usize,
    /// Most subscriptions over one connection, or from one address and port. Default 1024 (a connection may be that of
    /// somebody else's proxy); beyond it 503.
    pub max_per_flow: usize,
    /// Shortest subscription and publication granted; a shorter wish gets 423. Default 60 s.
    pub min_expires: Duration,
    /// Longest ones; a longer wish is cut. Default 1 h.
    pub max_expires: Duration,
    /// Shortest time between two NOTIFYs of one subscription. Default 5 s, as the packages say (RFC 3680 §4.10, RFC 3856
    /// §6.10, RFC 3857 §4.9). The first one, and the last, never wait.
    pub notify_interval: Duration,
    /// Names of users who may watch everybody's registrations, besides each user's own. Default none.
    pub registrations_to: Vec<String>,
    /// Most publications of one user at a time. Default 8; a further one takes the place of the one that was changed or
    /// refreshed the longest ago.
    pub max_publications: usize,
    /// Longest published document, in bytes, and half of what one user's may have together (the stalest makes room).
    /// Default 16,384; a longer one gets 413.
    pub max_publication: usize,
    /// Most bytes of published documents in all. Default 64 MiB; beyond it 503.
    pub max_published: usize,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            max_subscriptions: 50_000,
            max_per_watched: 512,
            max_per_subscriber: 256,
            max_per_flow: 1024,
            min_expires: Package::PRESENCE.min_expires,
            max_expires: Duration::from_secs(3600),
            notify_interval: Package::PRESENCE.min_interval,
            registrations_to: Vec::new(),
            max_publications: 8,
            max_publication: 16_384,
            max_published: 64 << 20,
        }
    }
}

impl EventsConfig {
    pub(crate) fn min_seconds(&self) -> u32 {
        seconds(self.min_expires)
    }

    pub(crate) fn max_seconds(&self) -> u32 {
        seconds(self.max_expires)
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
