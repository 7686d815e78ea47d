//! What other threads have for a loop: packets from other shards, connections, and commands. Bounded; a waker tells the
//! loop, once for however much there is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use std::collections::VecDeque;
use std::net::SocketAddr;

use farspeak_sansio::{Flow, FlowId};
use mio::Waker;

use super::handover::Handover;
use super::peers::Join;
use super::{RelayCommand, RelayError};

pub(super) struct Inbox<M> {
    packets: Mutex<Packets>,
    /// `None` once the loop has ended.
    mail: Mutex<Option<VecDeque<Mail<M>>>>,
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

impl Errand {
    /// Whether it is data that a network may lose.
    const fn is_media(&self) -> bool {
        matches!(self, Self::Relayed { .. } | Self::Stream { relayed: true, .. })
    }
}

/// Closes the inbox of a loop when that ends, in whatever way.
pub(super) struct Closing<M> {
    pub inboxes: Arc<[Inbox<M>]>,
    pub shard: u8,
}

impl<M> Drop for Closing<M> {
    fn drop(&mut self) {
        self.inboxes[usize::from(self.shard)].close();
    }
}

impl<M> Inbox<M> {
    pub(super) fn new(waker: Waker) -> Self {
        let mail = Mutex::new(Some(VecDeque::new()));
        Self { packets: Mutex::default(), mail, waker, woken: AtomicBool::new(false) }
    }

    /// Leaves a packet; false if too many wait.
    pub(super) fn leave(&self, errand: Errand, bytes: &[u8]) -> bool {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        // Half is for requests and answers: a flood from one relayed address to another costs none of those.
        let share = if errand.is_media() { 2 } else { 1 };
        if packets.bytes.len() + bytes.len() > MOST_BYTES / share || packets.list.len() >= MOST_PACKETS / share {
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
        let queue = queue.as_mut().ok_or(RelayError::Stopped)?;
        // Only what comes from outside is refused: of the rest there is no more than there are connections, and nobody would
        // ask again.
        if queue.len() >= MOST_MAIL && matches!(mail, Mail::Run(_) | Mail::TakeOver(_)) {
            return Err(RelayError::Busy);
        }
        queue.push_back(mail);
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
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, VecDeque::len)
    }

    pub(super) fn take_mail(&self) -> Option<Mail<M>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.pop_front()
    }

    /// The loop has ended: whoever waits for it learns that, and nothing is left for it any more.
    fn close(&self) {
        let left = self.mail.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(left); // with the lock released: what is dropped may be anything
    }
}

/// Bytes that wait for one loop.
const MOST_BYTES: usize = 4 << 20;
/// Packets that wait for one loop.
const MOST_PACKETS: usize = 16_384;
/// Commands and connections that wait for one loop.
const MOST_MAIL: usize = 4096;
