//! How other threads, and other shards, reach a shard: closures and messages over a bounded channel.

use std::fmt;
use std::sync::Arc;

use farspeak_sansio::{Flow, Instant, Machine, Transmit};
use tokio::sync::{mpsc, oneshot};

/// Something to do with a shard's machine, on the shard's thread.
pub type Command<M> = Box<dyn FnOnce(&mut M, Instant) + Send>;

/// What travels to a shard.
pub(crate) enum Mail<M: Machine> {
    Run(Command<M>),
    /// A message for a flow of this shard, from the machine of another.
    Transmit {
        from: u8,
        transmit: Transmit,
    },
    /// A flow of another shard that this shard has sent on is gone.
    Failed(Flow),
    Close(Flow),
}

/// A way to one shard. Cheap to clone; usable from any thread.
pub struct ShardHandle<M: Machine> {
    shard: u8,
    sender: mpsc::Sender<Mail<M>>,
}

impl<M: Machine> Clone for ShardHandle<M> {
    fn clone(&self) -> Self {
        Self { shard: self.shard, sender: self.sender.clone() }
    }
}

impl<M: Machine> fmt::Debug for ShardHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.shard)
    }
}

impl<M: Machine> ShardHandle<M> {
    pub(crate) const fn new(shard: u8, sender: mpsc::Sender<Mail<M>>) -> Self {
        Self { shard, sender }
    }

    /// Which shard.
    pub const fn shard(&self) -> u8 {
        self.shard
    }

    /// Whether the shard lives: it has neither stopped nor died.
    pub fn is_running(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Runs `command` on the shard's thread, soon; what the machine then has to send is sent. Never waits. Safe to call
    /// from an event handler.
    pub fn run(&self, command: impl FnOnce(&mut M, Instant) + Send + 'static) -> Result<(), RunError> {
        self.post(Mail::Run(Box::new(command)))
    }

    /// Like [`run`](Self::run), but waits while the shard's queue is full. For threads that are neither a shard nor in
    /// an async runtime.
    pub fn run_blocking(&self, command: impl FnOnce(&mut M, Instant) + Send + 'static) -> Result<(), RunError> {
        self.sender.blocking_send(Mail::Run(Box::new(command))).map_err(|_| RunError::Stopped)
    }

    /// Like [`run`](Self::run), but waits while the shard's queue is full, and brings an answer back.
    pub async fn query<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut M, Instant) -> R + Send + 'static,
    ) -> Result<R, RunError> {
        let (answer, answered) = oneshot::channel();
        let command: Command<M> = Box::new(move |machine, now| {
            let _ = answer.send(question(machine, now)); // nobody waits any more: nothing to tell
        });
        self.sender.send(Mail::Run(command)).await.map_err(|_| RunError::Stopped)?;
        answered.await.map_err(|_| RunError::Stopped)
    }

    /// Closes a flow of this shard after what waits for it is written. The machine gets `handle_flow_failed`.
    pub fn close(&self, flow: Flow) -> Result<(), RunError> {
        self.post(Mail::Close(flow))
    }

    pub(crate) fn post(&self, mail: Mail<M>) -> Result<(), RunError> {
        self.sender.try_send(mail).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RunError::Busy,
            mpsc::error::TrySendError::Closed(_) => RunError::Stopped,
        })
    }
}

/// Ways to all shards, in order.
pub struct ShardHandles<M: Machine>(Arc<[ShardHandle<M>]>);

impl<M: Machine> Clone for ShardHandles<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Machine> fmt::Debug for ShardHandles<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shards", self.0.len())
    }
}

impl<M: Machine> ShardHandles<M> {
    pub(crate) fn new(handles: Vec<ShardHandle<M>>) -> Self {
        Self(handles.into())
    }

    /// The way to shard `shard`, if there is such a shard.
    pub fn get(&self, shard: u8) -> Option<&ShardHandle<M>> {
        self.0.get(usize::from(shard))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ShardHandle<M>> {
        self.0.iter()
    }

    /// How many shards.
    pub fn count(&self) -> u8 {
        self.0.len() as u8 // at most MAX_SHARDS
    }
}

/// Why a command did not reach a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The shard's queue is full ([`NetConfig::command_queue`](crate::NetConfig::command_queue)).
    Busy,
    /// The shard has stopped, or died, or the question put to it panicked.
    Stopped,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the shard's queue is full",
            Self::Stopped => "the shard has stopped",
        })
    }
}

impl std::error::Error for RunError {}
