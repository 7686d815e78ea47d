//! The ladder log: every message in full, every state and every timer, one JSON object a line, and the picture of a call
//! drawn from it.
//!
//! The transaction layer of each shard writes to a [`LadderFile`]; `farspeak ladder` reads it and [draws](draw) it. It
//! holds who called whom, so it is off unless the operator names a file. Secrets are masked before they are written:
//! digest answers and SDES keys.

mod draw;
mod record;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use farspeak_sansio::{Ladder, Record};

use crate::shared::Clock;
pub use draw::{Call, calls, draw};
pub use record::{LadderRecord, What};

/// The file, shared by all shards. A shard without one spends one test a message on it.
#[derive(Clone, Debug)]
pub struct LadderFile {
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    failed: bool,
}

impl LadderFile {
    /// Opens `path` to append to it, readable by its owner alone. `clock` dates what is written.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(path: &Path, clock: Clock) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        let inner = Inner { path: path.to_owned(), file, bytes, failed: false };
        Ok(Self { inner: Arc::new(Mutex::new(inner)), clock })
    }

    fn write(&self, line: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.bytes > MAX_BYTES {
            inner.turn_over();
        }
        match inner.file.write_all(line.as_bytes()) {
            Ok(()) => (inner.bytes, inner.failed) = (inner.bytes + line.len() as u64, false),
            Err(error) if !inner.failed => {
                inner.failed = true;
                tracing::warn!("the ladder log is not written: {error}");
            }
            Err(_) => {}
        }
    }
}

impl Inner {
    /// Keeps the full file as `NAME.old` and begins a new one.
    fn turn_over(&mut self) {
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        if std::fs::rename(&self.path, old).is_ok()
            && let Ok(file) = open(&self.path)
        {
            (self.file, self.bytes) = (file, 0);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Bytes after which the file is turned over; two such files is the most that is kept.
const MAX_BYTES: u64 = 256 << 20;

impl Ladder for LadderFile {
    fn record(&mut self, record: Record<'_>) {
        // What belongs to no flow happened between nobody: there is no place for it in the picture.
        if let Some(flow) = record.flow {
            let unix_ms = self.clock.unix_ms(record.at);
            self.write(&LadderRecord::new(unix_ms, flow, record.subject, record.kind).to_line());
        }
    }
}
