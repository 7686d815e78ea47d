//! The journal: one thread that writes registrations to the [store](crate::store) in groups, before they are answered.
//!
//! Shards hand in [`Commit`](crate::event::Event::Commit)s and never wait; the thread takes everything that has queued
//! up while it was writing, writes it as one transaction, and hands each shard the outcomes of its tickets. An idle
//! journal writes at once; a busy one lets a group gather for five milliseconds. Changes of users go through it too, so
//! that the store has one writer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use crate::binding::BindingRow;
use crate::event::Ticket;
use crate::store::{Store, StoreError};

/// Takes the outcomes of one shard's tickets.
pub type Deliver = Box<dyn FnMut(u8, Vec<(Ticket, Result<(), StoreError>)>) + Send>;

/// What the journal has done.
#[derive(Debug, Default)]
pub struct JournalCounters {
    /// Registrations written.
    pub commits: AtomicU64,
    /// Rows written.
    pub rows: AtomicU64,
    /// Transactions that it took.
    pub batches: AtomicU64,
    /// Registrations that could not be written, or found the queue full.
    pub failures: AtomicU64,
    /// Registrations that wait now.
    pub waiting: AtomicU64,
    /// Whether the last transaction failed: registrations are refused until one succeeds.
    pub failing: AtomicBool,
}

/// The journal's thread.
#[derive(Debug)]
pub struct Journal {
    handle: JournalHandle,
    thread: JoinHandle<Store>,
}

/// A way to the journal. Cheap to clone.
#[derive(Clone)]
pub struct JournalHandle {
    sender: SyncSender<Job>,
    counters: Arc<JournalCounters>,
}

impl Journal {
    /// Starts the thread that owns `store` from now on. `deliver` runs on that thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(store: Store, deliver: Deliver) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_WAITING);
        let counters = Arc::new(JournalCounters::default());
        let origin = (unix_ms(), StdInstant::now());
        let writer = Writer { store, receiver, deliver, counters: Arc::clone(&counters), origin };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(|| writer.run())?;
        Ok(Self { handle: JournalHandle { sender, counters }, thread })
    }

    /// A way to it.
    pub const fn handle(&self) -> &JournalHandle {
        &self.handle
    }

    /// Writes what waits and gives the store back. `None` if the thread has died.
    pub fn stop(self) -> Option<Store> {
        let _ = self.handle.sender.send(Job::Stop); // if it has gone, join says so
        self.thread.join().ok()
    }
}

impl JournalHandle {
    /// Hands in the changes of one registration. Never waits.
    ///
    /// # Errors
    /// The queue is full or the journal has stopped: nothing will be written or delivered for this ticket.
    pub fn commit(&self, shard: u8, ticket: Ticket, changes: Vec<BindingRow>) -> Result<(), StoreError> {
        self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.try_send(Job::Commit { shard, ticket, changes }).map_err(|error| {
            self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Disconnected(_) => StoreError::Stopped,
            }
        })
    }

    /// Does something with the store after everything handed in so far, and waits for it. Not for shards.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] if the journal has ended.
    pub fn with_store<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, answered) = sync_channel(1);
        let job = Job::Work(Box::new(move |store| {
            let _ = answer.send(work(store)); // nobody waits any more: nothing to tell
        }));
        self.sender.send(job).map_err(|_| StoreError::Stopped)?;
        answered.recv().map_err(|_| StoreError::Stopped)
    }

    /// What it has done.
    pub fn counters(&self) -> &JournalCounters {
        &self.counters
    }
}

impl fmt::Debug for JournalHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalHandle").field("counters", &self.counters).finish_non_exhaustive()
    }
}

type Work = Box<dyn FnOnce(&mut Store) + Send>;

enum Job {
    Commit { shard: u8, ticket: Ticket, changes: Vec<BindingRow> },
    Work(Work),
    Stop,
}

struct Writer {
    store: Store,
    receiver: Receiver<Job>,
    deliver: Deliver,
    counters: Arc<JournalCounters>,
    /// Both clocks at the start, the wall's in milliseconds since 1970.
    origin: (i64, StdInstant),
}

impl Writer {
    fn run(mut self) -> Store {
        let mut batch = Batch::default();
        let (mut written, mut busy) = (None, false);
        loop {
            // More will come: not to look for them yet saves being woken by the first.
            if busy {
                std::thread::sleep(GATHER);
            }
            let Ok(job) = self.receiver.recv() else { break };
            if !busy && written.is_some_and(|at: StdInstant| at.elapsed() < GATHER) {
                std::thread::sleep(GATHER);
            }
            let mut next = Some(job);
            // Take what has queued up, until it is much, or something else than a registration comes.
            let other = loop {
                match next.take() {
                    Some(Job::Commit { shard, ticket, changes }) => batch.push(shard, ticket, changes),
                    other => break other,
                }
                if batch.rows.len() >= MAX_BATCH_ROWS {
                    break None;
                }
                next = self.receiver.try_recv().ok();
            };
            busy = batch.tickets.len() > 1;
            self.write(&mut batch);
            written = Some(StdInstant::now());
            match other {
                Some(Job::Work(work)) => work(&mut self.store),
                Some(Job::Stop) => break,
                Some(Job::Commit { .. }) | None => {}
            }
        }
        self.store
    }

    fn write(&mut self, batch: &mut Batch) {
        if batch.tickets.is_empty() {
            return;
        }
        let result = self.store.commit(&batch.rows);
        let count = batch.tickets.len() as u64;
        let tally = if result.is_ok() { &self.counters.commits } else { &self.counters.failures };
        tally.fetch_add(count, Ordering::Relaxed);
        if result.is_ok() {
            self.counters.rows.fetch_add(batch.rows.len() as u64, Ordering::Relaxed);
        }
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.counters.waiting.fetch_sub(count, Ordering::Relaxed);
        self.tell(&result);
        batch.rows.clear();
        batch.tickets.sort_by_key(|(shard, _)| *shard);
        for of_one_shard in batch.tickets.chunk_by(|a, b| a.0 == b.0) {
            let outcomes = of_one_shard.iter().map(|(_, ticket)| (*ticket, result.clone())).collect();
            (self.deliver)(of_one_shard[0].0, outcomes); // chunks are never empty
        }
        batch.tickets.clear();
        // Not the wall clock itself: before the store has followed a step of it, everything might seem to have ended.
        let (unix, at) = self.origin;
        let now = unix.saturating_add(i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX));
        if let Err(error) = self.store.purge_if_due(now.saturating_add(self.store.clock_step())) {
            self.tell(&Err(error));
        }
    }

    /// Logs the first failure and the recovery, not every failure between.
    fn tell(&mut self, result: &Result<(), StoreError>) {
        let failed_before = self.counters.failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !failed_before => tracing::error!("registrations are refused: {error}"),
            Ok(()) if failed_before => tracing::info!("registrations are written again"),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Batch {
    rows: Vec<BindingRow>,
    tickets: Vec<(u8, Ticket)>,
}

impl Batch {
    fn push(&mut self, shard: u8, ticket: Ticket, mut changes: Vec<BindingRow>) {
        self.rows.append(&mut changes);
        self.tickets.push((shard, ticket));
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Registrations that may wait. At 100,000 a second this is a sixth of a second of work.
const MAX_WAITING: usize = 16_384;

/// How long a group gathers when the last one was written less than that ago. A transaction costs as much CPU as the
/// answer to several registrations, however many rows it has; a registration that comes alone does not wait.
const GATHER: Duration = Duration::from_millis(5);

/// Rows in one transaction: beyond this, larger groups save nothing and delay the first answers.
const MAX_BATCH_ROWS: usize = 2048;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use farspeak_sansio::Transport;

    use super::*;
    use crate::config::Durability;
    use crate::scratch::Scratch;

    fn row(n: u64) -> BindingRow {
        let end = "192.0.2.4:40123".parse().unwrap();
        BindingRow {
            aor: format!("user{n}@example.org"),
            contact: "sip:a@b".to_owned(),
            instance: None,
            reg_id: None,
            q: 1000,
            expires_at_unix_ms: i64::MAX,
            call_id: "c".to_owned(),
            cseq: 1,
            path: String::new(),
            params: String::new(),
            user_agent: String::new(),
            transport: Transport::Udp,
            local: end,
            remote: end,
            flow_bits: 0,
            since: 1,
            version: n,
        }
    }

    type Outcomes = Vec<(Ticket, Result<(), StoreError>)>;

    fn start(scratch: &Scratch) -> (Journal, Receiver<(u8, Outcomes)>) {
        let store = Store::open(scratch.path(), Durability::Process).unwrap();
        let (sender, receiver) = mpsc::channel();
        let deliver = Box::new(move |shard, outcomes| sender.send((shard, outcomes)).unwrap());
        (Journal::start(store, deliver).unwrap(), receiver)
    }

    #[test]
    fn answers_every_ticket_to_its_own_shard_after_writing_it() {
        let scratch = Scratch::new();
        let (journal, outcomes) = start(&scratch);
        for n in 1..=1000 {
            journal.handle().commit((n % 3) as u8, Ticket(n), vec![row(n)]).unwrap();
        }
        let mut store = journal.stop().unwrap();
        assert_eq!(store.bindings(0).unwrap().0.len(), 1000);
        let mut tickets = Vec::new();
        for (shard, of_shard) in outcomes {
            for (ticket, result) in of_shard {
                assert_eq!(result, Ok(()));
                assert_eq!(ticket.0 % 3, u64::from(shard));
                tickets.push(ticket.0);
            }
        }
        tickets.sort_unstable();
        assert_eq!(tickets, (1..=1000).collect::<Vec<_>>(), "each exactly once");
    }

    /// Keeps the journal's thread busy until what it gives back is called.
    fn occupy(journal: &Journal) -> impl FnOnce() + use<> {
        let (entered, at_work) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let handle = journal.handle().clone();
        let holder = std::thread::spawn(move || {
            handle.with_store(move |_| {
                entered.send(()).unwrap();
                let _ = released.recv();
            })
        });
        at_work.recv().unwrap();
        move || {
            drop(release);
            holder.join().unwrap().unwrap();
        }
    }

    #[test]
    fn many_registrations_share_a_transaction() {
        let scratch = Scratch::new();
        let (journal, _outcomes) = start(&scratch);
        let release = occupy(&journal);
        for n in 1..=500 {
            journal.handle().commit(0, Ticket(n), vec![row(n)]).unwrap();
        }
        release();
        let counters = Arc::clone(&journal.handle().counters);
        journal.stop().unwrap();
        assert_eq!(counters.commits.load(Ordering::Relaxed), 500);
        assert_eq!(counters.batches.load(Ordering::Relaxed), 1);
        assert_eq!(counters.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_queue_is_said_at_once() {
        let scratch = Scratch::new();
        let (journal, _outcomes) = start(&scratch);
        let release = occupy(&journal);
        let refused = (0..).find_map(|n| journal.handle().commit(0, Ticket(n), Vec::new()).err());
        assert_eq!(refused, Some(StoreError::Overloaded));
        release();
        journal.stop().unwrap();
    }

    #[test]
    fn a_failed_write_is_told_and_the_next_one_may_succeed() {
        let scratch = Scratch::new();
        let (journal, outcomes) = start(&scratch);
        journal.handle().with_store(|store| store.limit_pages_for_test(12)).unwrap();
        let many = (1..5000).map(row).collect();
        journal.handle().commit(0, Ticket(1), many).unwrap();
        let failed = outcomes.recv().unwrap().1;
        assert!(matches!(failed[0].1, Err(StoreError::Full { .. })), "{failed:?}");
        journal.handle().commit(0, Ticket(2), vec![row(9000)]).unwrap();
        assert_eq!(outcomes.recv().unwrap().1, [(Ticket(2), Ok(()))]);
        journal.stop().unwrap();
    }
}
