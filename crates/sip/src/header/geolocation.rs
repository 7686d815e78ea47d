//! Geolocation and Geolocation-Routing: where the caller is, and who may look (RFC 6442 §4). Read and passed on.

use std::fmt;

use super::params::ParamList;
use super::{ContentId, listed_header, single_header, split_params};
use crate::message::{Params, Uri, lex};

/// One location: by value in the body (`cid:`), or by reference.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Geolocation {
    uri: String,
    /// Not defined, and passed on (RFC 6442 §4.1).
    pub params: ParamList,
}

listed_header!(Geolocation, Geolocation);

impl Geolocation {
    fn read(text: &str) -> Option<Self> {
        let (uri, params) = text.strip_prefix('<')?.split_once('>')?;
        let uri = lex::trim(uri);
        Uri::parse(uri).ok()?;
        Some(Self { uri: uri.to_owned(), params: ParamList::except(Params::parse(params)?, &[]) })
    }

    /// The URI as written.
    pub fn uri_text(&self) -> &str {
        &self.uri
    }

    /// The body part that holds the location, if it is one.
    pub fn content_id(&self) -> Option<ContentId> {
        ContentId::of_url(&self.uri)
    }
}

impl fmt::Display for Geolocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

/// Whether proxies may look at the location to route by it; if a message does not say, they may not (RFC 6442 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GeolocationRouting(
    /// Only `yes` is yes.
    pub bool,
);

single_header!(GeolocationRouting, GeolocationRouting);

impl GeolocationRouting {
    fn read(text: &str) -> Option<Self> {
        let (value, _) = split_params(text)?;
        lex::is_token(value.as_bytes()).then(|| Self(value.eq_ignore_ascii_case("yes")))
    }
}

impl fmt::Display for GeolocationRouting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "yes" } else { "no" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc6442_section_4_are_read() {
        let inside = Geolocation::parse("<cid:target123@atlanta.example.com>").unwrap();
        assert_eq!(inside.content_id(), ContentId::new("target123@atlanta.example.com"));
        let outside = Geolocation::parse("<sips:3sdefrhy2jj7@lis.atlanta.example.com>;x=y").unwrap();
        assert_eq!(
            (outside.content_id(), outside.to_string().as_str()),
            (None, "<sips:3sdefrhy2jj7@lis.atlanta.example.com>;x=y")
        );
        assert!(Geolocation::parse("cid:a@b").is_err() && Geolocation::parse("<>").is_err());
        assert_eq!(GeolocationRouting::parse("Yes"), Ok(GeolocationRouting(true)));
        assert_eq!(GeolocationRouting::parse("maybe"), Ok(GeolocationRouting::default()));
    }
}
