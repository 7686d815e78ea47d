//! Bodies of several parts (RFC 2046 §5.1, RFC 5621 §4.3).

use std::fmt::Write as _;

use farspeak_sansio::Rng;

use crate::header::{ContentDisposition, ContentId, MediaType, unfold};
use crate::message::lex;

/// A part to write. Say with [`ContentDisposition::optional`] what a receiver may skip (RFC 5621 §8.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPart<'a> {
    /// What it is.
    pub content_type: MediaType,
    /// What it is for, unless the default of RFC 3261 §20.11 says it.
    pub disposition: Option<ContentDisposition>,
    /// By which others refer to it.
    pub content_id: Option<ContentId>,
    /// Further header fields, name and value; a name that is no token is left out.
    pub fields: Vec<(&'a str, &'a str)>,
    /// The bytes.
    pub content: &'a [u8],
}

impl<'a> NewPart<'a> {
    /// With the default disposition.
    pub const fn new(content_type: MediaType, content: &'a [u8]) -> Self {
        Self { content_type, disposition: None, content_id: None, fields: Vec::new(), content }
    }

    fn head(&self) -> String {
        let mut head = format!("Content-Type: {}\r\n", unfold(&self.content_type.to_string()));
        // Writing to a String cannot fail.
        if let Some(disposition) = &self.disposition {
            let _ = write!(head, "Content-Disposition: {}\r\n", unfold(&disposition.to_string()));
        }
        if let Some(id) = &self.content_id {
            let _ = write!(head, "Content-ID: {}\r\n", unfold(&id.to_string()));
        }
        for (name, value) in self.fields.iter().filter(|(name, _)| lex::is_token(name.as_bytes())) {
            let _ = write!(head, "{name}: {}\r\n", unfold(value));
        }
        head
    }
}

/// A multipart to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Multipart<'a> {
    subtype: &'static str,
    parts: Vec<NewPart<'a>>,
}

impl<'a> Multipart<'a> {
    /// Parts that belong beside each other.
    pub const fn mixed(parts: Vec<NewPart<'a>>) -> Self {
        Self { subtype: "mixed", parts }
    }

    /// The same in several forms, the richest last.
    pub const fn alternative(parts: Vec<NewPart<'a>>) -> Self {
        Self { subtype: "alternative", parts }
    }

    /// A whole whose first part is its root (RFC 2387).
    pub const fn related(parts: Vec<NewPart<'a>>) -> Self {
        Self { subtype: "related", parts }
    }

    /// Content-Type and body. The boundary is random and stands nowhere in the parts. Without parts there is one empty
    /// part, for a multipart has at least one.
    pub fn write(&self, rng: &mut dyn Rng) -> (MediaType, Vec<u8>) {
        let heads: Vec<String> = self.parts.iter().map(NewPart::head).collect();
        let boundary = loop {
            let boundary = format!("{:016x}", rng.next_u64());
            let occurs = |bytes: &[u8]| memchr::memmem::find(bytes, boundary.as_bytes()).is_some();
            let in_part = |(head, part): (&String, &NewPart<'_>)| occurs(head.as_bytes()) || occurs(part.content);
            if !heads.iter().zip(&self.parts).any(in_part) {
                break boundary;
            }
        };
        let mut body = Vec::with_capacity(self.parts.iter().map(|part| part.content.len() + 256).sum());
        for (head, part) in heads.iter().zip(&self.parts) {
            for piece in ["--", &boundary, "\r\n", head, "\r\n"] {
                body.extend_from_slice(piece.as_bytes());
            }
            body.extend_from_slice(part.content);
            body.extend_from_slice(b"\r\n");
        }
        if self.parts.is_empty() {
            body.extend_from_slice(format!("--{boundary}\r\n\r\n").as_bytes());
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let mut content_type = MediaType::new("multipart/mixed").expect("it is a type and a subtype");
        self.subtype.clone_into(&mut content_type.subtype);
        content_type.params.push("boundary", Some(&boundary));
        (content_type, body)
    }
}

#[cfg(test)]
mod tests {
    use farspeak_sansio::SplitMix64;

    use super::super::select;
    use super::*;
    use crate::header::Disposition;
    use crate::message::{Limits, Message, Method, RequestBuilder};

    #[test]
    fn what_is_written_is_read_back_also_if_it_holds_the_boundary() {
        let mut same = SplitMix64::new(7);
        let guess = format!("\r\n--{:016x}--\r\n", same.next_u64());
        let mut first = NewPart::new(MediaType::new("application/sdp").unwrap(), guess.as_bytes());
        first.content_id = Some(ContentId::parse("<1@a>").unwrap());
        let mut second = NewPart::new(MediaType::new("text/plain").unwrap(), b"\r\n\r\n");
        second.disposition = Some(ContentDisposition::new(Disposition::Icon).optional());
        second.fields = vec![("X-A", "b\r\nc"), ("X B", "c")];
        let (content_type, body) = Multipart::mixed(vec![first.clone(), second]).write(&mut SplitMix64::new(7));
        let request = RequestBuilder::new(Method::Invite, "sip:a").body(&content_type.to_string(), &body).to_vec();
        let message = Message::parse(&request, &Limits::default()).unwrap();
        let parts = select(&message, |_| true).unwrap();
        assert_eq!((parts[0].content, parts[1].content), (guess.as_bytes(), b"\r\n\r\n".as_slice()));
        assert_eq!(
            (&parts[0].content_id, parts[1].disposition.to_string()),
            (&first.content_id, "icon;handling=optional".to_owned())
        );
        assert_eq!((parts[1].fields.len(), parts[1].fields[2].value), (3, "b  c"));
    }
}
