//! A client and the server that a test writes by hand.

use farspeak_sansio::{Flow, Machine, SplitMix64, Transport};
use farspeak_stun::{Authentication, Class, Client, ClientConfig, Event, Failure, Message, Writer};

use crate::world::flow;

pub fn udp() -> Flow {
    flow(Transport::Udp, "192.0.2.7:4000", "192.0.2.1:3478")
}

pub fn tcp() -> Flow {
    flow(Transport::Tcp, "192.0.2.7:4000", "192.0.2.1:3478")
}

pub fn client(authentication: Authentication) -> Client {
    Client::new(ClientConfig::default(), authentication, Box::new(SplitMix64::new(1)))
}

pub fn respond(request: &[u8], class: Class, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let request = Message::parse(request).unwrap();
    let mut buffer = [0; 2048];
    let mut writer = Writer::respond(&mut buffer, class, &request);
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

pub fn sent(client: &mut Client) -> Vec<u8> {
    client.poll_transmit().expect("something was sent").bytes.to_vec()
}

pub fn failure(client: &mut Client) -> Option<Failure> {
    match client.poll_event()? {
        Event::Failed { reason, .. } => Some(reason),
        Event::Response { .. } => panic!("a response"),
    }
}

pub fn is_response(client: &mut Client) -> bool {
    matches!(client.poll_event(), Some(Event::Response { .. }))
}
