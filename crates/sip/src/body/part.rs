//! One body: a message's, or a part of it.

use super::fields::{self, BodyField};
use super::{BodyError, multipart};
use crate::header::{ContentDisposition, ContentId, MediaType};
use crate::message::{HeaderName, Message, lex};

/// A body with what its header fields say about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    /// What it is. A part without Content-Type is `text/plain` (RFC 2046 §5.1).
    pub content_type: MediaType,
    /// What it is for; with the defaults of RFC 3261 §20.11 if it does not say.
    pub disposition: ContentDisposition,
    /// By which others refer to it.
    pub content_id: Option<ContentId>,
    /// Content-Encoding, or Content-Transfer-Encoding, if it is one that changes the bytes: we read none of those.
    pub encoding: Option<&'a str>,
    /// All header fields of a part; none for a message's body, whose fields are the message's.
    pub fields: Vec<BodyField<'a>>,
    /// The bytes.
    pub content: &'a [u8],
}

impl<'a> Part<'a> {
    /// A message's body. `None` if it is empty; malformed if Content-Type is missing or a header field about the body is
    /// malformed.
    pub fn of(message: &'a Message) -> Result<Option<Self>, BodyError> {
        if message.body().is_empty() {
            return Ok(None);
        }
        let malformed = |_| BodyError::Malformed;
        // RFC 3261 §7.4.1: the media type MUST be given.
        let content_type = MediaType::of(message).map_err(malformed)?.ok_or(BodyError::Malformed)?;
        let disposition = ContentDisposition::of(message).map_err(malformed)?;
        Ok(Some(Self {
            disposition: disposition.unwrap_or_else(|| ContentDisposition::default_of(Some(&content_type))),
            content_type,
            content_id: ContentId::of(message).map_err(malformed)?,
            encoding: message
                .tokens(HeaderName::ContentEncoding)
                .find(|encoding| !encoding.eq_ignore_ascii_case("identity"))
                .or_else(|| message.header_named("Content-Transfer-Encoding").and_then(changing)),
            fields: Vec::new(),
            content: message.body(),
        }))
    }

    /// A part of a multipart: header fields, blank line, content.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let (head, content) = split_head(bytes);
        let head = std::str::from_utf8(head).map_err(|_| BodyError::Malformed)?;
        let fields = fields::read(head).ok_or(BodyError::Malformed)?;
        let single = |name| fields::single(&fields, name).map_err(|()| BodyError::Malformed);
        let malformed = |_| BodyError::Malformed;
        let content_type = match single(HeaderName::ContentType)? {
            Some(value) => MediaType::parse(value).map_err(malformed)?,
            None => MediaType::new("text/plain").ok_or(BodyError::Malformed)?,
        };
        let disposition = match single(HeaderName::ContentDisposition)? {
            Some(value) => ContentDisposition::parse(value).map_err(malformed)?,
            None => ContentDisposition::default_of(Some(&content_type)),
        };
        let content_id = single(HeaderName::ContentId)?.map(ContentId::parse).transpose().map_err(malformed)?;
        let transfer = fields.iter().find(|field| field.written.eq_ignore_ascii_case("Content-Transfer-Encoding"));
        let encoding = single(HeaderName::ContentEncoding)?
            .filter(|encoding| !encoding.eq_ignore_ascii_case("identity"))
            .or_else(|| transfer.and_then(|field| changing(field.value)));
        Ok(Self { content_type, disposition, content_id, encoding, fields, content })
    }

    /// The parts of a multipart, one level of them; none if it is no multipart.
    pub fn parts(&self) -> Result<Vec<Self>, BodyError> {
        if !self.content_type.is_multipart() {
            return Ok(Vec::new());
        }
        if self.encoding.is_some() {
            return Err(BodyError::Malformed); // RFC 2045 §6.4: no encoding but identities for composite types
        }
        let boundary = self.content_type.param("boundary").ok_or(BodyError::Malformed)?;
        multipart::split(&boundary, self.content)?.into_iter().map(Part::read).collect()
    }

    /// The part's header field of that name.
    pub fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.value)
    }
}

/// A transfer encoding, if the content is not the bytes as they stand (RFC 5621 §3.2: binary is what one uses).
fn changing(encoding: &str) -> Option<&str> {
    let encoding = lex::trim(encoding);
    let same = ["binary", "8bit", "7bit"].iter().any(|known| known.eq_ignore_ascii_case(encoding));
    (!same).then_some(encoding)
}

/// Before and after the blank line. A part may begin with it, or have none if it has no content.
fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    if let Some(content) = bytes.strip_prefix(b"\r\n") {
        return (&[], content);
    }
    match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(end) => (&bytes[..end + 2], &bytes[end + 4..]),
        None => (bytes, &[]),
    }
}
