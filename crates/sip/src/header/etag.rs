//! SIP-ETag, SIP-If-Match and Suppress-If-Match: which state is meant (RFC 3903 §11.3, RFC 5839 §7.3).

use std::fmt;

use super::{single_header, token};

macro_rules! entity_tag {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub struct $type(
            /// The entity-tag, a token; compares byte by byte.
            pub String,
        );

        single_header!($type, $type);

        impl $type {
            fn read(text: &str) -> Option<Self> {
                token(text).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

entity_tag! {
    /// The tag of the state that a 2xx to PUBLISH or a NOTIFY carries.
    SipETag
}

entity_tag! {
    /// The state that a PUBLISH refreshes, changes or removes; 412 if it is not the current one.
    SipIfMatch
}

entity_tag! {
    /// The state that a subscriber has already: a NOTIFY with it is not wanted. `*` stands for any.
    SuppressIfMatch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_token() {
        assert_eq!(SipETag::parse(" dx200xyz "), Ok(SipETag("dx200xyz".to_owned())));
        assert_eq!(SuppressIfMatch::parse("*").unwrap().to_string(), "*");
        assert!(
            SipIfMatch::parse("").is_err() && SipIfMatch::parse("a, b").is_err() && SipIfMatch::parse("\"a\"").is_err()
        );
    }
}
