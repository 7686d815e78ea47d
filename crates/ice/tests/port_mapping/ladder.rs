//! A host that wants ports, its router, and what the host was told.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use farspeak_ice::port_mapping::{Config, Event, Mapping, PortMapper, Protocol, Reason};
use farspeak_sansio::{Machine, SplitMix64, Transport};
use farspeak_sim::{Host, Link, Network};

/// The house.
pub struct Ladder<R> {
    pub net: Network,
    pub host: Host<PortMapper>,
    pub router: Host<R>,
    heard: Rc<RefCell<Vec<Event>>>,
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl<R: Machine + 'static> Ladder<R> {
    pub fn new(seed: u64, config: Config, router: R) -> Self {
        let mut net = Network::new(seed).label(label);
        let (local, gateway) = (addr("192.168.1.2:40000"), addr("192.168.1.1:0"));
        let mapper = PortMapper::new(config, local, gateway, Box::new(SplitMix64::new(seed)));
        let host = net.host("host", ["192.168.1.2", "224.0.0.1"], mapper);
        let router = net.host("router", ["192.168.1.1", "239.255.255.250"], router);
        net.bind(host, Transport::Udp, 40000);
        net.bind(host, Transport::Udp, 5350);
        net.bind(router, Transport::Udp, 5351);
        net.bind(router, Transport::Udp, 1900);
        net.bind(router, Transport::Tcp, 5000);
        let heard = Rc::new(RefCell::new(Vec::new()));
        let keep = Rc::clone(&heard);
        net.on_event(host, move |_, context, event| {
            context.note(format!("{event:?}"));
            keep.borrow_mut().push(event);
        });
        net.residue_of(host, |mapper| (!mapper.is_idle()).then(|| format!("{mapper:?}")));
        Self { net, host, router, heard }
    }

    pub fn loss(mut self, loss: f64) -> Self {
        self.net.set_links(Link::default().loss(loss));
        self
    }

    pub fn map(&mut self, protocol: Protocol, port: u16) {
        self.net.at(self.host, |mapper, now| mapper.map(now, protocol, port).unwrap());
    }

    pub fn unmap(&mut self, protocol: Protocol, port: u16) {
        self.net.at(self.host, |mapper, now| mapper.unmap(now, protocol, port));
    }

    pub fn run(&mut self, duration: Duration) {
        self.net.run_for(duration);
    }

    /// What the host was told since it was asked last.
    pub fn heard(&mut self) -> Vec<Event> {
        self.heard.take()
    }

    /// Runs until the host is told something.
    #[track_caller]
    pub fn next(&mut self, within: Duration) -> Event {
        let until = self.net.now() + within;
        while self.heard.borrow().is_empty() {
            assert!(self.net.step(until), "nothing was heard within {within:?}\n{}", self.net);
        }
        self.heard.borrow_mut().remove(0)
    }

    /// Runs until the host is told of a mapping.
    #[track_caller]
    pub fn mapped(&mut self, within: Duration) -> Mapping {
        match self.next(within) {
            Event::Mapped(mapping) => mapping,
            other => panic!("{other:?} instead of a mapping\n{}", self.net),
        }
    }

    /// Runs until the host is told that there is nothing.
    #[track_caller]
    pub fn unavailable(&mut self, within: Duration) -> Reason {
        match self.next(within) {
            Event::Unavailable { reason, .. } => reason,
            other => panic!("{other:?} instead of a refusal\n{}", self.net),
        }
    }

    /// Gives everything back; nothing may be left.
    #[track_caller]
    pub fn close(&mut self) {
        self.net.at(self.host, |mapper, now| mapper.close(now));
        self.net.settled_within(secs(60)).no_state_left();
        assert_eq!(self.net.machine(self.host).poll_timeout(), None, "no timer is left");
    }
}

/// Names packets for the ladder.
fn label(bytes: &[u8]) -> String {
    match bytes {
        [2, 1, ..] => "MAP".to_owned(),
        [2, 0x81, _, code, ..] => format!("MAP-{code}"),
        [2, 0x80, ..] => "ANNOUNCE".to_owned(),
        [0, 0] => "ADDRESS".to_owned(),
        [0, 1 | 2, ..] => "PMP-MAP".to_owned(),
        [0, code, _, result, ..] => format!("PMP-{code}-{result}"),
        _ => String::from_utf8_lossy(bytes).split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" "),
    }
}
