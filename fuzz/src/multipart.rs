//! Bodies: parts lie within the body, are bounded in number, and come out again as they were written.

use farspeak_sansio::SplitMix64;
use farspeak_sip::body::sipfrag::{self, SipFrag};
use farspeak_sip::body::{MAX_FIELDS, MAX_PARTS, Multipart, NewPart, Part, select, session_description};
use farspeak_sip::message::{HeaderName, Limits, Message, Method, RequestBuilder};

/// Reads the first line of `data` as Content-Type and the rest as the body; and all of it as a fragment of a message.
pub fn fuzz(data: &[u8]) {
    fragment(data);
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(content_type) = std::str::from_utf8(&data[..end]) else { return };
    let Some(message) = message(content_type.trim(), &data[end + 1..]) else { return };
    let body = message.body().as_ptr_range();
    let Ok(parts) = select(&message, |_| true) else { return };
    assert!(parts.len() <= MAX_PARTS);
    for part in &parts {
        let content = part.content.as_ptr_range();
        assert!(part.content.is_empty() || body.start <= content.start && content.end <= body.end);
        assert!(part.fields.len() <= MAX_FIELDS && part.encoding.is_none());
    }
    if let Ok(Some(description)) = session_description(&message, |_| true) {
        assert!(parts.contains(&description) && description.content_type.is_sdp());
    }
    if parts.is_empty() {
        return;
    }
    let (content_type, body) = Multipart::mixed(parts.iter().map(new_part).collect()).write(&mut SplitMix64::new(1));
    let again = self::message(&content_type.to_string(), &body);
    // Only by growing beyond the limits of a message can it fail to be one.
    let Some(again) = again else { return };
    let read = select(&again, |_| true).expect("what is written is read");
    assert_eq!(read.len(), parts.len());
    for (one, two) in parts.iter().zip(&read) {
        assert_eq!((one.content, &one.content_type), (two.content, &two.content_type));
        assert_eq!((&one.disposition, &one.content_id), (&two.disposition, &two.content_id));
    }
}

fn new_part<'a>(part: &Part<'a>) -> NewPart<'a> {
    let mut new = NewPart::new(part.content_type.clone(), part.content);
    new.disposition = Some(part.disposition.clone());
    new.content_id.clone_from(&part.content_id);
    new
}

fn message(content_type: &str, body: &[u8]) -> Option<Message> {
    let request = RequestBuilder::new(Method::Invite, "sip:a").body(content_type, body).to_vec();
    Message::parse(&request, &Limits::default()).ok()
}

fn fragment(data: &[u8]) {
    let Some(fragment) = SipFrag::parse(data) else { return };
    assert!(fragment.fields.len() <= MAX_FIELDS && fragment.body.len() <= data.len());
    if let Some(status) = fragment.status() {
        let written = sipfrag::of_status(status, "x");
        assert_eq!(SipFrag::parse(&written).and_then(|read| read.status()), Some(status));
    }
    let Ok(message) = Message::parse(data, &Limits::default()) else { return };
    let written = sipfrag::of_message(&message, &[HeaderName::From, HeaderName::To]);
    let read = SipFrag::parse(&written);
    assert_eq!(
        read.is_some_and(|read| read.start.is_some()),
        SipFrag::parse(data).is_some_and(|all| all.start.is_some())
    );
}
