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

#[cfg(test)]
mod tests {
    use farspeak_sansio::Transport;

    use super::*;

    fn inbox() -> (mio::Poll, Inbox<()>) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Inbox::new(waker))
    }

    #[test]
    fn a_flood_of_media_leaves_room_for_requests_and_answers() {
        let (_poll, inbox) = inbox();
        let address = SocketAddr::from(([192, 0, 2, 1], 4000));
        let client = Flow { id: FlowId::new(1, 1, 1), transport: Transport::Tcp, local: address, remote: address };
        let media = [Errand::Relayed { to: address, from: address }, Errand::Stream { client, relayed: true }];
        let all = MOST_PACKETS + MOST_BYTES / 1000;
        assert!((0..all).any(|number| !inbox.leave(media[number % 2], &[0; 1000])));
        for errand in media {
            assert!(!inbox.leave(errand, &[0; 1000]));
        }
        for errand in [Errand::Client(client), Errand::Stream { client, relayed: false }] {
            assert!(inbox.leave(errand, &[0; 1000]));
        }
        // Those have their bound as well.
        assert!((0..all).any(|_| !inbox.leave(Errand::Client(client), &[0; 1000])));
        let mut packets = Packets::default();
        inbox.take_packets(&mut packets);
        assert!(packets.bytes.len() <= MOST_BYTES && packets.list.len() <= MOST_PACKETS);
        assert!(inbox.leave(media[0], &[0; 1000]), "there is room again");
    }

    #[test]
    fn refuses_commands_beyond_the_bound_and_never_the_end_of_something() {
        let (_poll, inbox) = inbox();
        let command = || Mail::Run(Box::new(|(): &mut (), _, _| ()));
        for _ in 0..MOST_MAIL {
            assert_eq!(inbox.post(command()), Ok(()));
        }
        assert_eq!(inbox.post(command()), Err(RelayError::Busy));
        assert_eq!(inbox.post(Mail::CloseClient(FlowId::new(0, 1, 1))), Ok(()));
        assert_eq!(inbox.post(Mail::ConnectionClosed { connection: 1 }), Ok(()));
        assert_eq!(inbox.mail_count(), MOST_MAIL + 2);
        inbox.close();
        assert_eq!(inbox.post(command()), Err(RelayError::Stopped));
        assert_eq!(inbox.post(Mail::Stop), Err(RelayError::Stopped));
        assert!(inbox.take_mail().is_none());
    }
}
