//! What a [`Shard`](crate::shard::Shard) asks of the edge: store this, hand that to another shard, close a connection.

use farspeak_sansio::Flow;

use crate::binding::BindingRow;
use crate::events::News;

/// Names one registration that waits for the store. Unique within its shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

/// What a shard wants done outside.
#[derive(Clone, Debug)]
pub enum Event {
    /// Write the changes durably, all or none, then call [`Shard::committed`](crate::shard::Shard::committed) with the
    /// ticket. The phone gets its 200 only then.
    Commit {
        /// Names the registration in the answer.
        ticket: Ticket,
        /// The rows of the address-of-record that changed.
        changes: Vec<BindingRow>,
    },
    /// The message belongs to a transaction of another shard: pass it to that shard's
    /// [`handle_receive`](farspeak_sansio::Machine::handle_receive) with this flow.
    ToShard {
        /// The shard whose transaction it is.
        shard: u8,
        /// Where the message came from.
        flow: Flow,
        /// The message as it arrived.
        bytes: Vec<u8>,
    },
    /// Something that watchers of another shard are subscribed to has changed: pass it to that shard's
    /// [`hear`](crate::shard::Shard::hear).
    Tell {
        /// Which shard.
        shard: u8,
        /// What has changed.
        news: News,
    },
    /// Close the connection: its peer is cut off.
    CloseFlow {
        /// Which.
        flow: Flow,
    },
}
