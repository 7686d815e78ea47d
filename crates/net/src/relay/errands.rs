//! What other threads have left for the loop: packets and connections of other shards, and commands.

use farspeak_sansio::HEADROOM;

use super::inbox::{Errand, Mail, Packets};
use super::machine::PacketMachine;
use super::sockets::Arena;
use super::stream::Ending;
use super::token;
use super::worker::{Origin, Worker};

impl<M: PacketMachine> Worker<M> {
    /// Sees to what other threads have left; false if the loop is to end.
    pub(super) fn read_inbox(&mut self, arena: &mut Arena, packets: &mut Packets) -> bool {
        self.guard(|worker| worker.read_packets(arena, packets));
        // What comes meanwhile wakes the loop anew, and waits until packets have had their turn.
        for _ in 0..self.inboxes[usize::from(self.shard)].mail_count() {
            let Some(mail) = self.inboxes[usize::from(self.shard)].take_mail() else { break };
            if matches!(mail, Mail::Stop) {
                self.guard(|worker| {
                    worker.machine.close(worker.now);
                    worker.act();
                    worker.close_streams();
                });
                return false;
            }
            self.guard(|worker| worker.open(mail, arena));
        }
        true
    }

    fn read_packets(&mut self, arena: &mut Arena, packets: &mut Packets) {
        self.inboxes[usize::from(self.shard)].take_packets(packets);
        let mut at = 0;
        let list = std::mem::take(&mut packets.list);
        for (errand, length) in &list {
            let bytes = &packets.bytes[at..at + *length as usize];
            at += bytes.len();
            if let Errand::Stream { client, relayed } = errand {
                self.streams.send(client, bytes, *relayed, self.now, &mut self.counters);
                if !relayed && let Some(slot) = self.streams.release(client.id) {
                    self.postpone(token::new(token::STREAM, slot));
                }
                continue;
            }
            let data = HEADROOM..HEADROOM + bytes.len();
            arena.bytes[data.clone()].copy_from_slice(bytes);
            let origin = match *errand {
                Errand::Relayed { to, from } => Origin::Relayed { to, from },
                Errand::Client(client) | Errand::Stream { client, .. } => Origin::Client(client),
            };
            self.show(origin, &mut arena.bytes, data);
        }
        packets.list = list;
        packets.list.clear();
        packets.bytes.clear();
    }

    fn open(&mut self, mail: Mail<M>, arena: &mut Arena) {
        match mail {
            Mail::Run(command) => {
                command(&mut self.machine, &self.counters, self.now);
                self.act();
            }
            Mail::TakeOver(handover) => self.take_over(*handover, arena),
            Mail::Join(join) => self.take_in_peer(*join),
            Mail::CloseClient(client) => self.streams.close(client, Ending::Flush),
            Mail::CloseConnection { home, connection } => self.close_connection(home, connection),
            Mail::ConnectionClosed { connection } => self.connection_closed(connection),
            Mail::Stop => {} // seen before
        }
    }
}
