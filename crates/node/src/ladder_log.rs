//! The ladder log: every message in full, one JSON object a line, and the picture of a call drawn from it.
//!
//! [`Recorded`] wraps a machine and writes what passes; `farspeak ladder` reads the file and [draws](draw) it. It
//! holds who called whom, so it is off unless the operator names a file. Secrets are masked before they are written:
//! digest answers and SDES keys.

mod draw;
mod record;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit};

use crate::shared::Clock;
pub use draw::{Call, calls, draw};
pub use record::{Direction, LadderRecord};

/// The file, shared by all shards.
#[derive(Clone, Debug)]
pub struct LadderFile(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    failed: bool,
}

impl LadderFile {
    /// Opens `path` to append to it, readable by its owner alone.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Inner { path: path.to_owned(), file, bytes, failed: false }))))
    }

    fn write(&self, record: &LadderRecord) {
        let line = record.to_line();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A machine whose messages are written down. Without a file it costs one test a message.
#[derive(Debug)]
pub struct Recorded<M> {
    inner: M,
    file: Option<LadderFile>,
    clock: Clock,
    now: Instant,
}

impl<M> Recorded<M> {
    /// Wraps `inner`.
    pub const fn new(inner: M, file: Option<LadderFile>, clock: Clock) -> Self {
        Self { inner, file, clock, now: Instant::ZERO }
    }

    /// The machine itself, for calls that send: `now` stamps what leaves afterwards.
    pub fn at(&mut self, now: Instant) -> &mut M {
        self.now = now;
        &mut self.inner
    }

    /// The machine itself.
    pub const fn inner(&self) -> &M {
        &self.inner
    }

    fn write(&self, direction: Direction, flow: Flow, bytes: &[u8]) {
        if let Some(file) = &self.file {
            file.write(&LadderRecord::new(self.clock.unix_ms(self.now), direction, flow, bytes));
        }
    }
}

impl<M: Machine> Machine for Recorded<M> {
    type Event = M::Event;

    fn handle_receive(&mut self, now: Instant, received: Receive<'_>) {
        self.now = now;
        self.write(Direction::Received, received.flow, received.bytes);
        self.inner.handle_receive(now, received);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.inner.handle_timeout(now);
    }

    fn handle_flow_failed(&mut self, now: Instant, flow: Flow) {
        self.now = now;
        self.inner.handle_flow_failed(now, flow);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.inner.poll_transmit()?;
        self.write(Direction::Sent, transmit.flow, &transmit.bytes);
        Some(transmit)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.inner.poll_timeout()
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        self.inner.poll_event()
    }
}
