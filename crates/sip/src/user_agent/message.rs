//! What the application adds to a request or response: header fields and a body.

use std::sync::Arc;

use crate::message::{HeaderName, RequestBuilder, ResponseBuilder};

/// A body and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// Content-Type: `application/sdp`.
    pub content_type: Arc<str>,
    /// Content-Disposition, if it is not the type's default (RFC 3261 §20.11).
    pub disposition: Option<Arc<str>>,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl Body {
    /// A body with the default disposition of its type.
    pub fn new(content_type: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { content_type: content_type.into(), disposition: None, bytes: bytes.into() }
    }

    /// A session description.
    pub fn sdp(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::new("application/sdp", bytes)
    }
}

/// Header fields and a body for one request or response.
///
/// Via, From, To, Call-ID, CSeq, Route, Contact (but in a refusal) and Content-Length are not for the application to set.
/// Allow, Supported and Max-Forwards take the place of this layer's own.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Extra {
    headers: Vec<(Name, Arc<str>)>,
    body: Option<Body>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Name {
    Known(HeaderName),
    Other(Arc<str>),
}

impl Extra {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more header field, in the order of the calls.
    pub fn header(mut self, name: HeaderName, value: impl Into<Arc<str>>) -> Self {
        self.headers.push((Name::Known(name), value.into()));
        self
    }

    /// One more header field that [`HeaderName`] does not know.
    pub fn header_named(mut self, name: &str, value: impl Into<Arc<str>>) -> Self {
        self.headers.push((Name::Other(name.into()), value.into()));
        self
    }

    /// The body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// The same without a body.
    pub fn without_body(mut self) -> Self {
        self.body = None;
        self
    }

    /// The body, if there is one.
    pub fn get_body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    /// Whether it has a header field of that name.
    pub fn has(&self, name: HeaderName) -> bool {
        self.headers.iter().any(|(known, _)| *known == Name::Known(name))
    }

    /// The first header field of that name.
    pub fn value(&self, name: HeaderName) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == Name::Known(name)).map(|(_, value)| &**value)
    }

    pub(crate) fn onto_request<'b>(&'b self, mut builder: RequestBuilder<'b>) -> RequestBuilder<'b> {
        for (name, value) in &self.headers {
            builder = match name {
                Name::Known(HeaderName::MaxForwards) => builder, // the dialog has written it
                Name::Known(name) => builder.header(*name, value),
                Name::Other(name) => builder.header_named(name, value),
            };
        }
        let Some(body) = &self.body else { return builder };
        if let Some(disposition) = &body.disposition {
            builder = builder.header(HeaderName::ContentDisposition, disposition);
        }
        builder.body(&body.content_type, &body.bytes)
    }

    pub(crate) fn onto_response<'m>(&'m self, mut builder: ResponseBuilder<'m>) -> ResponseBuilder<'m> {
        for (name, value) in &self.headers {
            builder = match name {
                Name::Known(name) => builder.header(*name, value),
                Name::Other(name) => builder.header_named(name, value),
            };
        }
        let Some(body) = &self.body else { return builder };
        if let Some(disposition) = &body.disposition {
            builder = builder.header(HeaderName::ContentDisposition, disposition);
        }
        builder.body(&body.content_type, &body.bytes)
    }
}
