//! RFC 4028: sessions that are refreshed, and those that are not.

use std::time::Duration;

use farspeak_sansio::Instant;
use farspeak_sip::header::OptionTag;
use farspeak_sip::message::{HeaderName, Limits, Message, Method, ResponseBuilder, StatusCode};
use farspeak_sip::session::SessionId;
use farspeak_sip::user_agent::{Event, Extra, HowEnded};

use crate::world::{ANSWER, Conditions, OFFER, World, everywhere, header, sdp};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn interval(bytes: &[u8]) -> String {
    header(bytes, HeaderName::SessionExpires)
}

/// Runs until one of them ends the session by itself; gives how and when.
fn ends(world: &mut World, name: &str) -> (HowEnded, Instant) {
    let Event::Ended { how, .. } = world.hears(name, "Ended") else { unreachable!() };
    (how, world.net.now())
}

/// How often somebody heard an event so far.
fn times(world: &World, name: &str, event: &str) -> usize {
    world.heard(name).iter().filter(|heard| *heard == event).count()
}

/// Somebody answers each request of a method with that status and header fields, past the user agent.
fn refuses(world: &mut World, name: &str, other: &str, method: Method, status: StatusCode, more: Extra) {
    let (host, flow) = (world.host(name), world.flow(name, other));
    let min_se = more.has(HeaderName::MinSe);
    let mut asked = 1800;
    world.net.intercept(host, move |bytes| {
        let request = Message::parse(bytes, &Limits::default()).ok()?;
        if request.method() != Some(&method) {
            return None;
        }
        asked += 100;
        let mut response = ResponseBuilder::new(&request, status).to_tag("proxy");
        if min_se {
            response = response.header(HeaderName::MinSe, &asked.to_string());
        }
        Some((flow, response.to_vec()))
    });
}

fn without_timer(world: &mut World, name: &str) {
    world.configure(name, |config| config.extensions.remove(OptionTag::Timer));
}

fn hang_up(world: &mut World, name: &str, session: SessionId, other: &str) {
    world.hang_up(name, session);
    world.hears(other, "Gone");
}

#[test]
fn who_calls_refreshes_at_half_the_interval() {
    // §7.1, §7.2, §7.4, §9
    let mut world = World::new(Conditions::udp());
    let (caller, _) = world.connect("alice", "bob");
    let invite = world.net.last("alice -> bob  INVITE").unwrap().bytes.clone();
    assert_eq!(interval(&invite), "1800");
    assert!(header(&invite, HeaderName::Supported).contains("timer"));
    assert_eq!((header(&invite, HeaderName::Require), header(&invite, HeaderName::MinSe)), Default::default());
    let accepted = world.net.last("bob -> alice  200 INVITE").unwrap();
    assert_eq!(interval(&accepted.bytes), "1800;refresher=uac");
    assert_eq!(header(&accepted.bytes, HeaderName::Require), "timer");
    let mut last = world.net.now();
    for _ in 0..3 {
        let update = world.net.expect_within(secs(1000), "alice -> bob  UPDATE");
        assert_eq!(interval(&update.bytes), "1800;refresher=uac");
        assert!(update.bytes.ends_with(b"\r\n\r\n"), "no offer in it");
        let waited = world.net.now() - last;
        assert!((secs(899)..=secs(901)).contains(&waited), "{waited:?}");
        let refreshed = world.net.expect("bob -> alice  200 UPDATE");
        assert_eq!(interval(&refreshed.bytes), "1800;refresher=uac");
        last = world.net.now();
    }
    assert_eq!(times(&world, "alice", "Modified"), 0, "nobody asked for it");
    hang_up(&mut world, "alice", caller, "bob");
    world.net.never("alice -> bob  UPDATE timer");
    world.settles();
}

#[test]
fn a_session_lives_as_long_as_it_is_refreshed() {
    // §7.4, §10, over every link
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.net.run_for(secs(4000));
        assert!(times(world, "bob", "Refreshed") >= 4, "{}", world.net);
        hang_up(world, "alice", caller, "bob");
    });
}

#[test]
fn who_is_called_refreshes_if_who_calls_says_so() {
    // §9 Table 2, row 6
    everywhere(|world| {
        let wish = sdp(OFFER).header(HeaderName::SessionExpires, "600;refresher=uas");
        world.call_with("alice", "bob", wish);
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        let Event::Accepted { response, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert_eq!(response.header(HeaderName::SessionExpires), Some("600;refresher=uas"));
        assert_eq!(response.header(HeaderName::Require), Some("timer"));
        world.hears("bob", "Confirmed");
        world.net.run_for(secs(1000));
        assert!(times(world, "alice", "Refreshed") >= 3, "{}", world.net);
        // In bob's own requests he is the UAC.
        let update = world.net.last("bob -> alice  UPDATE").unwrap();
        assert_eq!(interval(&update.bytes), "600;refresher=uac");
        hang_up(world, "bob", called, "alice");
    });
}

#[test]
fn who_hears_nothing_ends_the_session_before_its_end() {
    // §10: min(32 s, interval / 3) before.
    for (seconds, life) in [(1800_u64, 1768), (90, 60)] {
        let mut world = World::new(Conditions::udp());
        world.configure("alice", |config| config.session_interval = Some(seconds as u32));
        world.connect("alice", "bob");
        let start = world.net.now();
        world.power("alice", false);
        let (how, end) = ends(&mut world, "bob");
        assert!(matches!(how, HowEnded::Expired), "{how:?}");
        assert!((secs(life - 1)..=secs(life)).contains(&(end - start)), "{:?}", end - start);
        world.hears("bob", "Gone");
    }
}

#[test]
fn who_gets_no_answer_to_its_refresh_ends_the_session() {
    // §10 with RFC 3261 §12.2.1.2
    let mut world = World::new(Conditions::udp());
    world.connect("alice", "bob");
    world.power("bob", false);
    let (how, _) = ends(&mut world, "alice");
    assert!(matches!(how, HowEnded::PeerLost(_)), "{how:?}");
    world.hears("alice", "Gone");
    // Likewise if the peer has forgotten the session.
    let mut world = World::new(Conditions::udp());
    world.connect("alice", "bob");
    world.restart("bob");
    let (how, _) = ends(&mut world, "alice");
    assert!(matches!(how, HowEnded::PeerLost(failure) if failure.status() == StatusCode::CALL_DOES_NOT_EXIST));
    world.settles();
}

#[test]
fn who_calls_refreshes_alone_if_the_other_knows_no_timers() {
    // §7.2
    everywhere(|world| {
        without_timer(world, "bob");
        let (caller, _) = world.connect("alice", "bob");
        let accepted = world.net.last("bob -> alice  200 INVITE").unwrap();
        assert_eq!((interval(&accepted.bytes), header(&accepted.bytes, HeaderName::Require)), Default::default());
        world.net.run_for(secs(2000));
        assert!(times(world, "bob", "Refreshed") >= 2, "{}", world.net);
        hang_up(world, "alice", caller, "bob");
    });
}

#[test]
fn who_is_called_does_not_ask_who_knows_no_timers() {
    // §9
    let mut world = World::new(Conditions::udp());
    without_timer(&mut world, "alice");
    let (caller, _) = world.connect("alice", "bob");
    let accepted = world.net.last("bob -> alice  200 INVITE").unwrap();
    assert_eq!(interval(&accepted.bytes), "");
    world.net.run_for(secs(4000));
    world.net.never("bob -> alice  UPDATE");
    world.net.never("alice -> bob  UPDATE");
    hang_up(&mut world, "alice", caller, "bob");
    world.settles();
}

#[test]
fn who_is_called_serves_a_proxy_if_the_caller_knows_no_timers() {
    // §8.1, §9 Table 2, row 1: a proxy has put the header field in.
    everywhere(|world| {
        without_timer(world, "alice");
        world.call_with("alice", "bob", sdp(OFFER).header(HeaderName::SessionExpires, "300"));
        let called = world.is_called("bob");
        world.at("bob", |agent| agent.accept(called, sdp(ANSWER))).unwrap();
        let Event::Accepted { response, .. } = world.hears("alice", "Accepted") else { unreachable!() };
        assert_eq!(response.header(HeaderName::SessionExpires), Some("300;refresher=uas"));
        assert_eq!(response.header(HeaderName::Require), None, "the caller would not understand");
        world.hears("bob", "Confirmed");
        world.net.run_for(secs(400));
        assert!(times(world, "alice", "Refreshed") >= 2, "{}", world.net);
        hang_up(world, "bob", called, "alice");
    });
}

#[test]
fn who_is_called_asks_for_a_timer_and_keeps_it() {
    // §9: support without a wish.
    everywhere(|world| {
        world.configure("alice", |config| config.session_interval = None);
        let (caller, _) = world.connect("alice", "bob");
        let accepted = world.net.last("bob -> alice  200 INVITE").unwrap();
        assert_eq!(interval(&accepted.bytes), "1800;refresher=uas");
        world.net.run_for(secs(1900));
        assert!(times(world, "alice", "Refreshed") >= 2, "{}", world.net);
        hang_up(world, "alice", caller, "bob");
    });
}

#[test]
fn nobody_who_wants_none_has_one() {
    let mut world = World::new(Conditions::udp());
    for name in ["alice", "bob"] {
        world.configure(name, |config| config.session_interval = None);
    }
    let (caller, _) = world.connect("alice", "bob");
    world.net.run_for(secs(10_000));
    world.net.never("alice -> bob  UPDATE");
    world.net.never("bob -> alice  UPDATE");
    hang_up(&mut world, "alice", caller, "bob");
    world.settles();
}

#[test]
fn a_call_is_made_with_the_interval_that_the_422_names() {
    // §7.3, §7.4, §9
    everywhere(|world| {
        world.configure("bob", |config| config.min_session_interval = 3600);
        let mark = world.net.mark();
        let (caller, _) = world.connect("alice", "bob");
        assert!(world.net.seen_since(mark, "bob -> alice  422 INVITE"));
        let refusal = world.net.last("bob -> alice  422 INVITE").unwrap();
        assert_eq!(header(&refusal.bytes, HeaderName::MinSe), "3600");
        let invite = world.net.last("alice -> bob  INVITE").unwrap();
        assert_eq!((interval(&invite.bytes), header(&invite.bytes, HeaderName::MinSe)), ("3600".into(), "3600".into()));
        let same = |name| header(&invite.bytes, name) == header(&refusal.bytes, name);
        assert!(same(HeaderName::CallId) && same(HeaderName::From));
        hang_up(world, "alice", caller, "bob");
    });
}

#[test]
fn a_422_that_helps_nobody_is_a_failure() {
    // §7.3: MAY retry; not for ever.
    let mut world = World::new(Conditions::udp());
    let small = Extra::new();
    refuses(&mut world, "bob", "alice", Method::Invite, StatusCode::SESSION_INTERVAL_TOO_SMALL, small);
    world.call("alice", "bob");
    let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
    assert_eq!(failure.status(), StatusCode::SESSION_INTERVAL_TOO_SMALL);
    assert_eq!(world.net.count("alice -> bob  INVITE"), 1);
    world.settles();
    let mut world = World::new(Conditions::udp());
    let greedy = Extra::new().header(HeaderName::MinSe, "1900");
    refuses(&mut world, "bob", "alice", Method::Invite, StatusCode::SESSION_INTERVAL_TOO_SMALL, greedy);
    world.call("alice", "bob");
    world.hears("alice", "Failed");
    assert_eq!(world.net.count("alice -> bob  INVITE"), 6);
    world.settles();
}

#[test]
fn an_interval_below_90_seconds_is_refused() {
    // §4, §5
    let mut world = World::new(Conditions::udp());
    world.call_with("alice", "bob", sdp(OFFER).header(HeaderName::SessionExpires, "60"));
    let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
    assert_eq!(failure.status(), StatusCode::SESSION_INTERVAL_TOO_SMALL);
    let refusal = world.net.last("bob -> alice  422 INVITE").unwrap();
    assert_eq!(header(&refusal.bytes, HeaderName::MinSe), "90");
    world.settles();
}

#[test]
fn a_refresh_refused_with_422_goes_out_again_at_once() {
    // §7.4, §10: the session expiration has not changed meanwhile.
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.configure("bob", |config| config.min_session_interval = 2400);
        world.net.run_for(secs(1000));
        world.net.expect("bob -> alice  422 UPDATE");
        let update = world.net.last("alice -> bob  UPDATE").unwrap();
        assert_eq!(interval(&update.bytes), "2400;refresher=uac");
        assert_eq!(header(&update.bytes, HeaderName::MinSe), "2400");
        assert_eq!(times(world, "bob", "Refreshed"), 1);
        hang_up(world, "alice", caller, "bob");
    });
}

#[test]
fn a_change_refused_with_422_goes_out_again_too() {
    everywhere(|world| {
        let (caller, _) = world.connect("alice", "bob");
        world.configure("bob", |config| config.min_session_interval = 2400);
        world.at("alice", |agent| agent.reinvite(caller, sdp(OFFER))).unwrap();
        let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
        world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("alice", "Modified");
        world.hears("bob", "Confirmed");
        hang_up(world, "alice", caller, "bob");
    });
}

#[test]
fn who_knows_no_update_is_refreshed_by_an_invite_that_changes_nothing() {
    // §7.4
    everywhere(|world| {
        world.configure("bob", |config| config.methods.remove(&Method::Update));
        let (caller, _) = world.connect("alice", "bob");
        for _ in 0..2 {
            let Event::Offer { leg, message } = world.hears("bob", "Offer") else { unreachable!() };
            assert_eq!(message.method(), Some(&Method::Invite));
            assert_eq!(message.body(), OFFER, "the same origin: nothing has changed");
            world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
            world.hears("alice", "Answer");
            world.hears("bob", "Confirmed");
        }
        assert_eq!(times(world, "alice", "Modified"), 0);
        world.net.never("alice -> bob  UPDATE");
        hang_up(world, "alice", caller, "bob");
    });
}

#[test]
fn who_refuses_update_after_all_is_refreshed_by_invite() {
    let mut world = World::new(Conditions::udp());
    let (caller, _) = world.connect("alice", "bob");
    world.configure("bob", |config| config.methods.remove(&Method::Update));
    world.net.expect_within(secs(1000), "bob -> alice  405 UPDATE");
    let Event::Offer { leg, .. } = world.hears("bob", "Offer") else { unreachable!() };
    world.at("bob", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("alice", "Answer");
    hang_up(&mut world, "alice", caller, "bob");
    world.settles();
}

#[test]
fn a_refresh_that_crosses_a_change_leaves_the_refreshing_to_it() {
    // RFC 3261 §14.1: both ends send INVITE at once; bob, who was called, is the first to try again.
    for seed in 1..10 {
        let mut world = World::new(Conditions { seed, ..Conditions::udp() });
        for name in ["alice", "bob"] {
            world.configure(name, |config| config.methods.remove(&Method::Update));
        }
        let (caller, called) = world.connect("alice", "bob");
        world.net.run_for(secs(900) - Duration::from_millis(5));
        world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
        world.net.expect_all(["alice -> bob  491 INVITE", "bob -> alice  491 INVITE"]);
        let Event::Offer { leg, .. } = world.hears("alice", "Offer") else { unreachable!() };
        world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
        world.hears("bob", "Modified");
        world.net.run_for(secs(890));
        assert_eq!(world.net.count("alice -> bob  INVITE"), 2, "{}", world.net);
        hang_up(&mut world, "alice", caller, "bob");
        world.settles();
    }
}

#[test]
fn a_change_refreshes_the_session_as_well() {
    // §7.2: any re-INVITE or UPDATE does.
    let mut world = World::new(Conditions::udp());
    let (caller, called) = world.connect("alice", "bob");
    world.net.run_for(secs(600));
    world.at("bob", |agent| agent.reinvite(called, sdp(OFFER))).unwrap();
    let Event::Offer { leg, message } = world.hears("alice", "Offer") else { unreachable!() };
    assert_eq!(message.header(HeaderName::SessionExpires), Some("1800;refresher=uas"), "the roles stay as they are");
    world.at("alice", |agent| agent.accept_offer(leg, sdp(ANSWER))).unwrap();
    world.hears("bob", "Modified");
    world.net.run_for(secs(890));
    world.net.never("alice -> bob  UPDATE");
    world.net.run_for(secs(20));
    assert_eq!(world.net.count("alice -> bob  UPDATE"), 1);
    hang_up(&mut world, "alice", caller, "bob");
    world.settles();
}

#[test]
fn a_refresh_that_is_refused_is_tried_again_but_not_all_the_time() {
    // §10
    let mut world = World::new(Conditions::udp());
    world.connect("alice", "bob");
    let start = world.net.now();
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    refuses(&mut world, "bob", "alice", Method::Update, unavailable, Extra::new());
    let (how, end) = ends(&mut world, "bob");
    assert!(matches!(how, HowEnded::Expired), "{how:?}");
    assert!((secs(1767)..=secs(1768)).contains(&(end - start)));
    let tries = world.net.count("alice -> bob  UPDATE");
    assert!((3..=16).contains(&tries), "{tries}");
    world.hears("alice", "Gone");
    world.settles();
}
