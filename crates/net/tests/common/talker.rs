//! A machine that sends what it is told, and tells what it hears: for the driver of one machine.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use farspeak_net::*;
use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit};
use tokio::sync::mpsc;

use super::{Lines, within};

#[derive(Default)]
pub struct Talker {
    transmits: VecDeque<Transmit>,
    events: VecDeque<Heard>,
    timer: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Message(Flow, String),
    Failed(Flow),
    Timer,
}

impl Talker {
    pub fn say(&mut self, flow: Flow, text: &str) {
        self.transmits.push_back(Transmit { flow, bytes: text.as_bytes().into() });
    }

    pub fn wake_at(&mut self, at: Instant) {
        self.timer = Some(at);
    }
}

impl Machine for Talker {
    type Event = Heard;

    fn handle_receive(&mut self, _: Instant, received: Receive<'_>) {
        let text = String::from_utf8_lossy(received.bytes).trim_end().to_owned();
        self.events.push_back(Heard::Message(received.flow, text));
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.timer.take_if(|at| *at <= now).is_some() {
            self.events.push_back(Heard::Timer);
        }
    }

    fn handle_flow_failed(&mut self, _: Instant, flow: Flow) {
        self.events.push_back(Heard::Failed(flow));
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    fn poll_event(&mut self) -> Option<Heard> {
        self.events.pop_front()
    }
}

/// A talker on a thread and runtime of its own, as a program has it.
pub struct Client {
    pub handle: PeerHandle<Talker>,
    heard: mpsc::UnboundedReceiver<Heard>,
    thread: Option<std::thread::JoinHandle<Talker>>,
}

impl Client {
    pub fn start(config: PeerConfig) -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        let (give, given) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (peer, handle) =
                    Peer::new(Talker::default(), Lines, config, Clock::start(), move |_, _, _, event| {
                        let _ = tell.send(event);
                    });
                give.send(handle).unwrap();
                peer.run().await
            })
        });
        Self { handle: given.recv().unwrap(), heard, thread: Some(thread) }
    }

    pub async fn bind(&self, local: SocketAddr) -> SocketAddr {
        self.handle.query(move |context, _, _| context.bind(local)).await.unwrap().unwrap()
    }

    pub fn say(&self, flow: Flow, text: &str) {
        let text = text.to_owned();
        self.handle.run(move |_, talker, _| talker.say(flow, &text)).unwrap();
    }

    pub async fn hear(&mut self) -> Heard {
        within(self.heard.recv()).await.unwrap()
    }

    pub async fn expect(&mut self, heard: Heard) {
        assert_eq!(self.hear().await, heard);
    }

    pub async fn expect_message(&mut self, flow: Flow, text: &str) {
        self.expect(Heard::Message(flow, text.to_owned())).await;
    }

    /// What is heard next, if anything is by then.
    pub async fn heard_within(&mut self, patience: Duration) -> Option<Heard> {
        tokio::time::timeout(patience, self.heard.recv()).await.ok().flatten()
    }

    /// Nothing is heard for a while.
    pub async fn expect_silence(&mut self) {
        assert_eq!(self.heard_within(Duration::from_millis(50)).await, None);
    }

    /// Ends the peer and gives its machine back.
    pub fn stop(mut self) -> Talker {
        self.handle.stop().unwrap();
        self.thread.take().unwrap().join().unwrap()
    }
}
