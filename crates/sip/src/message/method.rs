//! Request methods (RFC 3261 §7.1 and its extensions).

use std::fmt;
use std::sync::Arc;

use super::lex;

/// A request method. Case-sensitive (RFC 3261 §7.1): `invite` is an unknown method.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// Sets a session up or changes it. RFC 3261 §13.
    Invite,
    /// Confirms a final response to an INVITE. RFC 3261 §13, §17.
    Ack,
    /// Ends a session. RFC 3261 §15.
    Bye,
    /// Gives an INVITE up that has no final response. RFC 3261 §9.
    Cancel,
    /// Tells the registrar where a user is. RFC 3261 §10.
    Register,
    /// Asks what the other side can do. RFC 3261 §11.
    Options,
    /// Confirms a reliable provisional response. RFC 3262.
    Prack,
    /// Changes a session before it is answered. RFC 3311.
    Update,
    /// Information in the middle of a session. RFC 6086.
    Info,
    /// Asks for notifications. RFC 6665.
    Subscribe,
    /// Notifies. RFC 6665.
    Notify,
    /// Asks the other side to call elsewhere. RFC 3515.
    Refer,
    /// An instant message. RFC 3428.
    Message,
    /// Publishes event state. RFC 3903.
    Publish,
    /// A method we have no name for; any token.
    Other(Arc<str>),
}

impl Method {
    /// Reads a method. `None` if `text` is not a token (RFC 3261 §25.1).
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "REGISTER" => Self::Register,
            "OPTIONS" => Self::Options,
            "PRACK" => Self::Prack,
            "UPDATE" => Self::Update,
            "INFO" => Self::Info,
            "SUBSCRIBE" => Self::Subscribe,
            "NOTIFY" => Self::Notify,
            "REFER" => Self::Refer,
            "MESSAGE" => Self::Message,
            "PUBLISH" => Self::Publish,
            _ if lex::is_token(text.as_bytes()) => Self::Other(Arc::from(text)),
            _ => return None,
        })
    }

    /// The method as it stands in the request line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Prack => "PRACK",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Refer => "REFER",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Method; 14] = [
        Method::Invite,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Register,
        Method::Options,
        Method::Prack,
        Method::Update,
        Method::Info,
        Method::Subscribe,
        Method::Notify,
        Method::Refer,
        Method::Message,
        Method::Publish,
    ];

    #[test]
    fn methods_are_case_sensitive_tokens() {
        assert_eq!(Method::parse("INVITE"), Some(Method::Invite));
        assert_eq!(Method::parse("invite"), Some(Method::Other(Arc::from("invite"))));
        assert_eq!(Method::parse("!interesting-Method0123456789_*+`.%indeed'~").unwrap().as_str().len(), 43);
        assert_eq!(Method::parse("IN VITE"), None);
        assert_eq!(Method::parse(""), None);
    }

    #[test]
    fn every_known_method_reads_what_it_writes() {
        for method in KNOWN {
            assert_eq!(Method::parse(method.as_str()), Some(method));
        }
    }
}
