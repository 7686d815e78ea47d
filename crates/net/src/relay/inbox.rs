//! What other threads have for a loop: packets from other shards, connections, and commands. Bounded; a waker tells the
//! loop, once for however much there is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use std::collections::VecDeque;
use std::net::SocketAddr;

use farspeak_sansio::{Flow, FlowId};
use mio::Waker;

use super::handover::Handover;
use super::peers::Join;
use super::{RelayCommand, RelayError};

pub(super) struct Inbox<M> {
    packets: Mutex<Packets>,
    mail: Mutex<VecDeque<Mail<M>>>,
    waker: Waker,
    /// Whether the loop has been woken and has not looked yet.
    woken: AtomicBool,
}

/// A command for the loop.
pub(super) enum Mail<M> {
    Run(RelayCommand<M>),
    TakeOver(Box<Handover>),
    Join(Box<Join>),
    CloseClient(FlowId),
    CloseConnection { home: u8, connection: u32 },
    ConnectionClosed { connection: u32 },
    Stop,
}

/// Packets in a row, their bytes in one buffer. The loop swaps it for an empty one of its own, so that nothing is
/// allocated once both have grown.
#[derive(Default)]
pub(super) struct Packets {
    pub list: Vec<(Errand, u32)>,
    pub bytes: Vec<u8>,
}

/// What a packet from another shard is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errand {
    /// From one relayed address to another.
    Relayed { to: SocketAddr, from: SocketAddr },
    /// From a client whose allocation is here.
    Client(Flow),
    /// To a client whose connection is here; relayed data, which may be dropped, or not.
    Stream { client: Flow, relayed: bool },
}

impl<M> Inbox<M> {
    pub(super) fn new(waker: Waker) -> Self {
        Self { packets: Mutex::default(), mail: Mutex::default(), waker, woken: AtomicBool::new(false) }
    }

    /// Leaves a packet; false if too many wait.
    pub(super) fn leave(&self, errand: Errand, bytes: &[u8]) -> bool {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        if packets.bytes.len() + bytes.len() > MOST_BYTES || packets.list.len() >= MOST_PACKETS {
            return false;
        }
        packets.bytes.extend_from_slice(bytes);
        packets.list.push((errand, bytes.len() as u32));
        drop(packets);
        self.wake();
        true
    }

    pub(super) fn post(&self, mail: Mail<M>) -> Result<(), RelayError> {
        let mut queue = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what comes from outside is refused: of the rest there is no more than there are connections, and nobody would
        // ask again.
        if queue.len() >= MOST_MAIL && matches!(mail, Mail::Run(_) | Mail::TakeOver(_)) {
            return Err(RelayError::Busy);
        }
        queue.push_back(mail);
        drop(queue);
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            let _ = self.waker.wake(); // fails only if the loop has gone
        }
    }

    /// From the loop, before it looks: what comes from now on wakes it anew.
    pub(super) fn look(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Takes all packets, and leaves an empty buffer in their place.
    pub(super) fn take_packets(&self, empty: &mut Packets) {
        empty.list.clear(); // a panic may have left some
        empty.bytes.clear();
        std::mem::swap(empty, &mut *self.packets.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How much mail waits.
    pub(super) fn mail_count(&self) -> usize {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn take_mail(&self) -> Option<Mail<M>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Bytes that wait for one loop.
const MOST_BYTES: usize = 4 << 20;
/// Packets that wait for one loop.
const MOST_PACKETS: usize = 16_384;
/// Commands and connections that wait for one loop.
const MOST_MAIL: usize = 4096;
