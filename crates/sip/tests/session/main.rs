//! Sessions between user agents in virtual time: each file is named after the source of its flows.

mod disorder;
mod hostile_events;
mod hostile_sessions;
mod model_findings;
mod random_changes;
mod rfc3261_11_options;
mod rfc3261_13_forking;
mod rfc3261_14_reinvite;
mod rfc3261_22_authentication;
mod rfc3262_prack;
mod rfc3311_update;
mod rfc3326_reason;
mod rfc3515_refer;
mod rfc3665_3_session;
mod rfc3891_replaces;
mod rfc4028_session_timer;
mod rfc4916_connected_identity;
mod rfc5407_races;
mod rfc5626_registration;
mod rfc5630_sips;
mod rfc6086_info;
mod rfc6141_reinvite;
mod rfc6337_table;
mod rfc6665_subscription;
mod world;
