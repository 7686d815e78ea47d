#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod agent;
mod candidate;
mod config;
mod credentials;
mod derived;
mod event;
pub mod port_mapping;
mod priority;
pub mod session;

pub use agent::{Agent, Data, Interface, RemoteOptions, SendError};
pub use candidate::{
    Address, Candidate, CandidateTransport, CandidateType, LONGEST_LINE, MOST_EXTENSIONS, MOST_PRIORITY, ParseError,
    TcpType,
};
pub use config::{AgentConfig, Engine, IceServer, Limits, Login, Mode, Nomination, Privacy, Timing, Trickle};
pub use credentials::{BadCredentials, Credentials};
pub use event::{Event, ServerFailure, State};
