//! Pairs that are nominated late, again or one after another, by peers of every habit (RFC 8445 §8.1, RFC 7675).

mod support;

use std::time::Duration;

use farspeak_ice::{AgentConfig, Credentials, Event, Mode, RemoteOptions, SendError, State};
use farspeak_sansio::Machine;
use farspeak_stun::Attribute;
use support::alone::{Alone, LOCAL_TOO, PEER};

const OTHER: &str = "192.0.2.3:6001";

fn events(alone: &mut Alone) -> Vec<Event> {
    std::iter::from_fn(|| alone.agent.poll_event()).collect()
}

fn selected(alone: &Alone) -> Option<String> {
    alone.agent.path(1).map(|(path, _)| path.remote.to_string())
}

/// Both of the peer's addresses are valid, and it has nominated the better one, a minute ago.
fn a_minute_old(config: AgentConfig, options: RemoteOptions) -> Alone {
    let number = options.renomination.then_some(1);
    let mut alone = Alone::told(config, options);
    alone.host(PEER);
    let worse = "candidate:2 1 UDP 2130706000 192.0.2.3 6001 typ host";
    alone.agent.add_remote_candidate(alone.now, worse.parse().unwrap());
    for address in [OTHER, PEER] {
        let check = alone.good_check();
        alone.receive(address, &check);
    }
    alone.serve(Duration::from_secs(1), &[PEER, OTHER]);
    let nomination = alone.nomination(number);
    alone.receive(PEER, &nomination);
    alone.serve(Duration::from_secs(1), &[PEER, OTHER]);
    assert_eq!((selected(&alone).as_deref(), alone.agent.state()), (Some(PEER), State::Completed));
    for _ in 0..12 {
        alone.serve(Duration::from_secs(5), &[PEER, OTHER]);
        let check = alone.good_check();
        alone.receive(PEER, &check);
    }
    assert_eq!(alone.agent.state(), State::Completed);
    events(&mut alone);
    alone
}

#[test]
fn what_was_valid_long_ago_is_checked_before_it_is_selected() {
    let mut config = AgentConfig { tie_breaker: Some(5), ..AgentConfig::default() };
    config.nomination.renomination = true;
    let options = RemoteOptions { renomination: true, trickle: true, ..RemoteOptions::default() };
    let mut alone = a_minute_old(config, options);
    let nomination = alone.nomination(Some(2));
    alone.receive(OTHER, &nomination);
    assert_eq!(selected(&alone).as_deref(), Some(PEER), "the peer may not be there any more");
    alone.serve(Duration::from_secs(100), &[PEER, OTHER]);
    assert_eq!(selected(&alone).as_deref(), Some(OTHER));
    assert_eq!(alone.agent.state(), State::Completed, "consent is there");
}

#[test]
fn a_check_that_is_answered_is_consent() {
    let config = AgentConfig { tie_breaker: Some(5), ..AgentConfig::default() };
    let mut alone = a_minute_old(config, RemoteOptions { trickle: true, ..RemoteOptions::default() });
    alone.serve(Duration::from_secs(20), &[]);
    let nomination = alone.nomination(None);
    alone.receive(PEER, &nomination);
    alone.serve(Duration::from_millis(200), &[PEER]);
    alone.serve(Duration::from_secs(28), &[]);
    assert_eq!(alone.agent.state(), State::Completed);
    alone.serve(Duration::from_secs(3), &[]);
    assert_eq!(alone.agent.state(), State::Failed);
}

/// The peer nominates its other address every two seconds without a restart: whether and when it is followed.
fn moves(alone: &mut Alone) -> Option<Duration> {
    let since = alone.now;
    while alone.now < since + Duration::from_secs(29) {
        let nomination = alone.nomination(None);
        alone.receive(OTHER, &nomination);
        alone.serve(Duration::from_secs(2), &[OTHER]);
        if selected(alone).as_deref() == Some(OTHER) {
            return Some(alone.now - since);
        }
    }
    None
}

#[test]
fn a_peer_that_moves_without_a_restart_is_followed_when_its_first_address_is_silent() {
    for mode in [Mode::Full, Mode::Lite] {
        let config = AgentConfig { mode, tie_breaker: Some(5), ..AgentConfig::default() };
        let mut alone = a_minute_old(config, RemoteOptions { trickle: true, ..RemoteOptions::default() });
        let after = moves(&mut alone).expect("it is followed");
        assert!(after > Duration::from_secs(8) && after < Duration::from_secs(20), "{mode:?} {after:?}");
        for _ in 0..20 {
            let nomination = alone.nomination(None);
            alone.receive(OTHER, &nomination);
            alone.serve(Duration::from_secs(2), &[OTHER]);
        }
        assert_eq!(alone.agent.state(), State::Completed, "{mode:?}");
        assert!(!events(&mut alone).iter().any(|event| matches!(event, Event::ConsentLost { .. })), "{mode:?}");
    }
}

#[test]
fn a_worse_pair_that_is_nominated_too_changes_nothing_while_the_better_one_lives() {
    let config = AgentConfig { tie_breaker: Some(5), ..AgentConfig::default() };
    let mut alone = a_minute_old(config, RemoteOptions { trickle: true, ..RemoteOptions::default() });
    for _ in 0..30 {
        for address in [OTHER, PEER] {
            let nomination = alone.nomination(None);
            alone.receive(address, &nomination);
        }
        alone.serve(Duration::from_secs(2), &[PEER, OTHER]);
        assert_eq!(selected(&alone).as_deref(), Some(PEER));
    }
}

#[test]
fn refuses_to_be_moved_by_checks_that_somebody_has_recorded() {
    for mode in [Mode::Full, Mode::Lite] {
        let config = AgentConfig { mode, tie_breaker: Some(5), ..AgentConfig::default() };
        let mut alone = Alone::with(config);
        // As the peer's address comes from a server, a peer-reflexive one would be better.
        let line = "candidate:2 1 UDP 1694498815 192.0.2.2 6001 typ srflx raddr 0.0.0.0 rport 9";
        alone.agent.add_remote_candidate(alone.now, line.parse().unwrap());
        let password = alone.agent.credentials().password().to_owned();
        let recorded = alone.check(&password, |writer| {
            let priority = Attribute::Priority(0x6eff_ffff);
            writer.push(priority).push(Attribute::IceControlling(1)).push(Attribute::UseCandidate(()));
        });
        alone.receive(PEER, &recorded);
        alone.serve(Duration::from_secs(1), &[PEER]);
        assert_eq!(selected(&alone).as_deref(), Some(PEER));
        for _ in 0..30 {
            let check = alone.good_check();
            alone.receive(PEER, &check);
            alone.receive(OTHER, &recorded);
            alone.receive(OTHER, b"\x80forged");
            alone.serve(Duration::from_secs(2), &[PEER]);
            assert_eq!(selected(&alone).as_deref(), Some(PEER), "{mode:?}");
        }
        let heard = events(&mut alone).into_iter().any(|event| matches!(event, Event::Data { .. }));
        assert_eq!(heard, mode == Mode::Lite, "to a lite agent it is as nominated as the other");
    }
}

#[test]
fn data_over_another_of_the_peers_candidates_is_taken_after_selection() {
    // Peers that nominate with every check begin with the first pair that works for them.
    let mut alone = Alone::new(false);
    alone.host(OTHER);
    alone.host(PEER);
    for address in [OTHER, PEER] {
        let nomination = alone.nomination(None);
        alone.receive(address, &nomination);
    }
    alone.serve(Duration::from_secs(1), &[PEER]);
    assert_eq!(selected(&alone).as_deref(), Some(PEER));
    events(&mut alone);
    alone.receive(OTHER, b"\x80data");
    assert_eq!(events(&mut alone).len(), 1);
}

#[test]
fn what_is_on_its_way_over_the_old_pair_is_not_lost_by_a_restart() {
    let config = AgentConfig { tie_breaker: Some(5), ..AgentConfig::default() };
    let options = RemoteOptions { trickle: true, ..RemoteOptions::default() };
    let mut alone = a_minute_old(config, options);
    alone.peer = Credentials::new("next", "zyxwvutsrqponmlkjihgfe").unwrap();
    let (peer, now) = (alone.peer.clone(), alone.now);
    alone.agent.restart(now);
    alone.agent.set_remote(now, &peer, options);
    let nomination = alone.nomination(None);
    alone.receive(OTHER, &nomination);
    alone.serve(Duration::from_millis(500), &[OTHER]);
    assert_eq!(selected(&alone).as_deref(), Some(OTHER));
    let mut hears = |after: u64| {
        alone.pass(Duration::from_secs(after));
        events(&mut alone);
        alone.receive(PEER, b"\x80late");
        events(&mut alone).into_iter().any(|event| matches!(event, Event::Data { .. }))
    };
    assert_eq!([hears(0), hears(2), hears(1)], [true, true, false]);
}

#[test]
fn a_lite_agent_sends_when_all_components_have_their_pair() {
    let config = AgentConfig { components: 2, mode: Mode::Lite, ..AgentConfig::default() };
    let mut alone = Alone::with(config);
    let nomination = alone.nomination(None);
    alone.receive(PEER, &nomination);
    assert_eq!(alone.agent.send(alone.now, 1, b"data"), Err(SendError::NotConnected), "RFC 8445 §12.1.1");
    let nomination = alone.nomination(None);
    alone.receive_at(LOCAL_TOO, OTHER, &nomination);
    assert_eq!(alone.agent.send(alone.now, 1, b"data"), Ok(()));
}

#[test]
fn a_component_that_fails_fails_the_session_and_says_so() {
    let config = AgentConfig { components: 2, controlling: true, ..AgentConfig::default() };
    let mut alone = Alone::with(config);
    alone.host_of(1, PEER);
    alone.host_of(2, OTHER);
    alone.serve(Duration::from_secs(2), &[PEER]);
    assert_eq!((alone.agent.state(), alone.agent.path(1).is_some()), (State::Checking, true));
    alone.serve(Duration::from_secs(60), &[PEER]);
    assert_eq!((alone.agent.state(), alone.agent.path(2)), (State::Failed, None));
    let sent = alone.agent.send(alone.now, 1, b"data");
    assert_eq!(sent, Err(SendError::NotConnected), "nothing on the stream (RFC 8445 §12.1)");
    let states: Vec<State> = events(&mut alone)
        .into_iter()
        .filter_map(|event| if let Event::StateChanged(state) = event { Some(state) } else { None })
        .collect();
    assert_eq!(states, [State::Checking, State::Failed]);
}
