//! Every example of RFC 4317, from both sides: each description is made by a negotiation and compared with the RFC's, and
//! each side reads the RFC's own text, not ours.

mod negotiate;

use farspeak_sdp::*;
use negotiate::*;

const ALICE: &str = "host.atlanta.example.com";
const BOB: &str = "host.biloxi.example.com";

/// Who answers and who offers in one step, and what each wants.
struct Pair {
    section: &'static str,
    alice: Negotiation,
    bob: Negotiation,
}

fn ilbc() -> Codec {
    Codec::new("iLBC", 8000).payload_type(97)
}

fn tones(payload_type: u8) -> Codec {
    Codec::new("telephone-event", 8000).payload_type(payload_type)
}

fn capabilities(audio: &[Codec], video: &[Codec]) -> Capabilities {
    let mut capabilities = Capabilities::audio(audio.to_vec()).rtcp_mux(RtcpMux::Off).bundle(Bundle::Off);
    if !video.is_empty() {
        capabilities = capabilities.video(video.to_vec());
    }
    capabilities.rtp[0].events = None;
    plain(capabilities)
}

fn on(kind: MediaKind, name: &str, port: u16, codecs: &[Codec]) -> LocalMedia {
    let transport = LocalTransport::at(host(name), port);
    let codecs = (!codecs.is_empty()).then(|| codecs.to_vec());
    LocalMedia { codecs, ..LocalMedia::new(kind, transport) }
}

fn a(name: &str, port: u16, codecs: &[Codec]) -> LocalMedia {
    on(MediaKind::Audio, name, port, codecs)
}

fn v(name: &str, port: u16, codecs: &[Codec]) -> LocalMedia {
    on(MediaKind::Video, name, port, codecs)
}

fn pair(section: &'static str, alice: Capabilities, bob: Capabilities) -> Pair {
    let origin = |name: &str, id: u64, host: &str| Origin {
        username: name.into(),
        address: host.into(),
        ..Origin::new(id, id, "192.0.2.1".parse().unwrap())
    };
    Pair {
        section,
        alice: Negotiation::new(alice, origin("alice", 2890844526, ALICE)),
        bob: Negotiation::new(bob, origin("bob", 2808844564, BOB)),
    }
}

impl Pair {
    fn text(&self, name: &str) -> Description {
        let path = format!("{}/tests/data/rfc4317/{}-{name}.sdp", env!("CARGO_MANIFEST_DIR"), self.section);
        parse(&std::fs::read_to_string(path).unwrap())
    }

    fn first(mut self, offered: &[LocalMedia], answered: &[LocalMedia]) -> Self {
        let (offer, answer) = (self.text("offer"), self.text("answer"));
        step(&mut self.alice, offered, &mut self.bob, answered, &offer, &answer);
        self
    }

    fn second_by_alice(mut self, offered: &[LocalMedia], answered: &[LocalMedia]) -> Self {
        let (offer, answer) = (self.text("second-offer"), self.text("second-answer"));
        step(&mut self.alice, offered, &mut self.bob, answered, &offer, &answer);
        self
    }

    fn second_by_bob(mut self, offered: &[LocalMedia], answered: &[LocalMedia]) -> Self {
        let (offer, answer) = (self.text("second-offer"), self.text("second-answer"));
        step(&mut self.bob, offered, &mut self.alice, answered, &offer, &answer);
        self
    }

    fn agree(&self) {
        agree(&self.alice, &self.bob);
    }
}

fn step(
    offerer: &mut Negotiation,
    offered: &[LocalMedia],
    answerer: &mut Negotiation,
    answered: &[LocalMedia],
    offer: &Description,
    answer: &Description,
) {
    assert_eq!(essence(&offerer.offer(offered).unwrap()), essence(offer), "offer");
    answerer.handle_offer(offer).unwrap();
    assert_eq!(essence(&answerer.answer(answered).unwrap()), essence(answer), "answer");
    offerer.handle_answer(answer).unwrap();
}

/// Both sides see the same streams, from their two ends.
fn agree(alice: &Negotiation, bob: &Negotiation) {
    assert_eq!(alice.agreed().len(), bob.agreed().len());
    for (one, other) in alice.agreed().iter().zip(bob.agreed()) {
        assert_eq!((one.index, &one.kind, one.direction), (other.index, &other.kind, other.direction.reversed()));
        let names = |media: &AgreedMedia| {
            let codecs = media.codecs.iter().chain(&media.telephone_events);
            codecs.map(|codec| codec.encoding.to_ascii_lowercase()).collect::<Vec<_>>()
        };
        assert_eq!(names(one), names(other));
    }
}

/// What a description says, however it says it: `s=` has no meaning, `sendrecv` is the default, a refused stream has neither
/// attributes nor more than one format, and a connection that only repeats the session's is left out.
fn essence(description: &Description) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut refused, mut session) = (false, None);
    for line in description.to_string().lines() {
        if line.starts_with("c=") {
            if session.as_deref() == Some(line) {
                continue;
            }
            session.get_or_insert(line.to_owned());
        }
        if line.starts_with("m=") {
            let mut words = line.split(' ');
            refused = words.nth(1) == Some("0");
            let kept: Vec<_> = line.split(' ').take(if refused { 4 } else { usize::MAX }).collect();
            lines.push(kept.join(" "));
        } else if !(line.starts_with("s=") || line == "a=sendrecv" || refused) {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[test]
fn section_2_1_one_of_several_codecs_is_accepted() {
    let alice = capabilities(&[Codec::pcmu(), Codec::pcma(), ilbc()], &[h261(), mpv()]);
    pair("2.1", alice, capabilities(&[Codec::pcmu()], &[mpv()]))
        .first(&[a(ALICE, 49170, &[]), v(ALICE, 51372, &[])], &[a(BOB, 49174, &[]), v(BOB, 49170, &[])])
        .agree();
}

#[test]
fn section_2_2_video_is_declined_and_a_second_offer_settles_the_codec() {
    let alice = capabilities(&[Codec::pcmu(), Codec::pcma(), ilbc()], &[h261(), mpv()]);
    let done = pair("2.2", alice, capabilities(&[Codec::pcmu(), Codec::pcma()], &[]))
        .first(&[a(ALICE, 49170, &[]), v(ALICE, 51372, &[])], &[a(BOB, 49172, &[])])
        .second_by_alice(&[a(ALICE, 51372, &[Codec::pcmu()])], &[a(BOB, 49172, &[])]);
    done.agree();
    assert_eq!(done.alice.agreed()[0].codecs.len(), 1);
    assert_eq!(done.alice.media_count(), 2);
}

#[test]
fn section_2_3_the_answer_may_number_a_codec_otherwise() {
    let alice = capabilities(&[Codec::pcmu(), Codec::pcma(), ilbc()], &[h261(), mpv()]);
    let mut pair = pair("2.3", alice, capabilities(&[ilbc()], &[h261()]));
    let (offer, answer) = (pair.text("offer"), pair.text("answer"));
    let made = pair.alice.offer(&[a(ALICE, 49170, &[]), v(ALICE, 51372, &[])]).unwrap();
    assert_eq!(essence(&made), essence(&offer));
    pair.bob.handle_offer(&offer).unwrap();
    let made = pair.bob.answer(&[a(BOB, 49172, &[]), v(BOB, 51374, &[])]).unwrap();
    // We keep the offer's number, as RFC 3264 §6.1 recommends; the example shows that one need not.
    let renumbered: Vec<_> = essence(&answer).iter().map(|line| line.replace("99", "97")).collect();
    assert_eq!(essence(&made), renumbered);
    pair.alice.handle_answer(&answer).unwrap();
    let codec = &pair.alice.agreed()[0].codecs[0];
    assert_eq!((codec.local_payload_type, codec.remote_payload_type), (97, 99));
    pair.agree();
}

#[test]
fn section_2_4_tones_have_a_stream_of_their_own() {
    let alice = capabilities(&[Codec::pcmu(), ilbc()], &[]);
    let tones_stream = LocalMedia { direction: Direction::SendOnly, ..a(ALICE, 49172, &[tones(98)]) };
    let done = pair("2.4", alice, capabilities(&[ilbc(), tones(98)], &[]))
        .first(&[a(ALICE, 49170, &[]), tones_stream], &[a(BOB, 49172, &[]), a(BOB, 49174, &[])]);
    done.agree();
    let tones = &done.bob.agreed()[1];
    assert_eq!((tones.codecs.len(), tones.telephone_events.len(), tones.direction), (0, 1, Direction::RecvOnly));
}

#[test]
fn section_2_5_a_new_address_of_one_side_leaves_the_others_description_as_it_was() {
    let both = capabilities(&[ilbc()], &[h261()]);
    let alice = [a(ALICE, 49170, &[]), v(ALICE, 51372, &[])];
    pair("2.5", both.clone(), both)
        .first(&alice, &[a(BOB, 49174, &[]), v(BOB, 49170, &[])])
        .second_by_bob(
            &[a("newhost.biloxi.example.com", 49178, &[]), v("newhost.biloxi.example.com", 49188, &[])],
            &alice,
        )
        .agree();
}

#[test]
fn section_2_6_one_of_two_audio_streams_is_declined() {
    let alice = capabilities(&[Codec::pcmu()], &[]);
    let bob = capabilities(&[Codec::pcmu(), ilbc(), tones(101)], &[]);
    let done = pair("2.6", alice, bob).first(
        &[a(ALICE, 49170, &[]), a(ALICE, 51372, &[ilbc(), tones(101)])],
        &[LocalMedia::rejected(MediaKind::Audio), a(BOB, 49170, &[])],
    );
    done.agree();
    assert_eq!(done.alice.agreed()[0].index, 1);
    assert_eq!(done.alice.free_section(), 0);
}

#[test]
fn section_2_7_a_second_codec_is_added() {
    let both = capabilities(&[ilbc().payload_type(99)], &[h261(), mpv()]);
    let bob = [a(BOB, 49172, &[]), v(BOB, 51374, &[])];
    pair("2.7", both.clone(), both)
        .first(&[a(ALICE, 49170, &[]), v(ALICE, 51372, &[h261()])], &bob)
        .second_by_alice(&[a(ALICE, 49170, &[]), v(ALICE, 51372, &[])], &bob)
        .agree();
}

#[test]
fn section_2_8_each_stream_may_have_an_address_of_its_own() {
    let alice = capabilities(&[Codec::pcmu(), Codec::pcma(), ilbc()], &[h261(), mpv()]);
    let done = pair("2.8", alice, capabilities(&[Codec::pcmu()], &[mpv()])).first(
        &[a(ALICE, 49170, &[]), v(ALICE, 51372, &[])],
        &[a(BOB, 49174, &[]), v("otherhost.biloxi.example.com", 49172, &[])],
    );
    done.agree();
    assert_eq!(&*done.alice.agreed()[1].remote.connection.address, "otherhost.biloxi.example.com");
}

#[test]
fn section_3_1_the_callee_answers_on_hold_and_resumes() {
    let both = capabilities(&[Codec::pcmu(), ilbc()], &[]);
    let held = LocalMedia { held: true, ..a("placeholder.biloxi.example.com", 49172, &[ilbc()]) };
    let done = pair("3.1", both.clone(), both).first(&[a(ALICE, 49170, &[])], &[held]);
    done.agree();
    assert!(!done.alice.agreed()[0].sends() && done.bob.is_held());
    let done = done.second_by_bob(&[a(BOB, 49170, &[ilbc()])], &[a(ALICE, 49178, &[])]);
    done.agree();
    assert!(done.alice.agreed()[0].sends());
}

#[test]
fn section_3_2_one_of_two_streams_is_held() {
    let alice = capabilities(&[Codec::pcmu(), ilbc(), tones(98)], &[]);
    let offered = [
        a(ALICE, 49170, &[Codec::pcmu(), ilbc()]),
        LocalMedia { direction: Direction::SendOnly, ..a(ALICE, 49172, &[tones(98)]) },
    ];
    let answered = [a(BOB, 49172, &[ilbc()]), a(BOB, 49174, &[])];
    let mut done = pair("3.2", alice, capabilities(&[ilbc(), tones(98)], &[])).first(&offered, &answered);
    let held = LocalMedia { held: true, ..answered[0].clone() };
    let receiving = LocalMedia { direction: Direction::RecvOnly, codecs: Some(vec![tones(98)]), ..answered[1].clone() };
    let offer = done.bob.offer(&[held, receiving]).unwrap();
    assert_eq!(essence(&offer), essence(&done.text("second-offer")));
    done.alice.handle_offer(&offer).unwrap();
    let answer = done.alice.answer(&offered).unwrap();
    // The example repeats Alice's first offer, which does not say that she only receives now; RFC 3264 §6.1 wants her to.
    assert!(answer.to_string().contains("a=rtpmap:97 iLBC/8000\r\na=recvonly"), "{answer}");
    done.bob.handle_answer(&answer).unwrap();
    done.agree();
    assert_eq!(done.bob.agreed()[0].direction, Direction::SendOnly);
    assert_eq!(done.bob.agreed()[1].direction, Direction::RecvOnly);
}

#[test]
fn section_3_2_the_examples_own_answer_breaks_rfc_3264() {
    let bob = capabilities(&[ilbc(), tones(98)], &[]);
    let alice = capabilities(&[Codec::pcmu(), ilbc()], &[]);
    let answered = [a(BOB, 49172, &[]), a(BOB, 49174, &[])];
    let offered =
        [a(ALICE, 49170, &[]), LocalMedia { direction: Direction::SendOnly, ..a(ALICE, 49172, &[tones(98)]) }];
    let mut done = pair("3.2", alice, bob).first(&offered, &answered);
    done.bob.hold();
    let mut again = done.bob.local_media();
    again[1].held = false;
    done.bob.offer(&again).unwrap();
    // It leaves the direction out where the offer is one-way: read as "as you say".
    done.bob.handle_answer(&done.text("second-answer")).unwrap();
    assert_eq!(done.bob.agreed()[0].direction, Direction::SendOnly);
}

#[test]
fn section_4_1_a_media_server_adds_a_stream() {
    let both = capabilities(&[Codec::pcmu(), ilbc(), tones(98)], &[]);
    let server =
        LocalMedia { direction: Direction::RecvOnly, ..a("mediaserver.biloxi.example.com", 48282, &[tones(98)]) };
    pair("4.1", both.clone(), both)
        .first(&[a(ALICE, 49170, &[Codec::pcmu(), ilbc()])], &[a(BOB, 49170, &[ilbc()])])
        .second_by_bob(&[a(BOB, 49170, &[ilbc()]), server], &[a(ALICE, 49170, &[]), a(ALICE, 49172, &[])])
        .agree();
}

#[test]
fn section_4_2_video_is_added() {
    let both = capabilities(&[Codec::pcmu()], &[h261()]);
    pair("4.2", both.clone(), both)
        .first(&[a(ALICE, 49170, &[])], &[a(BOB, 49172, &[])])
        .second_by_alice(&[a(ALICE, 49170, &[]), v(ALICE, 49172, &[])], &[a(BOB, 49172, &[]), v(BOB, 49168, &[])])
        .agree();
}

#[test]
fn section_4_3_video_is_deleted() {
    let both = capabilities(&[ilbc()], &[h261()]);
    let done = pair("4.3", both.clone(), both)
        .first(&[a(ALICE, 49170, &[]), v(ALICE, 51372, &[])], &[a(BOB, 49174, &[]), v(BOB, 49170, &[])])
        .second_by_bob(&[a(BOB, 49174, &[])], &[a(ALICE, 49170, &[]), v(ALICE, 51372, &[])]);
    done.agree();
    assert_eq!((done.bob.agreed().len(), done.bob.media_count()), (1, 2));
}

#[test]
fn section_5_1_a_session_begins_without_media() {
    let both = capabilities(&[ilbc()], &[]);
    pair("5.1", both.clone(), both)
        .first(&[], &[])
        .second_by_alice(&[a(ALICE, 49170, &[])], &[a(BOB, 49172, &[])])
        .agree();
}

#[test]
fn section_5_2_an_offered_address_of_zero_is_a_hold() {
    let both = capabilities(&[ilbc()], &[]);
    let bob = [a(BOB, 49170, &[])];
    let done = pair("5.2", both.clone(), both).first(&[a("0.0.0.0", 23442, &[])], &bob);
    done.agree();
    assert!(!done.bob.agreed()[0].sends() && done.bob.agreed()[0].is_held_by_peer());
    assert!(done.bob.agreed()[0].receives());
    let done = done.second_by_alice(&[a(ALICE, 49170, &[])], &bob);
    done.agree();
    assert!(done.bob.agreed()[0].sends());
}

#[test]
fn section_5_3_an_answered_address_of_zero_is_a_hold() {
    let both = capabilities(&[ilbc()], &[]);
    let alice = [a(ALICE, 49170, &[])];
    let done = pair("5.3", both.clone(), both).first(&alice, &[a("0.0.0.0", 9322, &[])]);
    assert!(!done.alice.agreed()[0].sends());
    let done = done.second_by_bob(&[a(BOB, 49172, &[])], &alice);
    done.agree();
    assert!(done.alice.agreed()[0].sends());
}
