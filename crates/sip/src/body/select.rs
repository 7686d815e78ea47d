//! Which parts of a body to use, and which message to refuse (RFC 5621 §4–§9).

use super::multipart::{MAX_DEPTH, MAX_PARTS};
use super::{BodyError, Part};
use crate::header::{Disposition, Handling};
use crate::message::Message;

/// The parts of a message's body that `understands` says yes to, in order. Empty if there is no body.
///
/// `understands` gets each leaf with its type and disposition and knows the context: method, header fields, references to
/// Content-IDs (RFC 5621 §9.3; a `by-reference` part that nothing refers to is not understood, §9.4). It is not asked
/// about parts in encodings that we do not read.
pub fn select<'m>(message: &'m Message, understands: impl Fn(&Part<'_>) -> bool) -> Result<Vec<Part<'m>>, BodyError> {
    let mut selected = Vec::new();
    if let Some(body) = Part::of(message)? {
        let mut walk = Walk { understands: &understands, parts_left: MAX_PARTS };
        walk.visit(body, 0, false, &mut selected)?;
    }
    Ok(selected)
}

/// The session description of an INVITE, PRACK, ACK, UPDATE or a response: the body or part of type `application/sdp`
/// and disposition `session`, which SDP has by default (RFC 3261 §20.11). `None` if there is none.
///
/// `also` says which other parts are understood; those are for the caller to find with [`select`]. 415 for any other
/// part whose handling is required (RFC 5621 §8.4), 400 for two session descriptions.
pub fn session_description<'m>(
    message: &'m Message,
    also: impl Fn(&Part<'_>) -> bool,
) -> Result<Option<Part<'m>>, BodyError> {
    let parts = select(message, |part| is_session_description(part) || also(part))?;
    let mut descriptions = parts.into_iter().filter(is_session_description);
    let first = descriptions.next();
    if descriptions.next().is_some() { Err(BodyError::Ambiguous) } else { Ok(first) }
}

fn is_session_description(part: &Part<'_>) -> bool {
    part.content_type.is_sdp() && part.disposition.disposition == Disposition::Session
}

struct Walk<'u> {
    understands: &'u dyn Fn(&Part<'_>) -> bool,
    /// How many more parts may come, on all levels.
    parts_left: usize,
}

impl Walk<'_> {
    /// Adds what is understood of `part` to `selected`. In an alternative the handling of the parts says nothing
    /// (RFC 5621 §8.3): there what is not understood is always an error, which the caller takes for a no.
    fn visit<'m>(
        &mut self,
        part: Part<'m>,
        depth: usize,
        is_alternative: bool,
        selected: &mut Vec<Part<'m>>,
    ) -> Result<(), BodyError> {
        let before = selected.len();
        let is_optional = !is_alternative && part.disposition.handling == Handling::Optional;
        let verdict = if part.content_type.is_multipart() && part.encoding.is_none() {
            self.visit_parts(&part, depth, selected)
        } else {
            self.visit_leaf(part, selected)
        };
        match verdict {
            // An optional multipart is ignored as a whole (RFC 5621 §8.2).
            Err(BodyError::Unsupported(_) | BodyError::Encoding(_)) if is_optional => {
                selected.truncate(before);
                Ok(())
            }
            verdict => verdict,
        }
    }

    fn visit_leaf<'m>(&self, part: Part<'m>, selected: &mut Vec<Part<'m>>) -> Result<(), BodyError> {
        if let Some(encoding) = part.encoding {
            return Err(BodyError::Encoding(encoding.to_owned()));
        }
        if !(self.understands)(&part) {
            let essence = format!("{}/{}", part.content_type.top, part.content_type.subtype);
            return Err(BodyError::Unsupported(essence));
        }
        selected.push(part);
        Ok(())
    }

    fn visit_parts<'m>(
        &mut self,
        part: &Part<'m>,
        depth: usize,
        selected: &mut Vec<Part<'m>>,
    ) -> Result<(), BodyError> {
        if depth == MAX_DEPTH {
            return Err(BodyError::TooComplex);
        }
        let parts = part.parts()?;
        self.parts_left = self.parts_left.checked_sub(parts.len()).ok_or(BodyError::TooComplex)?;
        if !part.content_type.is("multipart/alternative") {
            // Related and unknown ones too: as mixed (RFC 5621 §4.2, §7.3).
            return parts.into_iter().try_for_each(|part| self.visit(part, depth + 1, false, selected));
        }
        // The last one is the richest (RFC 5621 §6.1).
        for part in parts.into_iter().rev() {
            let before = selected.len();
            match self.visit(part, depth + 1, true, selected) {
                Ok(()) if selected.len() > before => return Ok(()),
                Ok(()) => {}
                Err(BodyError::Unsupported(_) | BodyError::Encoding(_)) => selected.truncate(before),
                Err(error) => return Err(error),
            }
        }
        Err(BodyError::Unsupported("multipart/alternative".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Limits;

    fn message(head: &str, body: &str) -> Message {
        let text = format!("INVITE sip:a SIP/2.0\r\n{head}\r\n\r\n{body}");
        Message::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn sdp_of(head: &str, body: &str) -> Result<Option<String>, BodyError> {
        let message = message(head, body);
        let found = session_description(&message, |_| false)?;
        Ok(found.map(|part| String::from_utf8(part.content.to_vec()).unwrap()))
    }

    fn mixed(parts: &[(&str, &str)]) -> (String, String) {
        multipart("mixed", "b", parts)
    }

    fn multipart(kind: &str, boundary: &str, parts: &[(&str, &str)]) -> (String, String) {
        let body: String =
            parts.iter().map(|(head, content)| format!("--{boundary}\r\n{head}\r\n\r\n{content}\r\n")).collect();
        (format!("Content-Type: multipart/{kind};boundary=\"{boundary}\""), format!("{body}--{boundary}--"))
    }

    const SDP: &str = "Content-Type: application/sdp";

    fn check(parts: (String, String)) -> Result<Option<String>, BodyError> {
        sdp_of(&parts.0, &parts.1)
    }

    #[test]
    fn a_plain_body_is_the_session_description() {
        assert_eq!(sdp_of("c: application/SDP", "v=0"), Ok(Some("v=0".to_owned())));
        assert_eq!(sdp_of(SDP, ""), Ok(None));
        assert_eq!(sdp_of("X: y", ""), Ok(None));
        assert_eq!(sdp_of("X: y", "v=0"), Err(BodyError::Malformed));
        assert_eq!(sdp_of("Content-Type: text/plain", "x"), Err(BodyError::Unsupported("text/plain".to_owned())));
        assert_eq!(sdp_of("Content-Type: text/plain\r\nContent-Disposition: render;handling=optional", "x"), Ok(None));
        let early = format!("{SDP}\r\nContent-Disposition: early-session");
        assert_eq!(sdp_of(&early, "v=0"), Err(BodyError::Unsupported("application/sdp".to_owned())));
    }

    #[test]
    fn an_encoding_that_changes_bytes_is_refused_with_415() {
        let zipped = sdp_of(&format!("{SDP}\r\nContent-Encoding: gzip"), "v=0").unwrap_err();
        assert_eq!((zipped.clone(), zipped.status().code()), (BodyError::Encoding("gzip".to_owned()), 415));
        assert_eq!(sdp_of(&format!("{SDP}\r\ne: identity"), "v=0"), Ok(Some("v=0".to_owned())));
        let base64 = format!("{SDP}\r\nContent-Transfer-Encoding: base64");
        assert_eq!(check(mixed(&[(&base64, "dj0w")])), Err(BodyError::Encoding("base64".to_owned())));
        let binary = format!("{SDP}\r\nContent-Transfer-Encoding: BINARY");
        assert_eq!(check(mixed(&[(&binary, "v=0")])), Ok(Some("v=0".to_owned())));
    }

    #[test]
    fn the_example_of_rfc5621_section_3_1_needs_a_receiver_of_lists() {
        let parts = mixed(&[
            (SDP, "v=0"),
            ("Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list", "<x/>"),
        ]);
        assert_eq!(check(parts.clone()), Err(BodyError::Unsupported("application/resource-lists+xml".to_owned())));
        let message = message(&parts.0, &parts.1);
        let lists = |part: &Part<'_>| part.disposition.disposition == Disposition::RecipientList;
        assert_eq!(session_description(&message, lists).unwrap().unwrap().content, b"v=0");
        assert_eq!(select(&message, |_| true).unwrap().len(), 2);
    }

    #[test]
    fn what_is_optional_is_ignored() {
        // RFC 3204 §5
        let isup = "Content-Type: application/ISUP;version=nxv3\r\nContent-Disposition: signal;handling=optional";
        assert_eq!(check(mixed(&[(isup, "\u{1}"), (SDP, "v=0")])), Ok(Some("v=0".to_owned())));
        let required = isup.replace("optional", "required");
        assert_eq!(check(mixed(&[(&required, "\u{1}"), (SDP, "v=0")])).unwrap_err().status().code(), 415);
        // RFC 5621 §8.2: required inside of optional
        let inner = multipart("mixed", "i", &[(&required, "\u{1}"), (SDP, "v=1")]);
        let optional = format!("{}\r\nContent-Disposition: render;handling=optional", inner.0);
        assert_eq!(check(mixed(&[(&optional, &inner.1), (SDP, "v=0")])), Ok(Some("v=0".to_owned())));
    }

    #[test]
    fn the_last_alternative_that_is_understood_counts() {
        // RFC 5621 §6.1, §8.3
        let optional = "Content-Type: application/new\r\nContent-Disposition: session;handling=optional";
        let parts =
            [(SDP, "v=0"), ("Content-Type: application/new\r\nContent-Disposition: session", "x"), (optional, "y")];
        assert_eq!(check(multipart("alternative", "b", &parts)), Ok(Some("v=0".to_owned())));
        assert!(check(multipart("alternative", "b", &parts[1..])).is_err());
        let two = [(SDP, "v=0"), (SDP, "v=1")];
        assert_eq!(check(multipart("alternative", "b", &two)), Ok(Some("v=1".to_owned())));
        assert_eq!(check(mixed(&two)), Err(BodyError::Ambiguous));
        let inner = multipart("alternative", "i", &parts);
        assert_eq!(check(mixed(&[(&inner.0, &inner.1)])), Ok(Some("v=0".to_owned())));
        // RFC 5621 §7.3: related as mixed
        assert_eq!(check(multipart("related", "b", &[(SDP, "v=0")])), Ok(Some("v=0".to_owned())));
    }

    #[test]
    fn depth_and_number_of_parts_are_bounded() {
        let mut nested = (SDP.to_owned(), "v=0".to_owned());
        for level in 0..MAX_DEPTH {
            nested = multipart("mixed", &format!("b{level}"), &[(&nested.0, &nested.1)]);
        }
        assert_eq!(check(nested.clone()), Ok(Some("v=0".to_owned())));
        let deeper = multipart("mixed", "outer", &[(&nested.0, &nested.1)]);
        assert_eq!(check(deeper), Err(BodyError::TooComplex));
        let inner = multipart("alternative", "i", &[(SDP, "v=0"); MAX_PARTS / 2]);
        assert_eq!(check(mixed(&[(&inner.0, &inner.1), (&inner.0, &inner.1)])), Err(BodyError::TooComplex));
    }
}
