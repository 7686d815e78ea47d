//! The transaction layer through its public interface, in virtual time. One file per source of claims.

mod bench;

mod bounds;
mod ladder_log;
mod lossy_link;
mod rfc3261_17_1_client;
mod rfc3261_17_2_server;
mod rfc3261_18_transport;
mod rfc3261_9_cancel;
mod rfc4320;
mod rfc6026;
