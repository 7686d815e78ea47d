//! How others reach a [`Peer`](super::Peer): closures over a bounded channel.

use std::fmt;

use farspeak_sansio::{Instant, Machine};
use tokio::sync::{mpsc, oneshot};

use super::PeerContext;
use crate::RunError;

/// Something to do with a peer's machine, where the peer runs.
pub(crate) type Command<M> = Box<dyn FnOnce(&mut PeerContext, &mut M, Instant) + Send>;

/// A way to a [`Peer`](super::Peer). Cheap to clone; usable from any thread.
pub struct PeerHandle<M: Machine>(mpsc::Sender<Command<M>>);

impl<M: Machine> Clone for PeerHandle<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Machine> fmt::Debug for PeerHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerHandle")
    }
}

impl<M: Machine> PeerHandle<M> {
    pub(crate) const fn new(sender: mpsc::Sender<Command<M>>) -> Self {
        Self(sender)
    }

    /// Whether the peer lives.
    pub fn is_running(&self) -> bool {
        !self.0.is_closed()
    }

    /// Runs `command` where the peer runs, soon; what the machine then has to send is sent. Never waits. Safe to call
    /// from an event handler.
    pub fn run(
        &self,
        command: impl FnOnce(&mut PeerContext, &mut M, Instant) + Send + 'static,
    ) -> Result<(), RunError> {
        self.0.try_send(Box::new(command)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RunError::Busy,
            mpsc::error::TrySendError::Closed(_) => RunError::Stopped,
        })
    }

    /// Like [`run`](Self::run), but waits while the queue is full, and brings an answer back.
    pub async fn query<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut PeerContext, &mut M, Instant) -> R + Send + 'static,
    ) -> Result<R, RunError> {
        let (answer, answered) = oneshot::channel();
        let command: Command<M> = Box::new(move |context, machine, now| {
            let _ = answer.send(question(context, machine, now)); // nobody waits any more: nothing to tell
        });
        self.0.send(command).await.map_err(|_| RunError::Stopped)?;
        answered.await.map_err(|_| RunError::Stopped)
    }

    /// Ends the peer, after the commands given before.
    pub fn stop(&self) -> Result<(), RunError> {
        self.run(|context, _, _| context.stop())
    }
}
