//! What a packet loop counted. Plain numbers: the loop's thread alone has them, others ask for a copy.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The counters of one packet loop; see [`RelayHandle::query`](crate::relay::RelayHandle::query).
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        pub struct RelayCounters { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl RelayCounters {
            /// Every counter: name, what it counts, value.
            pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name)),+]
            }
        }
    };
}

counters! {
    /// Datagrams from clients.
    client_datagrams_received,
    /// Datagrams to clients.
    client_datagrams_sent,
    /// Datagrams from peers.
    peer_datagrams_received,
    /// Datagrams to peers.
    peer_datagrams_sent,
    /// System calls that sent datagrams: fewer than the datagrams where trains were sent whole.
    send_calls,
    /// System calls that asked for datagrams.
    receive_calls,
    /// Datagrams that the kernel did not take because its buffer was full.
    send_buffer_full,
    /// Datagrams that the kernel refused: no route, too long, forbidden.
    send_refused,
    /// Trains that had to be sent piece by piece because segmentation offload was refused.
    trains_refused,
    /// Messages from clients over connections.
    stream_messages_received,
    /// Messages to clients over connections.
    stream_messages_sent,
    /// Relayed messages dropped because the client's connection was behind.
    stream_messages_dropped,
    /// Connections cut because the client did not read, or did not finish what it had begun.
    stalled_cut,
    /// Connections closed because the client was silent for too long.
    idle_closed,
    /// Connections closed to make room because the client had nothing here.
    crowded_out,
    /// Connections closed because what they brought was no message.
    streams_broken,
    /// TLS handshakes that failed.
    handshakes_failed,
    /// TLS handshakes, PROXY headers and first messages that took too long.
    handshakes_timed_out,
    /// Times that the system could not accept a connection: too many open files, or no memory.
    accepts_failed,
    /// Connections taken over from the HTTPS port.
    taken_over,
    /// Connections closed because they came without a valid PROXY header, or with one that nobody may send.
    proxy_headers_refused,
    /// TCP connections to and from peers.
    peer_connections,
    /// TCP connections to and from peers that were refused because there were too many.
    peer_connections_refused,
    /// TCP connections of peers joined with a client's.
    spliced,
    /// Bytes from clients to peers over joined connections.
    splice_bytes_to_peers,
    /// Bytes from peers to clients over joined connections.
    splice_bytes_to_clients,
    /// Packets handed to other shards.
    handed_over,
    /// Packets for other shards that were lost because too many were waiting there.
    handed_over_lost,
    /// Times the loop woke up.
    turns,
    /// Panics of the machine that were contained. Each is a bug.
    panics,
}
