//! What the edge counted, readable from any thread.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: i64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident,)+) => {
        /// The counters of one shard. Each is written by that shard alone.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $doc])+ pub $name: $kind,)+ }

        impl Counters {
            /// Every counter: name, what it counts, value.
            pub fn list(&self) -> Vec<(&'static str, &'static str, i64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.get() as i64)),+]
            }
        }
    };
}

counters! {
    /// Datagrams taken from the kernel.
    datagrams_received: Counter,
    /// Datagrams given to the kernel.
    datagrams_sent: Counter,
    /// Datagrams that the kernel did not take, because its buffer was full or the peer unreachable.
    datagrams_failed: Counter,
    /// Datagrams dropped because they held no message.
    datagrams_broken: Counter,
    /// Messages handed to the machine, over any transport.
    messages_received: Counter,
    /// Messages that the machine sent, over any transport.
    messages_sent: Counter,
    /// Bytes taken in over connections, after decryption.
    stream_bytes_received: Counter,
    /// Bytes written to connections, before encryption.
    stream_bytes_sent: Counter,
    /// Connections open now, handshakes included.
    connections: Gauge,
    /// TLS handshakes, HTTP requests and connects under way now.
    handshakes: Gauge,
    /// Connections accepted.
    connections_accepted: Counter,
    /// Connections that we opened.
    connections_opened: Counter,
    /// Connections that we tried to open in vain.
    connections_failed: Counter,
    /// Connections closed at once because the shard or the source had too many.
    connections_refused: Counter,
    /// TLS handshakes that failed, or WebSocket upgrades refused.
    handshakes_failed: Counter,
    /// Handshakes that took too long.
    handshakes_timed_out: Counter,
    /// Connections cut because the peer sent no message in time, or did not finish one.
    slow_senders_cut: Counter,
    /// Connections cut because the peer did not read.
    slow_readers_cut: Counter,
    /// Connections closed because the peer was silent for too long.
    idle_closed: Counter,
    /// Connections closed because their bytes could not be framed.
    streams_broken: Counter,
    /// Connections that ended with an error of the network or of TLS.
    streams_reset: Counter,
    /// Keep-alives answered.
    pings_answered: Counter,
    /// Keep-alives sent, CRLF and WebSocket pings.
    keep_alives_sent: Counter,
    /// Messages for a flow that no longer existed.
    dead_flows: Counter,
    /// Messages handed over to the shard that owns their flow.
    handed_over: Counter,
    /// Messages lost because the queue of the shard that owns their flow was full.
    handed_over_lost: Counter,
    /// Panics of the machine that were contained. Each is a bug.
    panics: Counter,
    /// Bytes waiting for peers now, 64 counted for each message besides its own.
    queued_bytes: Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_every_counter_with_its_meaning() {
        let counters = Counters::default();
        counters.datagrams_sent.add(3);
        let list = counters.list();
        assert!(list.contains(&("datagrams_sent", "Datagrams given to the kernel.", 3)));
        assert!(list.iter().all(|(_, meaning, _)| meaning.ends_with('.')));
    }
}
