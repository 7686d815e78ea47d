//! Path and Service-Route: through whom a registration came, and through whom requests are to leave (RFC 3327, 3608).

use std::fmt;

use super::{Address, listed_header};

macro_rules! route {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub struct $type(
            /// The proxy, with `lr` in its URI unless it routes strictly.
            pub Address,
        );

        listed_header!($type, $type);

        impl $type {
            fn read(text: &str) -> Option<Self> {
                Address::read(text).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

route! {
    /// A proxy between registrar and phone; the topmost is nearest to the registrar (RFC 3327 §4).
    Path
}

route! {
    /// A proxy for the phone's requests, to be used as Route in this order (RFC 3608 §5).
    ServiceRoute
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Limits, Message};

    #[test]
    fn service_routes_come_in_order() {
        // RFC 3608 §6.3
        let text =
            "SIP/2.0 200 OK\r\nService-Route: <sip:P2.HOME.EXAMPLE.COM;lr>,\r\n <sip:HSP.HOME.EXAMPLE.COM;lr>\r\n\r\n";
        let message = Message::parse(text.as_bytes(), &Limits::default()).unwrap();
        let routes: Vec<_> = ServiceRoute::all(&message).map(|route| route.unwrap().to_string()).collect();
        assert_eq!(routes, ["<sip:P2.HOME.EXAMPLE.COM;lr>", "<sip:HSP.HOME.EXAMPLE.COM;lr>"]);
        assert!(Path::parse("x").is_err());
    }
}
