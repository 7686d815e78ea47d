//! Port mapping: whatever a router or anybody in its name says, what is asked for stays with the router, is bounded, and
//! ends.

use farspeak_ice::port_mapping::{Config, Event, PortMapper, Protocol, Way};
use farspeak_sansio::{Flow, Instant, Machine, Receive, SplitMix64, Transport};

use crate::input::Input;

const DESCRIPTION: &str = "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
                           LOCATION: http://192.168.1.1:5000/d.xml\r\n\r\n";

/// Pieces, each behind a byte that says how it comes and one with its length: as it is, behind a header that fits what
/// was asked last, or as a page.
pub fn fuzz(data: &[u8]) {
    let address = |text: &str| text.parse().expect("an address");
    let (local, gateway) = (address("192.168.1.2:40000"), address("192.168.1.1:0"));
    let mut input = Input::new(data);
    let ways = match input.small() % 4 {
        0 => vec![Way::Pcp, Way::NatPmp, Way::Upnp],
        1 => vec![Way::Pcp],
        2 => vec![Way::NatPmp],
        _ => vec![Way::Upnp],
    };
    let config = Config { ways, most: 4, ..Config::default() };
    let mut mapper = PortMapper::new(config, local, gateway, Box::new(SplitMix64::new(1)));
    let mut now = Instant::ZERO;
    let mut asked = (Flow::unbound(Transport::Udp, local, gateway), Vec::new());
    for port in [4000, 4001] {
        mapper.map(now, Protocol::Udp, port).expect("there is room");
    }
    while let Some(kind) = input.byte() {
        drain(&mut mapper, &mut asked);
        let raw = input.raw();
        let udp = Flow { remote: address("192.168.1.1:5351"), ..Flow::unbound(Transport::Udp, local, local) };
        match kind % 9 {
            0 => receive(&mut mapper, now, udp, raw),
            1 => {
                let mut answer = asked.1.clone();
                answer.truncate(60);
                for (at, byte) in raw.iter().enumerate().take(answer.len().saturating_sub(2)) {
                    answer[at + 2] = *byte;
                }
                if answer.len() > 1 {
                    answer[1] |= 0x80;
                }
                receive(&mut mapper, now, udp, &answer);
            }
            2 => receive(&mut mapper, now, Flow { remote: address("192.168.1.1:1900"), ..udp }, DESCRIPTION.as_bytes()),
            3 => receive(&mut mapper, now, Flow { remote: address("192.168.1.1:1900"), ..udp }, raw),
            4 => receive(&mut mapper, now, asked.0, raw),
            5 => {
                let length = raw.len();
                let mut page = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
                page.extend_from_slice(raw);
                receive(&mut mapper, now, asked.0, &page);
            }
            6 => mapper.handle_flow_failed(now, asked.0),
            7 => {
                let port = 4000 + u16::from(raw.first().copied().unwrap_or(0) % 8);
                if raw.len().is_multiple_of(2) {
                    let _ = mapper.map(now, Protocol::Udp, port);
                } else {
                    mapper.unmap(now, Protocol::Udp, port);
                }
            }
            _ => {
                if let Some(at) = mapper.poll_timeout() {
                    now = now.max(at);
                    mapper.handle_timeout(now);
                }
            }
        }
        assert!(mapper.mappings().count() <= 4);
    }
    drain(&mut mapper, &mut asked);
    mapper.close(now);
    let mut steps = 0;
    while let Some(at) = mapper.poll_timeout() {
        now = now.max(at);
        mapper.handle_timeout(now);
        drain(&mut mapper, &mut asked);
        steps += 1;
        assert!(steps < 1000, "it ends");
    }
    assert!(mapper.is_idle());
}

fn receive(mapper: &mut PortMapper, now: Instant, flow: Flow, bytes: &[u8]) {
    mapper.handle_receive(now, Receive { flow, bytes });
}

fn drain(mapper: &mut PortMapper, asked: &mut (Flow, Vec<u8>)) {
    let mut sent = 0;
    while let Some(transmit) = mapper.poll_transmit() {
        let to = transmit.flow.remote;
        let multicast = to.to_string() == "239.255.255.250:1900";
        assert!(multicast || to.ip().to_string() == "192.168.1.1", "nobody but the router is asked: {to}");
        assert!(transmit.bytes.len() < 4096);
        *asked = (transmit.flow, transmit.bytes.to_vec());
        sent += 1;
        assert!(sent < 100, "at most a few at a time");
    }
    while let Some(event) = mapper.poll_event() {
        if let Event::Mapped(mapping) = event {
            assert!(mapping.external.port() != 0 && !mapping.external.ip().is_unspecified());
        }
    }
}
