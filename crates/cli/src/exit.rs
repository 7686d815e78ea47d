//! Exit codes. They are part of the interface: scripts rely on them.

use std::fmt;
use std::process::ExitCode;

use farspeak_node::control::{Failure, FailureKind};
use farspeak_node::data_dir::DataDirError;
use farspeak_node::server::ServeError;
use farspeak_node::store::StoreError;

/// How the command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed for a reason that has no code of its own.
    Failed = 1,
    /// Called wrongly. (clap uses the same.)
    Usage = 2,
    /// The configuration or a certificate is wrong.
    Config = 3,
    /// What was named does not exist: a user, a call, a file, a host.
    Unknown = 4,
    /// The name is taken, or another process works in the data directory.
    Taken = 5,
    /// The data directory or the store cannot be read or written.
    Store = 6,
    /// A port is taken or not allowed.
    Port = 7,
    /// No node runs.
    NotRunning = 8,
    /// `doctor` found something that is broken.
    Ill = 9,
    /// No server answers.
    NoAnswer = 10,
}

/// The table in `farspeak --help`.
pub const TABLE: &str = "\
Exit codes:
  0  done
  1  failed
  2  called wrongly
  3  the configuration or a certificate is wrong
  4  no such user, call, file or host
  5  the name is taken, or another process works in the data directory
  6  the data directory or the store cannot be read or written
  7  a port is taken or not allowed
  8  no node runs on this data directory
  9  doctor found something broken
 10  no server answers";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
}

impl CliError {
    /// A failure with its code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let exit = match failure.kind {
            FailureKind::Invalid => Exit::Usage,
            FailureKind::Unknown => Exit::Unknown,
            FailureKind::Taken => Exit::Taken,
            FailureKind::Config => Exit::Config,
            FailureKind::Store => Exit::Store,
            FailureKind::Failed => Exit::Failed,
        };
        Self::new(exit, failure.message)
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::new(Exit::Store, error.to_string())
    }
}

impl From<DataDirError> for CliError {
    fn from(error: DataDirError) -> Self {
        let exit = match error {
            DataDirError::Held { .. } => Exit::Taken,
            _ => Exit::Store,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let message = error.to_string();
        match error {
            ServeError::Config(_) | ServeError::Certificate(_) => Self::new(Exit::Config, message),
            ServeError::Data(error) => error.into(),
            ServeError::Store(_) => Self::new(Exit::Store, message),
            ServeError::Listen(_) => Self::new(Exit::Port, message),
            _ => Self::new(Exit::Failed, message),
        }
    }
}

/// What every command gives.
pub type CliResult = Result<Exit, CliError>;
