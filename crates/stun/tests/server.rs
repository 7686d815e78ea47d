//! The Binding server: RFC 8489 §12, RFC 5780 §6, and what strangers cannot do with it.

#[path = "../../sip/tests/support/counting.rs"]
mod counting;
#[path = "support/world.rs"]
mod world;

use counting::{Counting, allocations};
use farspeak_sansio::{Flow, Instant, Machine, Transport};
use farspeak_stun::attribute::ChangeRequest;
use farspeak_stun::{
    Alternate, Attribute, AttributeType, BindingServer, Class, Limits, Message, Method, ServerConfig, TransactionId,
    Writer,
};
use proptest::prelude::*;
use world::{flow, receive};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENT: &str = "203.0.113.7:4000";

fn pair() -> Vec<Alternate> {
    let pair =
        |primary: &str, other: &str| Alternate { primary: primary.parse().unwrap(), other: other.parse().unwrap() };
    vec![pair("192.0.2.1:3478", "192.0.2.2:3479"), pair("[2001:db8::1]:3478", "[2001:db8::2]:3479")]
}

fn server(alternates: Vec<Alternate>) -> BindingServer {
    BindingServer::new(ServerConfig { alternates, ..ServerConfig::default() })
}

fn at(local: &str) -> Flow {
    flow(Transport::Udp, local, CLIENT)
}

fn request(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([9; 12]));
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

/// The answer, where it comes from and where it goes.
fn ask(server: &mut BindingServer, flow: Flow, request: &[u8]) -> Option<(Vec<u8>, String, String)> {
    receive(server, Instant::ZERO, flow, request);
    let transmit = server.poll_transmit()?;
    Some((transmit.bytes.to_vec(), transmit.flow.local.to_string(), transmit.flow.remote.to_string()))
}

fn code(answer: &[u8]) -> Option<u16> {
    Message::parse(answer).unwrap().error_code().unwrap().map(|error| error.code)
}

#[test]
fn tells_the_source_address_and_nothing_else() {
    let (answer, from, to) = ask(&mut server(Vec::new()), at("192.0.2.1:3478"), &request(|_| ())).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert!(message.is(Class::Success, Method::BINDING));
    assert_eq!(message.xor_mapped_address(), Ok(Some(CLIENT.parse().unwrap())));
    assert_eq!((message.attributes().count(), message.transaction_id()), (1, TransactionId([9; 12])));
    assert_eq!((from.as_str(), to.as_str()), ("192.0.2.1:3478", CLIENT));
    assert!(!message.has_fingerprint());
    let (answer, ..) = ask(
        &mut server(Vec::new()),
        at("192.0.2.1:3478"),
        &request(|w| {
            w.fingerprint();
        }),
    )
    .unwrap();
    assert!(Message::parse(&answer).unwrap().check_fingerprint());
}

#[test]
fn a_socket_of_both_families_tells_ipv4_clients_their_ipv4_address() {
    let mapped = flow(Transport::Udp, "[::ffff:192.0.2.1]:3478", "[::ffff:203.0.113.7]:4000");
    let (answer, _, to) = ask(&mut server(Vec::new()), mapped, &request(|_| ())).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().xor_mapped_address(), Ok(Some(CLIENT.parse().unwrap())));
    assert_eq!(to, "[::ffff:203.0.113.7]:4000");
}

/// RFC 5780 table 1, from each of the four sockets.
#[test]
fn answers_from_where_change_request_says() {
    let mut server = server(pair());
    for (ip, other_ip) in [("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.1")] {
        for (port, other_port) in [(3478, 3479), (3479, 3478)] {
            for (change_ip, change_port) in [(false, false), (true, false), (false, true), (true, true)] {
                let change = Attribute::ChangeRequest(ChangeRequest { ip: change_ip, port: change_port });
                let (answer, from, to) = ask(
                    &mut server,
                    at(&format!("{ip}:{port}")),
                    &request(|w| {
                        w.push(change);
                    }),
                )
                .unwrap();
                let expected_ip = if change_ip { other_ip } else { ip };
                let expected_port = if change_port { other_port } else { port };
                assert_eq!((from.clone(), to.as_str()), (format!("{expected_ip}:{expected_port}"), CLIENT));
                let message = Message::parse(&answer).unwrap();
                let other = format!("{other_ip}:{other_port}").parse().unwrap();
                assert_eq!(message.other_address(), Ok(Some(other)));
                assert_eq!(message.response_origin(), Ok(Some(from.parse().unwrap())));
                assert_eq!(message.mapped_address(), message.xor_mapped_address());
            }
        }
    }
}

#[test]
fn response_port_and_padding_work_alone_and_never_together() {
    let mut server = server(pair());
    let (_, _, to) = ask(
        &mut server,
        at("192.0.2.1:3478"),
        &request(|w| {
            w.push(Attribute::ResponsePort(4001));
        }),
    )
    .unwrap();
    assert_eq!(to, "203.0.113.7:4001");
    let padding = [0; 1400];
    let padded = request(|w| {
        w.push(Attribute::Padding(&padding));
    });
    let (answer, ..) = ask(&mut server, at("192.0.2.1:3478"), &padded).unwrap();
    let length = Message::parse(&answer).unwrap().padding().unwrap().unwrap().len();
    assert!((1380..=1400).contains(&length) && answer.len() <= 1500);
    let both = request(|w| {
        w.push(Attribute::ResponsePort(4001)).push(Attribute::Padding(&padding));
    });
    assert_eq!(code(&ask(&mut server, at("192.0.2.1:3478"), &both).unwrap().0), Some(400));
}

#[test]
fn refuses_change_request_and_response_port_without_a_second_address() {
    let change = Attribute::ChangeRequest(ChangeRequest { ip: true, port: true });
    for (attribute, kind) in
        [(change, AttributeType::CHANGE_REQUEST), (Attribute::ResponsePort(1), AttributeType::RESPONSE_PORT)]
    {
        let bytes = request(|w| {
            w.push(attribute);
        });
        let (answer, ..) = ask(&mut server(Vec::new()), at("192.0.2.1:3478"), &bytes).unwrap();
        let message = Message::parse(&answer).unwrap();
        assert_eq!(code(&answer), Some(420));
        assert_eq!(message.unknown_attributes().unwrap().unwrap().iter().collect::<Vec<_>>(), [kind]);
    }
    let same_port = Alternate { primary: "192.0.2.1:3478".parse().unwrap(), other: "192.0.2.2:3478".parse().unwrap() };
    let bytes = request(|w| {
        w.push(change);
    });
    assert_eq!(code(&ask(&mut server(vec![same_port]), at("192.0.2.1:3478"), &bytes).unwrap().0), Some(420));
}

#[test]
fn refuses_unknown_attributes_by_name() {
    let bytes = request(|w| {
        w.push_raw(AttributeType(0x7ff0), b"1234").push_raw(AttributeType(0x7ff1), b"");
    });
    let (answer, ..) = ask(&mut server(pair()), at("192.0.2.1:3478"), &bytes).unwrap();
    let message = Message::parse(&answer).unwrap();
    let unknown: Vec<_> = message.unknown_attributes().unwrap().unwrap().iter().map(|kind| kind.0).collect();
    assert_eq!((code(&answer), unknown), (Some(420), vec![0x7ff0, 0x7ff1]));
}

#[test]
fn never_answers_what_is_no_binding_request_or_comes_from_nowhere() {
    let mut server = server(pair());
    let other = |class, method| {
        let mut buffer = [0; 64];
        Writer::new(&mut buffer, class, method, TransactionId([1; 12])).finish().unwrap().to_vec()
    };
    for bytes in [
        other(Class::Indication, Method::BINDING),
        other(Class::Success, Method::BINDING),
        other(Class::Error, Method::BINDING),
        other(Class::Request, Method::ALLOCATE),
        b"\x40\x00\x00\x00".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(ask(&mut server, at("192.0.2.1:3478"), &bytes), None);
    }
    for forged in [
        "0.0.0.0:9",
        "255.255.255.255:9",
        "224.0.0.1:9",
        "203.0.113.7:0",
        "[ff02::1]:9",
        "[::]:9",
        "[::ffff:224.0.0.1]:9",
    ] {
        let flow = flow(Transport::Udp, "192.0.2.1:3478", forged);
        assert_eq!(ask(&mut server, flow, &request(|_| ())), None, "{forged}");
    }
    assert_eq!(server.counters().dropped, 13);
}

#[test]
fn never_answers_a_prefix_beyond_its_share_and_spares_the_others() {
    let limits = Limits { per_second: 10, burst: 20, ..Limits::default() };
    let mut server = BindingServer::new(ServerConfig { limits, ..ServerConfig::default() });
    let bytes = request(|_| ());
    let mut answered = 0;
    for n in 0..100 {
        let victim = flow(Transport::Udp, "192.0.2.1:3478", &format!("203.0.113.{n}:4000"));
        answered += usize::from(ask(&mut server, victim, &bytes).is_some());
    }
    assert_eq!((answered, server.counters().limited), (20, 80));
    assert!(ask(&mut server, flow(Transport::Udp, "192.0.2.1:3478", "198.51.100.1:9"), &bytes).is_some());
}

#[test]
fn answers_cost_no_allocation_before_the_machine_hands_them_over() {
    let (mut server, bytes, flow) = (
        server(pair()),
        request(|w| {
            w.fingerprint();
        }),
        at("192.0.2.1:3478"),
    );
    let mut buffer = [0; 1500];
    let (count, answer) = allocations(|| server.answer(Instant::ZERO, &flow, &bytes, &mut buffer));
    assert_eq!((count, answer.is_some()), (0, true));
}

proptest! {
    #[test]
    fn never_answers_with_more_than_two_and_a_half_times_the_request(
        kinds in proptest::collection::vec((any::<u16>(), 0_usize..12), 0..40),
        fingerprint: bool, v6: bool, software: bool,
    ) {
        let bytes = request(|writer| {
            for (kind, length) in &kinds {
                if ![0x0008, 0x001c, 0x8028].contains(kind) {
                    writer.push_raw(AttributeType(*kind), &[0; 12][..*length]);
                }
            }
            if fingerprint {
                writer.fingerprint();
            }
        });
        let software = software.then(|| "x".repeat(500));
        let mut server = BindingServer::new(ServerConfig { alternates: pair(), software, ..ServerConfig::default() });
        let (local, remote, headers) = match v6 {
            true => ("[2001:db8::1]:3478", "[2001:db8:5::7]:4000", 48),
            false => ("192.0.2.1:3478", CLIENT, 28),
        };
        if let Some((answer, ..)) = ask(&mut server, flow(Transport::Udp, local, remote), &bytes) {
            prop_assert!((answer.len() + headers) * 2 <= (bytes.len() + headers) * 5);
        }
    }

    #[test]
    fn any_bytes_are_answered_or_dropped(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut server = server(pair());
        let _ = ask(&mut server, at("192.0.2.1:3478"), &bytes);
    }
}

#[test]
fn the_smallest_request_is_answered_in_full_over_both_families() {
    for (local, remote) in [("192.0.2.1:3478", CLIENT), ("[2001:db8::1]:3478", "[2001:db8:5::7]:4000")] {
        for fingerprint in [false, true] {
            let bytes = request(|writer| {
                if fingerprint {
                    writer.fingerprint();
                }
            });
            let (answer, ..) = ask(&mut server(pair()), flow(Transport::Udp, local, remote), &bytes).unwrap();
            assert_eq!(Message::parse(&answer).unwrap().attributes().count(), 4);
        }
    }
}

#[test]
fn software_is_told_only_where_it_fits() {
    let software = Some("farspeak".repeat(8));
    let mut server = BindingServer::new(ServerConfig { software, ..ServerConfig::default() });
    let small = ask(&mut server, at("192.0.2.1:3478"), &request(|_| ())).unwrap().0;
    assert_eq!(Message::parse(&small).unwrap().software(), Ok(None));
    let large = request(|writer| {
        writer.push(Attribute::Software(&"x".repeat(100)));
    });
    let large = ask(&mut server, at("192.0.2.1:3478"), &large).unwrap().0;
    assert_eq!(Message::parse(&large).unwrap().software().unwrap().map(str::len), Some(64));
}
