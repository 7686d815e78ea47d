//! The INVITE that a REFER asks for: its target, the headers that it may bring along, and who asked (RFC 3515 §2.4.4,
//! RFC 3891 §5, RFC 3892 §2.2).

use std::sync::Arc;

use farspeak_sansio::SplitMix64;

use super::{Invite, VerbError};
use crate::body::{MAX_DEPTH, Multipart, NewPart, Part};
use crate::dialog::Opening;
use crate::header::{ContentDisposition, ContentId, EmbeddedField, MediaType, ReferTo, ReferredBy};
use crate::message::{HeaderName, Message, Method};
use crate::user_agent::{Body, Extra};

impl Invite {
    /// What the REFER asks for: `opening` and `extra` are those of an ordinary call, of which Refer-To replaces target and
    /// To. From the headers of its URI only harmless ones are taken ([`Embedded::honored`](crate::header::Embedded)), above
    /// all Replaces for an attended transfer; Referred-By is passed on.
    ///
    /// A token that signs Referred-By goes along in a multipart body beside the offer (RFC 3892 §4.2). The flow is the
    /// caller's business: it has to lead to the new target, over TLS if that is `sips`.
    ///
    /// [`VerbError::Malformed`] if Refer-To cannot be read, [`VerbError::Unsupported`] if it asks for another method than
    /// INVITE: both are reasons to refuse the REFER, or to report a 400.
    pub fn referred(refer: &Message, opening: Opening, extra: Extra) -> Result<Self, VerbError> {
        let refer_to = ReferTo::of(refer).ok().flatten().ok_or(VerbError::Malformed)?;
        let asked = refer_to.embedded().ok_or(VerbError::Malformed)?;
        if asked.method.as_ref().is_some_and(|method| *method != Method::Invite) {
            return Err(VerbError::Unsupported);
        }
        let mut extra = asked.honored().filter(|field| suits_invite(field)).fold(extra, |extra, field| {
            if extra.has(field.name) { extra } else { extra.header(field.name, field.value.as_str()) }
        });
        // RFC 3892 §2.2: as it stands, with its token.
        if let Ok(Some(by)) = ReferredBy::of(refer)
            && !extra.has(HeaderName::ReferredBy)
        {
            extra = extra.header(HeaderName::ReferredBy, by.to_string());
            extra = by.cid.and_then(|cid| with_token(&extra, refer, &cid)).unwrap_or(extra);
        }
        let to = Arc::from(format!("<{}>", asked.target));
        Ok(Self { opening: Opening { target: asked.target.into(), to, ..opening }, extra })
    }
}

/// The same with the part of the REFER that proves its Referred-By beside the body (RFC 3892 §4.2); `None` if there is none.
fn with_token(extra: &Extra, refer: &Message, cid: &str) -> Option<Extra> {
    let whole = Part::of(refer).ok()??;
    let token = find(&whole, &ContentId::parse(&format!("<{cid}>")).ok()?, MAX_DEPTH)?;
    let proof = NewPart {
        content_type: token.content_type.clone(),
        disposition: Some(token.disposition.clone()),
        content_id: token.content_id.clone(),
        fields: Vec::new(),
        content: token.content,
    };
    let mut parts = Vec::new();
    if let Some(body) = extra.get_body() {
        let disposition = body.disposition.as_deref().and_then(|text| ContentDisposition::parse(text).ok());
        let content_type = MediaType::parse(&body.content_type).ok()?;
        parts.push(NewPart { disposition, ..NewPart::new(content_type, &body.bytes) });
    }
    parts.push(proof);
    // The boundary has to stand in no part, which is seen to; nobody gains by guessing it.
    let (content_type, bytes) = Multipart::mixed(parts).write(&mut SplitMix64::new(1));
    Some(extra.clone().body(Body::new(&content_type.to_string(), bytes)))
}

/// The part of that Content-ID, at most so deep.
fn find<'m>(part: &Part<'m>, id: &ContentId, depth: usize) -> Option<Part<'m>> {
    if part.content_id.as_ref() == Some(id) {
        return Some(part.clone());
    }
    let parts = part.parts().ok().filter(|_| depth > 0)?;
    parts.iter().find_map(|part| find(part, id, depth - 1))
}

/// Whether a header that a URI may bring has a meaning in an INVITE.
fn suits_invite(field: &EmbeddedField) -> bool {
    !matches!(field.name, HeaderName::Event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Limits;
    use farspeak_sansio::{Flow, Transport};

    fn opening() -> Opening {
        let any = "192.0.2.1:5060".parse().unwrap();
        Opening {
            target: "sip:nobody".into(),
            from: "<sip:a@b>".into(),
            to: "<sip:nobody>".into(),
            contact: "<sip:a@192.0.2.1>".into(),
            route_set: Vec::new(),
            flow: Flow::unbound(Transport::Udp, any, any),
            account: None,
        }
    }

    fn referred(lines: &str) -> Result<Invite, VerbError> {
        let text = format!("REFER sip:a@b SIP/2.0\r\n{lines}\r\n");
        let refer = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
        Invite::referred(&refer, opening(), Extra::new())
    }

    #[test]
    fn target_replaces_and_referrer_are_taken() {
        let invite = referred(
            "Refer-To: <sip:carol@c;gr=1?Replaces=1%40c%3Bto-tag%3D2%3Bfrom-tag%3D3&Require=replaces&Event=x&Route=evil>\r\n\
             Referred-By: <sip:bob@b>\r\n",
        )
        .unwrap();
        let expected = Extra::new()
            .header(HeaderName::Replaces, "1@c;to-tag=2;from-tag=3")
            .header(HeaderName::Require, "replaces")
            .header(HeaderName::ReferredBy, "<sip:bob@b>");
        assert_eq!(invite.extra, expected);
        assert_eq!((&*invite.opening.target, &*invite.opening.to), ("sip:carol@c;gr=1", "<sip:carol@c;gr=1>"));
    }

    #[test]
    fn the_referrers_token_goes_along_beside_the_offer() {
        // RFC 3892 §4.2
        let lines = "Refer-To: <sip:carol@c>\r\nReferred-By: <sip:bob@b>;cid=\"t@b\"\r\n\
            Content-Type: multipart/mixed;boundary=x\r\n";
        let body = "--x\r\nContent-Type: message/sipfrag\r\nContent-ID: <other@b>\r\n\r\nFrom: no\r\n\
            --x\r\nContent-Type: multipart/signed;boundary=y\r\nContent-ID: <t@b>\r\n\r\n--y\r\n\r\nsigned\r\n--y--\r\n--x--\r\n";
        let text = format!("REFER sip:a@b SIP/2.0\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len());
        let refer = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
        let extra = Extra::new().body(Body::sdp(b"v=0\r\n".as_slice()));
        let Invite { extra, .. } = Invite::referred(&refer, opening(), extra).unwrap();
        let body = extra.get_body().unwrap();
        let written = String::from_utf8_lossy(&body.bytes);
        assert!(body.content_type.starts_with("multipart/mixed;boundary="), "{}", body.content_type);
        assert!(written.contains("v=0\r\n") && written.contains("Content-ID: <t@b>"), "{written}");
        assert!(written.contains("--y\r\n\r\nsigned\r\n--y--") && !written.contains("From: no"), "{written}");
        assert!(crate::session::description::describes(&extra), "the offer is still one");
    }

    #[test]
    fn what_is_no_call_is_refused() {
        assert_eq!(referred("").unwrap_err(), VerbError::Malformed);
        assert_eq!(referred("Refer-To: <sip:c@c?Subject=%0A>\r\n").unwrap_err(), VerbError::Malformed);
        assert_eq!(referred("Refer-To: <sip:c@c;method=BYE>\r\n").unwrap_err(), VerbError::Unsupported);
        // A Referred-By that cannot be read is none.
        assert_eq!(referred("Refer-To: <sip:c@c>\r\nReferred-By: x y\r\n").unwrap().extra, Extra::new());
    }
}
