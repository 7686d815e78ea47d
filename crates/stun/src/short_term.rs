//! The short-term credential mechanism at the receiving end, RFC 8489 §9.1.3: what ICE agents do with each other's
//! checks.
//!
//! The sending end is [`Authentication::ShortTerm`](crate::Authentication::ShortTerm), or a [`Writer`](crate::Writer)
//! and a key.

use crate::long_term::Authenticated;
use crate::{ErrorCode, Integrity, Key, Message};

/// A request that is not granted. An indication is dropped instead (RFC 8489 §9.1.3). The response to it carries no
/// seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// 400: no message integrity or no user name.
    BadRequest,
    /// 401: an unknown user name or a wrong password.
    Unauthenticated,
}

impl Refused {
    /// The response's ERROR-CODE.
    pub const fn error_code(self) -> ErrorCode<'static> {
        match self {
            Self::BadRequest => ErrorCode::BAD_REQUEST,
            Self::Unauthenticated => ErrorCode::UNAUTHENTICATED,
        }
    }
}

/// Checks a request or indication. `find` gives the key of a user name that is valid now.
///
/// The response is to be sealed by [`Authenticated::seal`], with the algorithm that the request used.
pub fn check(message: &Message<'_>, find: impl FnOnce(&str) -> Option<Key>) -> Result<Authenticated, Refused> {
    let username = message.username().ok().flatten();
    let Some(username) = username.filter(|_| message.has_integrity()) else { return Err(Refused::BadRequest) };
    let key = find(username).ok_or(Refused::Unauthenticated)?;
    let integrity: Integrity = message.check_integrity(&key).map_err(|_| Refused::Unauthenticated)?;
    Ok(Authenticated { key, integrity })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attribute, Class, Method, TransactionId, Writer};

    #[test]
    fn refuses_in_the_order_of_rfc8489_9_1_3() {
        let key = Key::from_bytes(b"secret");
        let verdict = |write: &dyn Fn(&mut Writer<'_>)| {
            let mut buffer = [0; 128];
            let mut writer = Writer::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
            write(&mut writer);
            let message = Message::parse(writer.finish().unwrap()).unwrap();
            check(&message, |name| (name == "a:b").then(|| key.clone())).map(|ok| ok.integrity)
        };
        let named = |writer: &mut Writer<'_>, name: &str, key: &Key| {
            writer.push(Attribute::Username(name)).integrity(key);
        };
        assert_eq!(verdict(&|_| ()), Err(Refused::BadRequest));
        assert_eq!(
            verdict(&|w| {
                w.integrity(&key);
            }),
            Err(Refused::BadRequest)
        );
        assert_eq!(verdict(&|w| named(w, "x:y", &key)), Err(Refused::Unauthenticated));
        assert_eq!(verdict(&|w| named(w, "a:b", &Key::from_bytes(b"guess"))), Err(Refused::Unauthenticated));
        assert_eq!(verdict(&|w| named(w, "a:b", &key)), Ok(Integrity::Sha1));
    }
}
