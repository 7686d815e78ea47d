//! What those get who have not proved who they are: challenges, few and short; and no place in memory.

#[path = "support/world.rs"]
mod world;

use std::sync::Arc;

use farspeak_sansio::Flow;
use farspeak_stun::attribute::{PasswordAlgorithm, PasswordAlgorithms};
use farspeak_stun::limit::longest_answer;
use farspeak_stun::{Alternate, Attribute, AttributeType, Class, Key, Limits, Message, Method, Writer};
use farspeak_turn::{Any, LONGEST_REALM, NoAccounts, RestAccounts, ServerConfig, StaticAccounts};
use world::*;

fn bare(world: &mut World, method: Method, write: &dyn Fn(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let mut writer = Writer::new(&mut buffer, Class::Request, method, world.id());
    write(&mut writer);
    writer.finish().unwrap().to_vec()
}

#[test]
fn challenges_every_method_and_remembers_nobody() {
    let mut world = World::new(config());
    for method in [Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
        let request = bare(&mut world, method, &|writer| {
            writer.push(Attribute::Lifetime(600));
        });
        world.client_sends(udp("203.0.113.7:4000"), &request);
        let answer = Answer(world.answer().unwrap().1);
        assert_eq!(answer.code(), Some(401));
        assert_eq!(answer.message().realm(), Ok(Some(REALM)));
        assert!(answer.message().nonce().unwrap().unwrap().starts_with("obMatJos2"));
        assert!(answer.message().password_algorithms().unwrap().is_some());
    }
    assert_eq!(world.server.residue(), Default::default());
    // Methods that it does not know, and those that are switched off.
    for method in [Method::CONNECT, Method::CONNECTION_BIND, Method::new(0x123), Method::SEND] {
        let request = bare(&mut world, method, &|_| ());
        world.client_sends(udp("203.0.113.7:4000"), &request);
        assert_eq!(world.answer(), None);
    }
}

#[test]
fn never_answers_a_stranger_with_more_than_two_and_a_half_times_the_request() {
    let remotes = ["203.0.113.7:4000", "[2001:db8::7]:4000"];
    for realm in ["example.org", &"r".repeat(LONGEST_REALM), &"r".repeat(LONGEST_REALM + 1), &"r".repeat(100)] {
        let mut world = World::new(ServerConfig { realm: realm.into(), ..config() });
        for remote in remotes {
            let flow = udp(remote);
            for padding in 0..40 {
                let request = bare(&mut world, Method::ALLOCATE, &|writer| {
                    writer.push(Attribute::RequestedTransport(17));
                    if padding > 0 {
                        writer.push(Attribute::Software(&"x".repeat(padding)));
                    }
                });
                world.client_sends(flow, &request);
                let most = longest_answer(request.len(), flow.remote.ip());
                let length = world.answer().map_or(0, |(_, bytes)| bytes.len());
                assert!(length <= most, "{length} of {most}");
                world.pass(seconds(1));
            }
        }
        let all = world.server.counters().limited == 0;
        assert_eq!(all, realm.len() <= LONGEST_REALM, "{} bytes", realm.len());
    }
}

#[test]
fn with_the_longest_realm_there_is_a_challenge_without_password_algorithms() {
    let realm = "r".repeat(LONGEST_REALM);
    let accounts = StaticAccounts::new(&realm).with("alice", "secret").unwrap();
    let mut world = World::with(ServerConfig { realm: realm.clone(), ..config() }, Box::new(accounts), Arc::default());
    let request = bare(&mut world, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17));
    });
    world.client_sends(udp("203.0.113.7:4000"), &request);
    let challenge = Answer(world.answer().unwrap().1);
    assert_eq!(challenge.message().password_algorithms(), Ok(None));
    let nonce = challenge.message().nonce().unwrap().unwrap();
    let key = Key::long_term_md5("alice", &realm, "secret").unwrap();
    let request = bare(&mut world, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::Username("alice"));
        writer.push(Attribute::Realm(&realm)).push(Attribute::Nonce(nonce)).integrity(&key);
    });
    world.client_sends(udp("203.0.113.7:4000"), &request);
    assert_eq!(Answer(world.answer().unwrap().1).ok().lifetime(), 600);
}

#[test]
fn a_flood_of_forged_requests_gets_few_answers_and_no_memory() {
    let limits = Limits { per_second: 10, burst: 20, ..Limits::default() };
    let mut world = World::new(ServerConfig { limits, ..config() });
    let request = bare(&mut world, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17));
    });
    for n in 0..100_000_u32 {
        let flow = udp(&format!("203.0.113.{}:{}", n % 250, 1 + n % 60_000));
        world.client_sends(flow, &request);
    }
    assert_eq!(world.take_out().len(), 20);
    assert_eq!(world.server.residue(), Default::default());
    assert_eq!(world.server.counters().limited, 99_980);
    // Somebody from elsewhere is served meanwhile, and so is who was before; streams prove their address.
    Client::at("192.0.2.7:4000").allocate(&mut world);
    Client::over(tcp("203.0.113.9:4000", 3)).allocate(&mut world);
}

#[test]
fn those_who_proved_who_they_are_are_not_limited() {
    let limits = Limits { per_second: 1, burst: 2, ..Limits::default() };
    let mut world = World::new(ServerConfig { limits, ..config() });
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    for _ in 0..100 {
        alice.permit(&mut world, PEER).ok();
        alice.refresh(&mut world, 600).ok();
    }
}

#[test]
fn unknown_users_and_wrong_passwords_look_alike() {
    let mut world = World::new(config());
    let mut codes = Vec::new();
    for (name, password) in [("alice", "wrong"), ("nobody", "wrong"), ("nobody", ""), ("", "secret")] {
        let mut client = Client::at("203.0.113.7:4000");
        client.greet(&mut world);
        let key = Key::from_bytes(password.as_bytes());
        let request = bare(&mut world, Method::ALLOCATE, &|writer| {
            writer.push(Attribute::RequestedTransport(17)).push(Attribute::Username(name));
            writer.push(Attribute::Realm(REALM)).push(Attribute::Nonce(&client.nonce)).integrity(&key);
        });
        world.client_sends(client.flow, &request);
        let answer = Answer(world.answer().unwrap().1);
        codes.push((answer.code(), answer.0.len(), answer.message().has_integrity()));
    }
    assert!(codes.iter().all(|one| *one == (Some(401), codes[0].1, false)), "{codes:?}");
}

#[test]
fn refuses_a_replay_from_another_address() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.greet(&mut world);
    let id = world.id();
    let request = alice.sealed(id, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17));
    });
    let elsewhere = ["203.0.113.7:4001", "203.0.113.8:4000", "[2001:db8::7]:4000"];
    for remote in elsewhere {
        world.client_sends(udp(remote), &request);
        assert_eq!(Answer(world.answer().unwrap().1).code(), Some(438), "{remote}");
    }
    assert_eq!(world.server.residue(), Default::default());
    alice.allocate(&mut world);
    let id = world.id();
    let release = alice.sealed(id, Method::REFRESH, &|writer| {
        writer.push(Attribute::Lifetime(0));
    });
    for remote in elsewhere {
        world.client_sends(udp(remote), &release);
        assert_eq!(Answer(world.answer().unwrap().1).code(), Some(438));
    }
    assert_eq!(world.server.allocations(), 1);
}

#[test]
fn refuses_a_nonce_that_is_old_or_made_up() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.greet(&mut world);
    world.pass(seconds(3600));
    let old = alice.nonce.clone();
    for nonce in [&*old, "made up", ""] {
        let client = Client { nonce: nonce.into(), ..alice.clone() };
        let id = world.id();
        let request = client.sealed(id, Method::ALLOCATE, &|writer| {
            writer.push(Attribute::RequestedTransport(17));
        });
        world.client_sends(alice.flow, &request);
        let answer = Answer(world.answer().unwrap().1);
        assert_eq!(answer.code(), Some(438));
        assert_ne!(answer.message().nonce().unwrap().unwrap(), nonce);
    }
    alice.allocate(&mut world);
}

#[test]
fn refuses_requests_that_are_altered_on_the_way() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.greet(&mut world);
    let id = world.id();
    let request = alice.sealed(id, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17));
    });
    for bit in 0..request.len() * 8 {
        let mut altered = request.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        world.client_sends(alice.flow, &altered);
    }
    assert_eq!(world.server.residue(), Default::default());
    assert_eq!(world.server.counters().succeeded, 0);
}

#[test]
fn refuses_a_bid_down_of_the_password_algorithm() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.greet(&mut world);
    let sha256 = Key::long_term_sha256("alice", REALM, "secret").unwrap();
    let mut ask = |list: PasswordAlgorithms<'_>, chosen: PasswordAlgorithm<'_>, sha: bool| {
        let request = bare(&mut world, Method::ALLOCATE, &|writer| {
            writer.push(Attribute::RequestedTransport(17)).push(Attribute::Username("alice"));
            writer.push(Attribute::Realm(REALM)).push(Attribute::Nonce(&alice.nonce));
            writer.push(Attribute::PasswordAlgorithms(list)).push(Attribute::PasswordAlgorithm(chosen));
            if sha {
                writer.integrity_sha256(&sha256)
            } else {
                writer.integrity(&alice.key())
            };
        });
        world.client_sends(alice.flow, &request);
        Answer(world.answer().unwrap().1)
    };
    let both = PasswordAlgorithms::SHA256_MD5;
    assert_eq!(ask(PasswordAlgorithms::SHA256, PasswordAlgorithm::SHA256, true).code(), Some(400));
    assert_eq!(ask(both, PasswordAlgorithm::SHA256, false).code(), Some(401));
    let answer = ask(both, PasswordAlgorithm::SHA256, true).ok();
    assert_eq!(answer.message().check_integrity_sha256(&sha256, 32), Ok(()));
    assert!(answer.message().check_integrity_sha1(&sha256).is_err());
}

#[test]
fn a_user_may_hide_behind_its_hash() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.greet(&mut world);
    let hash = farspeak_stun::long_term::userhash("alice", REALM).unwrap();
    let request = bare(&mut world, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::Userhash(hash));
        writer.push(Attribute::Realm(REALM)).push(Attribute::Nonce(&alice.nonce)).integrity(&alice.key());
    });
    world.client_sends(alice.flow, &request);
    assert_eq!(Answer(world.answer().unwrap().1).ok().lifetime(), 600);
    assert_eq!(world.ledger.usage("alice").allocations, 1);
    alice.permit(&mut world, PEER).ok();
}

#[test]
fn answers_binding_requests_in_place() {
    for (remote, transport) in [("203.0.113.7:4000", "udp"), ("[2001:db8::7]:4000", "udp"), ("203.0.113.7:4001", "tcp")]
    {
        let mut world = World::with(config(), Box::new(NoAccounts), Arc::default());
        let flow = if transport == "tcp" { tcp(remote, 3) } else { udp(remote) };
        for fingerprint in [false, true] {
            let request = bare(&mut world, Method::BINDING, &|writer| {
                if fingerprint {
                    writer.fingerprint();
                }
            });
            world.client_sends(flow, &request);
            let (to, bytes) = world.answer().unwrap();
            let message = Message::parse(&bytes).unwrap();
            assert_eq!((to, message.xor_mapped_address()), (flow, Ok(Some(address(remote)))));
            assert_eq!(message.has_fingerprint(), fingerprint);
        }
        assert_eq!(world.server.counters().binding.answered, 2);
        world.server.reconfigure(world.now, config());
        assert_eq!(world.server.counters().binding.answered, 2);
    }
}

#[test]
fn answers_from_another_address_for_nat_discovery() {
    let alternates = vec![Alternate { primary: address(SERVER), other: address("198.51.100.2:3479") }];
    let mut world = World::new(ServerConfig { alternates, ..config() });
    let request = bare(&mut world, Method::BINDING, &|writer| {
        let change = farspeak_stun::attribute::ChangeRequest { ip: true, port: true };
        writer.push(Attribute::ChangeRequest(change));
    });
    world.client_sends(udp("203.0.113.7:4000"), &request);
    let (flow, bytes) = world.answer().unwrap();
    let (local, remote) = (address("198.51.100.2:3479"), address("203.0.113.7:4000"));
    assert_eq!(flow, Flow { id: farspeak_sansio::FlowId::UNBOUND, local, remote, ..udp("203.0.113.7:4000") });
    assert_eq!(Message::parse(&bytes).unwrap().response_origin(), Ok(Some(local)));
    // Its other address is its own as well.
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    assert_eq!(alice.permit(&mut world, "198.51.100.2:22").code(), Some(403));
}

#[test]
fn data_from_strangers_goes_nowhere() {
    let mut world = World::new(config());
    world.client_sends(udp("203.0.113.7:4000"), &channel_message(0x4000, b"x"));
    world.client_sends(udp("203.0.113.7:4000"), &send_indication(address(PEER), b"x"));
    assert_eq!(world.take_out(), []);
    assert_eq!(world.server.counters().stray, 2);
    // Nor does a client's from another port.
    let mut alice = Client::at("203.0.113.7:4000");
    alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, PEER).ok();
    world.client_sends(udp("203.0.113.7:4001"), &channel_message(0x4000, b"x"));
    assert_eq!(world.take_out(), []);
}

#[test]
fn refuses_credentials_that_contradict_each_other() {
    let mut world = World::new(config());
    let mut alice = Client::at("203.0.113.7:4000");
    alice.greet(&mut world);
    let request = bare(&mut world, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::RequestedTransport(17)).push(Attribute::Username("alice")).integrity(&alice.key());
    });
    world.client_sends(alice.flow, &request);
    assert_eq!(Answer(world.answer().unwrap().1).code(), Some(400));
    let request = bare(&mut world, Method::ALLOCATE, &|writer| {
        writer.push(Attribute::Username("alice")).push(Attribute::Realm("example.com"));
        writer.push(Attribute::Nonce(&alice.nonce));
        writer.integrity(&Key::long_term_md5("alice", "example.com", "secret").unwrap());
    });
    world.client_sends(alice.flow, &request);
    assert_eq!(Answer(world.answer().unwrap().1).code(), Some(401));
}

#[test]
fn a_secret_is_replaced_without_refusing_anybody() {
    let (old, new) = (RestAccounts::new(b"north"), RestAccounts::new(b"south"));
    let accounts = Any(accounts(), new.clone().with_other(b"north"));
    let mut world = World::with(config(), Box::new(accounts), Arc::default());
    for (at, rest) in [(1, &new), (2, &old)] {
        let mut client = Client::at(&format!("203.0.113.7:400{at}")).rest(rest, 1_000, "carol");
        client.allocate(&mut world);
        client.permit(&mut world, PEER).ok();
    }
    assert_eq!(world.ledger.usage("carol").allocations, 2);
    let mut client = Client::at("203.0.113.7:4003").rest(&RestAccounts::new(b"west"), 1_000, "carol");
    assert_eq!(client.allocate_with(&mut world, &|_| ()).code(), Some(401));
    // One that is left out is good for what runs, and for nothing new.
    let mut world = World::with(config(), Box::new(new), Arc::default());
    let mut client = Client::at("203.0.113.7:4004").rest(&old, 1_000, "carol");
    assert_eq!(client.allocate_with(&mut world, &|_| ()).code(), Some(401));
}

#[test]
fn everybodys_first_request_is_answered_over_udp() {
    // What clients send behind REQUESTED-TRANSPORT before they know realm and nonce: Chromium nothing, aioice and libnice
    // LIFETIME, coturn a family as well, pion FINGERPRINT, others SOFTWARE.
    let shapes: [&[AttributeType]; 5] = [
        &[],
        &[AttributeType::LIFETIME],
        &[AttributeType::LIFETIME, AttributeType::REQUESTED_ADDRESS_FAMILY],
        &[AttributeType::FINGERPRINT],
        &[AttributeType::SOFTWARE],
    ];
    for realm in ["example.org".to_owned(), "r".repeat(LONGEST_REALM)] {
        let mut world = World::new(ServerConfig { realm: realm.clone(), ..config() });
        for shape in shapes {
            let request = bare(&mut world, Method::ALLOCATE, &|writer| {
                writer.push(Attribute::RequestedTransport(17));
                for kind in shape {
                    match *kind {
                        AttributeType::LIFETIME => writer.push(Attribute::Lifetime(600)),
                        AttributeType::SOFTWARE => writer.push(Attribute::Software("x")),
                        AttributeType::FINGERPRINT => writer.fingerprint(),
                        _ => writer.push(Attribute::RequestedAddressFamily(V4)),
                    };
                }
            });
            world.client_sends(udp("203.0.113.7:4000"), &request);
            let answer = Answer(world.answer().expect("an answer").1);
            assert_eq!((answer.code(), answer.message().realm()), (Some(401), Ok(Some(&*realm))), "{shape:?}");
        }
    }
    // Nothing at all is malformed (§7.1), and answered for a short realm only.
    for (realm, answered) in [("r".repeat(12), true), ("r".repeat(13), false)] {
        let mut world = World::new(ServerConfig { realm, ..config() });
        let request = bare(&mut world, Method::ALLOCATE, &|_| ());
        world.client_sends(udp("203.0.113.7:4000"), &request);
        assert_eq!(world.answer().is_some(), answered);
    }
}
