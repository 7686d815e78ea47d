//! The INVITE that a REFER asks for: its target, the headers that it may bring along, and who asked (RFC 3515 §2.4.4,
//! RFC 3891 §5, RFC 3892 §2.2).

use std::sync::Arc;

use super::{Invite, VerbError};
use crate::dialog::Opening;
use crate::header::{EmbeddedField, ReferTo, ReferredBy};
use crate::message::{HeaderName, Message, Method};
use crate::user_agent::Extra;

impl Invite {
    /// What the REFER asks for: `opening` and `extra` are those of an ordinary call, of which Refer-To replaces target and
    /// To. From the headers of its URI only harmless ones are taken ([`Embedded::honored`](crate::header::Embedded)), above
    /// all Replaces for an attended transfer; Referred-By is passed on.
    ///
    /// The flow is the caller's business: it has to lead to the new target, over TLS if that is `sips`.
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
        // RFC 3892 §2.2: as it stands. Its token is a body part, which needs the application's hand.
        if let Ok(Some(by)) = ReferredBy::of(refer)
            && !extra.has(HeaderName::ReferredBy)
        {
            extra = extra.header(HeaderName::ReferredBy, by.to_string());
        }
        let to = Arc::from(format!("<{}>", asked.target));
        Ok(Self { opening: Opening { target: asked.target.into(), to, ..opening }, extra })
    }
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

    fn referred(lines: &str) -> Result<Invite, VerbError> {
        let text = format!("REFER sip:a@b SIP/2.0\r\n{lines}\r\n");
        let refer = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
        let any = "192.0.2.1:5060".parse().unwrap();
        let opening = Opening {
            target: "sip:nobody".into(),
            from: "<sip:a@b>".into(),
            to: "<sip:nobody>".into(),
            contact: "<sip:a@192.0.2.1>".into(),
            route_set: Vec::new(),
            flow: Flow::unbound(Transport::Udp, any, any),
            account: None,
        };
        Invite::referred(&refer, opening, Extra::new())
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
    fn what_is_no_call_is_refused() {
        assert_eq!(referred("").unwrap_err(), VerbError::Malformed);
        assert_eq!(referred("Refer-To: <sip:c@c?Subject=%0A>\r\n").unwrap_err(), VerbError::Malformed);
        assert_eq!(referred("Refer-To: <sip:c@c;method=BYE>\r\n").unwrap_err(), VerbError::Unsupported);
        // A Referred-By that cannot be read is none.
        assert_eq!(referred("Refer-To: <sip:c@c>\r\nReferred-By: x y\r\n").unwrap().extra, Extra::new());
    }
}
