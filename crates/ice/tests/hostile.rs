//! What strangers and hostile peers can do: nothing.

mod support;

use std::time::Duration;

use farspeak_ice::{AgentConfig, Candidate, Event, Limits, Privacy, State};
use farspeak_sansio::{Flow, Instant, Machine, Receive, Rng, SplitMix64, Transport};
use farspeak_stun::{Attribute, Class, ErrorCode, Message, Method, TransactionId, Writer};
use support::alone::{Alone, LOCAL, PEER};
use support::{End, World};

#[test]
fn answers_checks_as_their_faults_deserve() {
    let mut alone = Alone::new(false);
    let password = alone.agent.credentials().password().to_owned();
    let good = alone.good_check();
    assert_eq!(alone.error_of(&good), None);
    let wrong = alone.check("wrongwrongwrongwrongwrong", |writer| {
        writer.push(Attribute::Priority(1)).push(Attribute::IceControlling(1));
    });
    assert_eq!(alone.error_of(&wrong), Some(401));
    let without = alone.check(&password, |_| ());
    assert_eq!(alone.error_of(&without), Some(400), "no PRIORITY");
    let strange = alone.check(&password, |writer| {
        writer.push(Attribute::Priority(1)).push_raw(farspeak_stun::AttributeType(0x7777), b"?");
    });
    assert_eq!(alone.error_of(&strange), Some(420));
    let conflict = alone.check(&password, |writer| {
        writer.push(Attribute::Priority(1)).push(Attribute::IceControlled(9));
    });
    assert_eq!(alone.error_of(&conflict), Some(487), "its tie-breaker is greater: it has to control");
}

#[test]
fn answers_are_sealed_as_checks_are() {
    for strange in [false, true] {
        let mut alone = Alone::new(false);
        let username = format!("{}:peer", alone.agent.credentials().ufrag());
        let key = farspeak_stun::Key::from_bytes(alone.agent.credentials().password().as_bytes());
        let mut buffer = [0; 500];
        let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([8; 12]));
        writer.push(Attribute::Username(&username)).push(Attribute::IceControlling(1));
        if !strange {
            writer.push(Attribute::Priority(1));
        }
        writer.integrity_sha256(&key).fingerprint();
        let check = writer.finish().unwrap().to_vec();
        alone.receive(PEER, &check);
        let (_, bytes) = alone.sent().remove(0);
        let answer = Message::parse(&bytes).unwrap();
        assert_eq!(answer.class(), if strange { Class::Error } else { Class::Success });
        assert_eq!(answer.check_integrity(&key), Ok(farspeak_stun::Integrity::Sha256), "RFC 8489 §9.1.3");
    }
}

#[test]
fn refuses_checks_of_other_sessions_in_silence() {
    let mut alone = Alone::new(false);
    let mut buffer = [0; 200];
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([9; 12]));
    writer.push(Attribute::Username("guess:peer")).push(Attribute::Priority(1));
    writer.integrity(&farspeak_stun::Key::from_bytes(b"guess")).fingerprint();
    let request = writer.finish().unwrap().to_vec();
    alone.receive(PEER, &request);
    let mut damaged = alone.good_check();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    alone.receive(PEER, &damaged);
    assert!(alone.sent().is_empty());
}

#[test]
fn refuses_data_from_who_has_not_been_checked() {
    let mut alone = Alone::new(false);
    alone.host(PEER);
    alone.receive(PEER, b"\x80data");
    assert!(!std::iter::from_fn(|| alone.agent.poll_event()).any(|event| matches!(event, Event::Data { .. })));
    let check = alone.good_check();
    alone.receive(PEER, &check);
    alone.receive(PEER, b"\x80data");
    alone.receive("192.0.2.66:6001", b"\x80other");
    let data: Vec<Event> =
        std::iter::from_fn(|| alone.agent.poll_event()).filter(|event| matches!(event, Event::Data { .. })).collect();
    assert_eq!(data, [Event::Data { component: 1, bytes: b"\x80data".to_vec() }]);
}

#[test]
fn refuses_to_send_before_anything_is_valid() {
    let mut alone = Alone::new(true);
    alone.host(PEER);
    assert_eq!(alone.agent.send(alone.now, 1, b"data"), Err(farspeak_ice::SendError::NotConnected));
    assert_eq!(alone.agent.send(alone.now, 2, b"data"), Err(farspeak_ice::SendError::NoComponent));
}

#[test]
fn refuses_forged_responses() {
    let mut alone = Alone::new(true);
    alone.host(PEER);
    let (_, check) = alone.sent().remove(0);
    let forged = alone.response(&check, LOCAL, "wrongwrongwrongwrongwrong");
    alone.receive(PEER, &forged);
    assert_eq!(alone.agent.state(), State::Checking);
    let right = alone.response(&check, LOCAL, alone.peer.password());
    alone.receive("192.0.2.66:6001", &right);
    assert_eq!(alone.agent.state(), State::Checking, "it comes from elsewhere (RFC 8445 §7.2.5.2.1)");
    let mut alone = Alone::new(true);
    alone.host(PEER);
    let (_, check) = alone.sent().remove(0);
    let right = alone.response(&check, LOCAL, alone.peer.password());
    alone.receive(PEER, &right);
    assert_ne!(alone.agent.state(), State::Checking);
}

#[test]
fn refuses_a_role_conflict_that_is_not_one() {
    let mut alone = Alone::new(true);
    alone.host(PEER);
    let (_, check) = alone.sent().remove(0);
    let mut buffer = [0; 100];
    let mut writer = Writer::respond(&mut buffer, Class::Error, &Message::parse(&check).unwrap());
    writer.push(Attribute::ErrorCode(ErrorCode::ROLE_CONFLICT)).fingerprint();
    let unsealed = writer.finish().unwrap().to_vec();
    alone.receive("192.0.2.66:6001", &unsealed);
    assert!(alone.agent.is_controlling());
}

#[test]
fn refuses_errors_that_are_not_sealed() {
    for error in [ErrorCode::ROLE_CONFLICT, ErrorCode::BAD_REQUEST, ErrorCode::UNAUTHENTICATED] {
        let mut alone = Alone::new(true);
        alone.host(PEER);
        let (_, check) = alone.sent().remove(0);
        let mut buffer = [0; 100];
        let mut writer = Writer::respond(&mut buffer, Class::Error, &Message::parse(&check).unwrap());
        writer.push(Attribute::ErrorCode(error)).fingerprint();
        let forged = writer.finish().unwrap().to_vec();
        alone.receive(PEER, &forged);
        assert!(alone.agent.is_controlling(), "RFC 8489 §9.1.4: as if it had never come");
        alone.pass(Duration::from_millis(600));
        assert_eq!(alone.sent(), [(PEER.parse().unwrap(), check.clone())], "it is repeated");
        let right = alone.response(&check, LOCAL, alone.peer.password());
        alone.receive(PEER, &right);
        assert_ne!(alone.agent.state(), State::Checking);
    }
}

#[test]
fn refuses_a_change_of_role_for_another_branch() {
    let mut alone = Alone::new(true);
    let username = format!("{}:fork", alone.agent.credentials().ufrag());
    let mut buffer = [0; 500];
    let id = TransactionId([7; 12]);
    let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, id);
    writer.push(Attribute::Username(&username)).push(Attribute::Priority(1));
    writer.push(Attribute::IceControlling(u64::MAX));
    let key = farspeak_stun::Key::from_bytes(alone.agent.credentials().password().as_bytes());
    writer.integrity(&key).fingerprint();
    let check = writer.finish().unwrap().to_vec();
    assert_eq!(alone.error_of(&check), None);
    assert!(alone.agent.is_controlling());
    assert!(alone.sent().is_empty(), "nothing is triggered");
}

#[test]
fn refuses_to_check_this_host_itself() {
    let mut alone = Alone::new(true);
    for own in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::ffff:192.0.2.9", "0.0.0.0", "255.255.255.255"] {
        let line = format!("candidate:1 1 UDP 2130706431 {own} 7000 typ host");
        alone.agent.add_remote_candidate(alone.now, line.parse().unwrap());
    }
    alone.pass(Duration::from_secs(10));
    assert!(alone.sent().is_empty());
}

#[test]
fn refuses_to_check_candidates_for_tcp_and_to_let_them_take_room() {
    let mut alone = Alone::new(true);
    for n in 0..500 {
        let kind = ["active", "passive", "so"][n % 3];
        let port = if kind == "active" { 9 } else { 7000 + n };
        let line = format!("candidate:1 1 TCP 2130706431 198.51.100.1 {port} typ host tcptype {kind}");
        let candidate: Candidate = line.parse().unwrap();
        assert_eq!(candidate.to_string(), line);
        alone.agent.add_remote_candidate(alone.now, candidate);
    }
    alone.pass(Duration::from_secs(2));
    assert!(alone.sent().is_empty());
    alone.host(PEER);
    assert_eq!(alone.sent().len(), 1);
}

#[test]
fn refuses_to_ask_for_names_in_privacy_mode() {
    // Whoever listens in the local network would know who is called.
    let mut alone = Alone::with(AgentConfig { privacy: Privacy::RelayOnly, ..AgentConfig::default() });
    let line = "candidate:1 1 UDP 2130706431 0f8fad5b-d9cb-469f-a165-70867728950e.local 6001 typ host";
    alone.agent.add_remote_candidate(alone.now, line.parse().unwrap());
    assert!(!std::iter::from_fn(|| alone.agent.poll_event()).any(|event| matches!(event, Event::Resolve { .. })));
}

#[test]
fn never_asks_for_more_names_than_there_may_be_candidates() {
    let mut alone = Alone::new(true);
    let mut asked = 0;
    for n in 0..500 {
        let line = format!("candidate:1 1 UDP 1 name-{n}.local 9 typ host");
        alone.agent.add_remote_candidate(alone.now, line.parse().unwrap());
        while let Some(event) = alone.agent.poll_event() {
            if let Event::Resolve { name } = event {
                asked += 1;
                alone.agent.resolved(alone.now, &name, &[]);
            }
        }
    }
    assert_eq!(asked, Limits::default().remote_candidates);
}

#[test]
fn never_grows_whatever_the_peer_sends() {
    let limits = Limits { remote_candidates: 10, pairs: 12, queue: 50, names: 3, local_candidates: 4 };
    let mut alone = Alone::with(AgentConfig { limits, ..AgentConfig::default() });
    for n in 0..2000_u32 {
        let check = alone.good_check();
        alone.receive(&format!("198.51.{}.{}:7000", n / 250, n % 250 + 1), &check);
        alone.host(&format!("203.0.{}.{}:7000", n / 250, n % 250 + 1));
        let name = format!("candidate:1 1 UDP 1 name-{n}.local 9 typ host");
        alone.agent.add_remote_candidate(alone.now, name.parse::<Candidate>().unwrap());
    }
    assert!(alone.sent().len() <= 50);
    let events = std::iter::from_fn(|| alone.agent.poll_event()).count();
    assert!(events <= 100, "{events}");
    // Checks go to what is remembered alone.
    let mut checked = std::collections::BTreeSet::new();
    for _ in 0..200 {
        alone.pass(Duration::from_millis(50));
        checked.extend(alone.sent().into_iter().map(|(to, _)| to));
    }
    assert!(checked.len() <= 12, "{}", checked.len());
}

#[test]
fn never_checks_faster_than_ta() {
    let mut alone = Alone::new(true);
    for n in 1..60 {
        alone.host(&format!("198.51.100.{n}:7000"));
    }
    let mut first = std::collections::BTreeMap::new();
    for _ in 0..400 {
        for (to, _) in alone.sent() {
            first.entry(to).or_insert(alone.now);
        }
        alone.pass(Duration::from_millis(10));
    }
    let mut times: Vec<Instant> = first.into_values().collect();
    times.sort_unstable();
    assert_eq!(times.len(), 59);
    assert!(times.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(50)));
}

#[test]
fn never_panics_on_mutated_packets() {
    for seed in 0..30 {
        let mut world = World::new(seed, End::new(&["192.0.2.1"]).controlling(), End::new(&["192.0.2.2"]));
        world.start();
        world.connect();
        let bytes: Vec<Vec<u8>> = world.net.sightings().map(|seen| seen.bytes.clone()).collect();
        let mut rng = SplitMix64::new(seed);
        for original in bytes.iter().cycle().take(400) {
            let mut bytes = original.clone();
            for _ in 0..=rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            let end = rng.below(2) as usize;
            let ways = [("192.0.2.1:6000", "192.0.2.2:6001"), ("192.0.2.2:6001", "192.0.2.1:6000")];
            let (local, remote) = ways[end];
            let flow = Flow::unbound(Transport::Udp, local.parse().unwrap(), remote.parse().unwrap());
            world.agent(end, |agent, now| agent.handle_receive(now, Receive { flow, bytes: &bytes }));
        }
        world.run(Duration::from_secs(5));
        world.talk();
    }
}

#[test]
fn pairs_of_one_foundation_wait_for_the_first_but_not_for_ever() {
    let mut alone = Alone::new(true);
    for port in 1..=3 {
        let line = format!("candidate:same 1 UDP {} 198.51.100.1 {port} typ host", 2_130_706_431 - port);
        alone.agent.add_remote_candidate(alone.now, line.parse().unwrap());
    }
    let ports = |alone: &mut Alone| alone.sent().into_iter().map(|(to, _)| to.port()).collect::<Vec<_>>();
    alone.pass(Duration::from_millis(400));
    assert_eq!(ports(&mut alone), [1]);
    alone.pass(Duration::from_millis(200));
    assert_eq!(ports(&mut alone), [1, 2], "the first was not answered within the RTO");
    alone.pass(Duration::from_secs(1));
    assert!(ports(&mut alone).contains(&3));
}

#[test]
fn refuses_checks_beside_the_relay_in_privacy_mode() {
    let mut alone = Alone::with(AgentConfig { privacy: Privacy::RelayOnly, ..AgentConfig::default() });
    alone.host(PEER);
    let check = alone.good_check();
    alone.receive(PEER, &check);
    alone.pass(Duration::from_secs(60));
    assert!(alone.sent().is_empty());
}
