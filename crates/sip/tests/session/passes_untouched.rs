//! What this layer does not have to understand arrives as it was sent: history (RFC 7044), location (RFC 6442), privacy
//! (RFC 3323), identities (RFC 3325, RFC 8224), and what nobody knows.

use farspeak_sip::header::HistoryInfo;
use farspeak_sip::message::{HeaderName, Message, StatusCode};
use farspeak_sip::user_agent::{Event, Extra};

use crate::world::{OFFER, everywhere, sdp};

const FIELDS: [(HeaderName, &str); 7] = [
    (HeaderName::HistoryInfo, "<sip:office@example.org?Reason=SIP%3Bcause%3D302>;index=1"),
    (HeaderName::HistoryInfo, "<sip:bob@example.org>;index=1.1;mp=1"),
    (HeaderName::Geolocation, "<cid:target123@atlanta.example.com>"),
    (HeaderName::Privacy, "id;history"),
    (HeaderName::PAssertedIdentity, "\"Alice\" <sip:alice@example.org>"),
    (HeaderName::Identity, "eyJhbGciOi.x.y;info=<https://example.org/cert>;ppt=shaken"),
    (HeaderName::AlertInfo, "<http://www.example.com/sounds/moo.wav>"),
];

fn all() -> Extra {
    let known = FIELDS.iter().fold(sdp(OFFER), |extra, (name, value)| extra.header(*name, *value));
    known.header_named("X-Nobody-Knows", "whatever, \"it is\"")
}

#[track_caller]
fn are_there(message: &Message) {
    for (name, value) in FIELDS {
        assert!(message.headers(name).any(|found| found == value), "{value}");
    }
    assert_eq!(message.header_named("X-Nobody-Knows"), Some("whatever, \"it is\""));
}

#[test]
fn from_caller_to_called_and_back() {
    everywhere(|world| {
        world.call_with("alice", "bob", all());
        let Event::Incoming { session, request, .. } = world.hears("bob", "Incoming") else { unreachable!() };
        are_there(&request);
        assert!(request.supported().any(|tag| tag == "histinfo"), "RFC 7044 §9.1");
        assert_eq!(HistoryInfo::all(&request).count(), 2);
        world.at("bob", |agent| agent.reject(session, StatusCode::BUSY_HERE, all())).unwrap();
        let Event::Failed { failure, .. } = world.hears("alice", "Failed") else { unreachable!() };
        let farspeak_sip::user_agent::Failure::Response(response) = failure else { panic!("{failure:?}") };
        are_there(&response);
    });
}
