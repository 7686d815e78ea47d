//! STUN and TURN as the node offers them: `farspeak-turn`'s server in the packet loop of `farspeak-net`, with the node's
//! users, its secret and its configuration.
//!
//! ```text
//!   config ── settings.rs ──▶ ServerConfig ──┐
//!   users, secret ── accounts.rs ──▶ Accounts ┼──▶ machine.rs: Server in the packet loop, one per shard
//!   ledger (all shards) ─────────────────────┘           ▲
//!   service.rs: start, reload, status, sessions, kick ────┘
//!   issue.rs: credentials for a time, for those who ask at /turn, by REGISTER or on the command line
//! ```

mod accounts;
mod issue;
mod listen;
mod machine;
mod service;
mod settings;

pub use issue::{Issued, Issuer};
pub(crate) use listen::ALPN;
pub use machine::TurnMachine;
pub use service::{ShardReport, StartFailure, TurnService, TurnSetup};
pub(crate) use settings::relay_addresses;
