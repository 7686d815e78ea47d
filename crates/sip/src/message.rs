//! SIP messages (RFC 3261 §7): read once into a table of lines, typed on demand, edited by splicing.
//!
//! ```text
//!   bytes ──> framer ──> Message::parse ──> Arc<Message> ──> transaction, proxy, registrar
//!                                               │
//!                      Edit (forward) <─────────┴─────────> ResponseBuilder (answer)
//! ```
//!
//! The framer hands in exactly one message. [`Message`] keeps its bytes as they came; accessors such as
//! [`Message::via`] read a header field where it stands and borrow from it. [`Edit`] writes the message with a few
//! lines changed and every other byte untouched; [`ResponseBuilder`] and [`RequestBuilder`] write new ones.

mod access;
mod build;
mod edit;
mod error;
mod header_name;
mod host;
pub(crate) mod lex;
mod limits;
mod method;
mod name_addr;
mod params;
pub(crate) mod parse;
mod scan;
mod stamp;
mod status;
mod uri;
mod via;

use std::fmt;
use std::ops::Range;

pub use access::{CSeq, Tokens, Values, Vias};
pub use build::{RequestBuilder, ResponseBuilder};
pub use edit::Edit;
pub use error::{HeaderError, HeaderErrorKind};
pub use header_name::HeaderName;
pub use host::Host;
pub use lex::{List, unquote};
pub use limits::Limits;
pub use method::Method;
pub use name_addr::{Contacts, NameAddr, NameAddrs};
pub use params::{ParamIter, Params};
pub use parse::{ParseError, ParseErrorKind};
pub use status::StatusCode;
pub use uri::{Scheme, Uri, UriError, UriParams};
pub use via::{MAGIC_COOKIE, Via};

/// One SIP message, its bytes as they came and a table of its lines.
///
/// Three allocations (four with a method we have no name for); none for a missing body.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Start line and header fields, blank line included.
    head: String,
    start: Start,
    /// Where in `fields` each name first occurs.
    first: FirstFields,
    fields: Vec<Field>,
    body: Box<[u8]>,
}

/// The start line (RFC 3261 §7.1, §7.2).
#[derive(Clone, PartialEq, Eq, Debug)]
enum Start {
    Request { method: Method, uri_start: u32, uri_end: u32 },
    Response { status: StatusCode },
}

/// One header field with its folded lines, as offsets into the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) name: HeaderName,
    /// 1 + the index of the next field of that name; 0 if there is none.
    pub(crate) next: u16,
    /// Where the name begins.
    pub(crate) start: u32,
    pub(crate) name_end: u32,
    /// The value without white space at its ends.
    pub(crate) value_start: u32,
    pub(crate) value_end: u32,
    /// After the CRLF.
    pub(crate) end: u32,
}

impl Field {
    pub(crate) fn value(&self) -> Range<usize> {
        self.value_start as usize..self.value_end as usize
    }
}

/// 1 + the index of the first field of each name, 0 if there is none; so that none is searched for.
#[derive(Clone, PartialEq, Eq)]
struct FirstFields([u16; HeaderName::ALL.len() + 1]);

impl FirstFields {
    /// How many fields can be told apart.
    const MAX: usize = u16::MAX as usize;

    /// The index of the first field of that name.
    fn get(&self, name: HeaderName) -> Option<usize> {
        usize::from(self.0[name as usize]).checked_sub(1)
    }

    /// Says of the field with 1 + its index that it is the first one of that name; returns the same of the one that was.
    #[inline]
    fn replace(&mut self, name: HeaderName, link: u16) -> u16 {
        std::mem::replace(&mut self.0[name as usize], link)
    }
}

impl Default for FirstFields {
    fn default() -> Self {
        Self([0; HeaderName::ALL.len() + 1])
    }
}

impl Message {
    /// Reads `bytes`, which are exactly one message: what follows the blank line is the body, and Content-Length, if
    /// there is one, must say so. Only CRLF ends a line. Header fields are found but not looked into: see
    /// [`Self::check_essential`] for those that everything depends on.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        parse::parse(bytes, limits)
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method; `None` for a response.
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The status; `None` for a request.
    pub fn status(&self) -> Option<StatusCode> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status } => Some(status),
        }
    }

    /// The Request-URI as written; `None` for a response.
    pub fn request_uri(&self) -> Option<&str> {
        match self.start {
            Start::Request { uri_start, uri_end, .. } => Some(&self.head[uri_start as usize..uri_end as usize]),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI; an error for a response too.
    pub fn uri(&self) -> Result<Uri<'_>, HeaderError> {
        let text = self.request_uri().ok_or(HeaderError::request_uri())?;
        Uri::parse(text).map_err(|_| HeaderError::request_uri())
    }

    /// The request or status line without its CRLF.
    pub fn first_line(&self) -> &str {
        self.head.split_once("\r\n").map_or("", |(line, _)| line)
    }

    /// Start line and header fields as received, blank line included.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// What follows the blank line.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Appends the message to `out`, byte for byte as received (and stamped).
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.head.len() + self.body.len());
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(&self.body);
    }

    /// The message as [`Self::write`] writes it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// All header fields in order: name, name as written, value without the white space at its ends. Folding inside a
    /// value stays.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, &str, &str)> {
        self.fields.iter().map(|field| {
            let name = &self.head[field.start as usize..field.name_end as usize];
            (field.name, name, &self.head[field.value()])
        })
    }

    /// The value of the first header field of that name.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.first_field(name).map(|field| &self.head[field.value()])
    }

    /// The values of all header fields of that name, a comma list as one; see [`Self::values`] for its elements.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        std::iter::successors(self.first_field(name), |field| self.next_field(field))
            .map(|field| &self.head[field.value()])
    }

    #[inline]
    fn first_field(&self, name: HeaderName) -> Option<&Field> {
        self.linked_field(self.first.0[name as usize])
    }

    /// The next one of that name.
    #[inline]
    fn next_field(&self, field: &Field) -> Option<&Field> {
        self.linked_field(field.next)
    }

    #[inline]
    fn linked_field(&self, link: u16) -> Option<&Field> {
        self.fields.get(usize::from(link).wrapping_sub(1))
    }

    /// The value of the first header field of that name, in any case; for those that [`HeaderName`] does not know.
    pub fn header_named(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// The values of all header fields of that name, in any case.
    pub fn headers_named<'m>(&'m self, name: &str) -> impl Iterator<Item = &'m str> {
        self.fields().filter(move |(_, written, _)| written.eq_ignore_ascii_case(name)).map(|(_, _, value)| value)
    }
}

/// Shows what kind of message it is, not who is meant: messages pass through logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            Start::Request { method, .. } => write!(f, "{method}")?,
            Start::Response { status } => write!(f, "{status:?}")?,
        }
        write!(f, " ({} header fields, {} bytes of body)", self.fields.len(), self.body.len())
    }
}
