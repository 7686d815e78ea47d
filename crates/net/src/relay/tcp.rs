//! TCP between relayed addresses and peers (RFC 6062): listening, connecting, and whose connection is joined with which
//! client's.
//!
//! A client binds a connection over whichever of its own the kernel gave to whichever shard: the peer's connection then
//! goes there, and its end is told to the shard whose machine made it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_sansio::{Flow, FlowId, RelayId};
use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::inbox::Mail;
use super::machine::{Meter, PacketMachine};
use super::peers::{Join, Listener, Peer, Stage};
use super::sockets::{self, Arena};
use super::splice::{Pumped, SPACE, Splice};
use super::stream::Ending;
use super::token;
use super::worker::Worker;
use crate::admission::Seat;

impl<M: PacketMachine> Worker<M> {
    /// Listens on a relayed address.
    pub(super) fn listen(&mut self, relay: RelayId, address: SocketAddr) -> io::Result<()> {
        // Sharing the port is for our own connections: nobody else may be listening there.
        let alone = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        alone.set_reuse_address(true)?;
        only_v6(&alone, address)?;
        alone.bind(&address.into())?;
        drop(alone);
        let socket = relayed_socket(address)?;
        socket.listen(BACKLOG)?;
        let mut socket = TcpListener::from_std(socket.into());
        let token = token::new(token::RELAY_LISTENER, relay.slot());
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        let listener = Listener { socket, generation: relay.generation(), failing: false, postponed: false };
        self.tcp.listeners.insert(relay.slot(), listener);
        Ok(())
    }

    /// Takes in peers that have connected to a relayed address.
    pub(super) fn accept_peers(&mut self, slot: u32) {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.tcp.listeners.get_mut(&slot) else { return };
            let relay = RelayId::new(slot, listener.generation);
            let (socket, remote) = match listener.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_passing(&error) => continue,
                Err(error) => {
                    self.counters.accepts_failed += 1;
                    if !std::mem::replace(&mut listener.failing, true) {
                        tracing::warn!(%error, "cannot accept a peer's connection; trying again");
                    }
                    return;
                }
            };
            listener.failing = false;
            let remote = sockets::plain(remote);
            let Some(seat) = self.seat_for(remote) else { continue };
            let Some(connection) = self.machine.accepted(self.now, relay, remote) else {
                self.act();
                continue;
            };
            if let Err(error) = self.keep(connection, Stage::Waiting, socket, seat) {
                tracing::debug!(%error, "cannot serve a peer's connection");
                self.machine.connection_closed(self.now, connection);
            }
            self.act();
        }
        self.postpone(token::new(token::RELAY_LISTENER, slot));
    }

    fn seat_for(&mut self, remote: SocketAddr) -> Option<Seat> {
        let seat = if self.tcp.is_full() { None } else { self.streams.admission.admit(remote) };
        self.counters.peer_connections_refused += u64::from(seat.is_none());
        let mut seat = seat?;
        seat.settle(); // its time to connect is bounded by the machine
        Some(seat)
    }

    fn keep(&mut self, connection: u32, stage: Stage, socket: TcpStream, seat: Seat) -> io::Result<()> {
        self.streams.prepare(&socket)?;
        let name = (self.shard, connection);
        let splice = Splice::new(socket, self.now);
        let peer = Box::new(Peer { name, stage, splice, seat, postponed: false, paused: false });
        self.tcp.insert(self.poll.registry(), peer)?;
        self.counters.peer_connections += 1;
        Ok(())
    }

    /// Begins to connect to a peer out of a relayed address; the machine is told if that fails at once.
    pub(super) fn connect(&mut self, connection: u32, address: SocketAddr, peer: SocketAddr) {
        let begun = self.seat_for(peer).ok_or(io::ErrorKind::QuotaExceeded.into()).and_then(|seat| {
            let socket = relayed_socket(address)?;
            match socket.connect(&peer.into()) {
                Ok(()) => {}
                Err(error) if is_under_way(&error) => {}
                Err(error) => return Err(error),
            }
            self.keep(connection, Stage::Connecting, TcpStream::from_std(socket.into()), seat)
        });
        if let Err(error) = begun {
            self.machine.connected(self.now, connection, Err(error.kind()));
        }
    }

    /// Something has happened to a peer's connection.
    pub(super) fn peer_ready(&mut self, slot: u32, arena: &mut Arena) {
        let Some(peer) = self.tcp.get(slot) else { return };
        let connection = peer.name.1;
        match peer.stage {
            Stage::Connecting => {
                let socket = &peer.splice.socket;
                let result = match socket.take_error() {
                    Ok(None) => match socket.peer_addr() {
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => return, // not yet
                        other => other.map(|_| ()),
                    },
                    Ok(Some(error)) | Err(error) => Err(error),
                };
                peer.stage = Stage::Waiting;
                if result.is_err() {
                    self.tcp.remove(slot);
                }
                self.machine.connected(self.now, connection, result.map_err(|error| error.kind()));
                self.act();
            }
            Stage::Waiting => {
                if let Ok(Some(_)) | Err(_) = peer.splice.socket.take_error() {
                    self.end(slot);
                }
            }
            Stage::Joined(..) => self.pump(slot, arena),
        }
    }

    /// Moves bytes between a peer and its client.
    pub(super) fn pump(&mut self, slot: u32, arena: &mut Arena) {
        let Some(peer) = self.tcp.get(slot) else { return };
        let Stage::Joined(client, meter) = &peer.stage else { return };
        let Some(stream) = self.streams.find(*client) else { return self.end(slot) };
        if stream.ending != Ending::No || peer.paused {
            return; // the end of the turn, or of the pause, sees to it
        }
        match peer.splice.pump(stream, &**meter, &mut arena.bytes[..SPACE], self.now, &mut self.counters) {
            Pumped::Waits => {}
            Pumped::More => self.postpone(token::new(token::PEER, slot)),
            Pumped::Pauses(until) => {
                peer.paused = true;
                self.tcp.pauses.arm(self.now, until - self.now, slot);
            }
            Pumped::Over => self.end(slot),
        }
    }

    /// Has those go on whose pause is over.
    pub(super) fn end_pauses(&mut self) {
        while let Some(slot) = self.tcp.pauses.pop_due(self.now) {
            // Another one's, if that one has ended: it will be told to wait again.
            if let Some(peer) = self.tcp.get(slot) {
                peer.paused = false;
                self.postpone(token::new(token::PEER, slot));
            }
        }
    }

    /// Joins a connection with a client's. `answer` is what the client is told first, unless it has been sent.
    pub(super) fn splice(&mut self, connection: u32, client: Flow, meter: Arc<dyn Meter>, answer: Option<Arc<[u8]>>) {
        let slot = self.tcp.names.get(&(self.shard, connection)).copied();
        if let Some(slot) = slot
            && client.id.shard() == self.shard
        {
            return self.join(slot, client, meter);
        }
        let given = slot.and_then(|slot| {
            let Peer { splice, seat, .. } = *self.tcp.remove(slot)?;
            drop(seat); // it gets one there
            self.give_away(splice.socket, connection, client, meter, answer)
        });
        if given.is_none() {
            self.close_client(client.id); // gone already, as the client is to learn
            self.machine.connection_closed(self.now, connection);
        }
    }

    fn give_away(
        &mut self,
        mut socket: TcpStream,
        connection: u32,
        client: Flow,
        meter: Arc<dyn Meter>,
        answer: Option<Arc<[u8]>>,
    ) -> Option<()> {
        self.poll.registry().deregister(&mut socket).ok()?;
        let remote = socket.peer_addr().ok()?;
        let socket = std::net::TcpStream::from(socket);
        let join = Join { home: self.shard, connection, socket, remote, client, meter, answer };
        let inbox = self.inboxes.get(usize::from(client.id.shard()))?;
        inbox.post(Mail::Join(Box::new(join))).ok()?; // refused only if that loop has ended
        self.tcp.away.insert(connection, client.id.shard());
        Some(())
    }

    /// Takes in a connection that another shard's machine has made for a client of ours.
    pub(super) fn take_in_peer(&mut self, join: Join) {
        let Join { home, connection, socket, remote, client, meter, answer } = join;
        let _ = self.streams.release(client.id); // what it has sent meanwhile is for the peer
        if let Some(answer) = answer {
            self.streams.send(&client, &answer, false, self.now, &mut self.counters);
        }
        let name = (home, connection);
        let Some(mut seat) = self.streams.admission.admit(remote) else {
            self.counters.peer_connections_refused += 1;
            self.streams.close(client.id, Ending::Flush);
            return self.report(name);
        };
        seat.settle();
        let splice = Splice::new(TcpStream::from_std(socket), self.now);
        let peer = Box::new(Peer { name, stage: Stage::Waiting, splice, seat, postponed: false, paused: false });
        match self.tcp.insert(self.poll.registry(), peer) {
            Ok(slot) => self.join(slot, client, meter),
            Err(_) => {
                self.streams.close(client.id, Ending::Flush);
                self.report(name);
            }
        }
    }

    fn join(&mut self, slot: u32, client: Flow, meter: Arc<dyn Meter>) {
        let Some(peer) = self.tcp.get(slot) else { return };
        let stream = self.streams.find(client.id).filter(|stream| stream.ending == Ending::No);
        let Some(stream) = stream else { return self.end(slot) };
        peer.stage = Stage::Joined(client.id, meter);
        stream.spliced = Some(slot);
        self.tcp.clients.insert(client.id, slot);
        self.counters.spliced += 1;
        self.postpone(token::new(token::PEER, slot)); // what has come already raises no event
    }

    /// Closes a connection because the machine says so, and the client's that is joined with it.
    pub(super) fn close_connection(&mut self, home: u8, connection: u32) {
        if let Some(slot) = self.tcp.names.get(&(home, connection)).copied() {
            self.drop_both(slot);
        } else if home == self.shard
            && let Some(shard) = self.tcp.away.remove(&connection)
            && let Some(inbox) = self.inboxes.get(usize::from(shard))
        {
            let _ = inbox.post(Mail::CloseConnection { home, connection }); // never refused
        }
    }

    fn drop_both(&mut self, slot: u32) -> Option<(u8, u32)> {
        let peer = self.tcp.remove(slot)?;
        if let Stage::Joined(client, _) = peer.stage {
            self.streams.close(client, Ending::Flush);
        }
        Some(peer.name)
    }

    /// Closes both connections and tells the machine that made them.
    fn end(&mut self, slot: u32) {
        if let Some(name) = self.drop_both(slot) {
            self.report(name);
        }
    }

    /// Tells the machine that made a connection that it has ended.
    fn report(&mut self, (home, connection): (u8, u32)) {
        if home == self.shard {
            self.tcp.away.remove(&connection);
            self.machine.connection_closed(self.now, connection);
            return self.act();
        }
        if let Some(inbox) = self.inboxes.get(usize::from(home)) {
            let _ = inbox.post(Mail::ConnectionClosed { connection }); // never refused
        }
    }

    /// Another shard reports the end of a connection of our machine's.
    pub(super) fn connection_closed(&mut self, connection: u32) {
        self.report((self.shard, connection));
    }

    /// A client's connection has gone: so does the peer's that was joined with it.
    pub(super) fn part(&mut self, client: FlowId) {
        if let Some(slot) = self.tcp.clients.get(&client).copied() {
            self.end(slot);
        }
    }

    /// Ends what has been half-closed for too long, and looks for peers that could not be accepted.
    pub(super) fn sweep_peers(&mut self) {
        self.tcp.shrink();
        self.tcp.overdue(self.now).into_iter().for_each(|slot| self.end(slot));
        let failing = self.tcp.listeners.iter().filter(|(_, listener)| listener.failing).map(|(slot, _)| *slot);
        failing
            .collect::<Vec<u32>>()
            .into_iter()
            .for_each(|slot| self.postpone(token::new(token::RELAY_LISTENER, slot)));
    }
}

/// A socket at a relayed address that others of ours share.
fn relayed_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    only_v6(&socket, address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn only_v6(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(true) } else { Ok(()) }
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    let in_progress = error.raw_os_error() == Some(nix::libc::EINPROGRESS);
    #[cfg(not(unix))]
    let in_progress = false;
    in_progress || error.kind() == io::ErrorKind::WouldBlock
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Connections that wait to be accepted on one relayed address.
const BACKLOG: i32 = 16;
/// Connections accepted on one relayed address in one turn.
const ACCEPTS: usize = 16;
