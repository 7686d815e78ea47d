//! Attributes, typed (RFC 8489 §14 and the IANA registry): one table says number, name and form of each.
//!
//! [`Message`](crate::Message) has an accessor for each; [`Writer`](crate::Writer) takes an [`Attribute`].
//! MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT are no values but the message's seals: they are
//! checked by [`Message::check_integrity`](crate::Message::check_integrity) and written by
//! [`Writer::integrity`](crate::Writer::integrity).

mod codec;
mod value;
mod vendor;

use std::fmt;
use std::net::SocketAddr;

use crate::TransactionId;
pub(crate) use codec::Out;
pub use value::{
    AddressErrorCode, AddressFamily, ChangeRequest, ErrorCode, EvenPort, Icmp, PasswordAlgorithm, PasswordAlgorithms,
    TransmitCounter, UnknownAttributes,
};

/// The number of an attribute. Below 0x8000, who does not know it cannot process the message (RFC 8489 §14).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeType(pub u16);

impl AttributeType {
    /// HMAC-SHA1 of what stands before (RFC 8489 §14.5).
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// HMAC-SHA256 of what stands before (RFC 8489 §14.6).
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    /// CRC-32 of what stands before (RFC 8489 §14.7).
    pub const FINGERPRINT: Self = Self(0x8028);

    /// Whether a message with it cannot be processed by who does not know it.
    pub const fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }

    /// Whether this crate knows it. Of those that vendors have registered it knows the name alone; their values are
    /// bytes ([`Message::find`](crate::Message::find)).
    pub fn is_known(self) -> bool {
        self.name().is_some()
    }

    pub(crate) const fn is_seal(self) -> bool {
        matches!(self, Self::MESSAGE_INTEGRITY | Self::MESSAGE_INTEGRITY_SHA256 | Self::FINGERPRINT)
    }
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An attribute of a known type whose value does not have the form that its RFC says. To a request: 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub AttributeType);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of {} is malformed", self.0)
    }
}

impl std::error::Error for Malformed {}

macro_rules! attributes {
    ($($(#[$doc:meta])* $variant:ident($value:ty) $constant:ident $accessor:ident = $number:literal $name:literal $codec:ident;)*) => {
        /// An attribute with its value.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Attribute<'a> {
            $($(#[$doc])* $variant($value),)*
        }

        impl AttributeType {
            $($(#[$doc])* pub const $constant: Self = Self($number);)*

            /// Its name in the registry, if this crate knows it.
            pub const fn name(self) -> Option<&'static str> {
                Some(match self.0 {
                    0x0008 => "MESSAGE-INTEGRITY",
                    0x001c => "MESSAGE-INTEGRITY-SHA256",
                    0x8028 => "FINGERPRINT",
                    $($number => $name,)*
                    number => return vendor::name(number),
                })
            }

            /// Every type with a value that this crate knows.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }

        impl<'a> Attribute<'a> {
            /// Its number.
            pub const fn kind(&self) -> AttributeType {
                match self {
                    $(Self::$variant(_) => AttributeType::$constant,)*
                }
            }

            /// Reads a value; `None` if the type is unknown or a seal. `id` is the transaction's, for XORed addresses.
            pub fn read(kind: AttributeType, value: &'a [u8], id: &TransactionId) -> Option<Result<Self, Malformed>> {
                Some(match kind {
                    $(AttributeType::$constant => codec::$codec::read(value, id).map(Self::$variant).ok_or(Malformed(kind)),)*
                    _ => return None,
                })
            }

            pub(crate) fn write(&self, id: &TransactionId, out: &mut Out<'_>) {
                match self {
                    $(Self::$variant(value) => codec::$codec::write(value, id, out),)*
                }
            }
        }

        impl<'a> crate::Message<'a> {
            $(
                $(#[$doc])*
                ///
                /// The first of its kind; `None` if there is none.
                pub fn $accessor(&self) -> Result<Option<$value>, Malformed> {
                    let Some(value) = self.find(AttributeType::$constant) else { return Ok(None) };
                    let read = codec::$codec::read(value, &self.transaction_id());
                    read.map(Some).ok_or(Malformed(AttributeType::$constant))
                }
            )*
        }
    };
}

attributes! {
    /// The request's source address (RFC 8489 §14.1), as NATs that rewrite payloads may have spoilt it.
    MappedAddress(SocketAddr) MAPPED_ADDRESS mapped_address = 0x0001 "MAPPED-ADDRESS" address;
    /// From where the response is to come (RFC 5780 §7.2).
    ChangeRequest(ChangeRequest) CHANGE_REQUEST change_request = 0x0003 "CHANGE-REQUEST" change_request;
    /// Who asks (RFC 8489 §14.3).
    Username(&'a str) USERNAME username = 0x0006 "USERNAME" text;
    /// What was wrong (RFC 8489 §14.8).
    ErrorCode(ErrorCode<'a>) ERROR_CODE error_code = 0x0009 "ERROR-CODE" error_code;
    /// Which comprehension-required attributes were not understood (RFC 8489 §14.13).
    UnknownAttributes(UnknownAttributes<'a>) UNKNOWN_ATTRIBUTES unknown_attributes
        = 0x000a "UNKNOWN-ATTRIBUTES" unknown_attributes;
    /// Number of a channel (RFC 8656 §18.1); valid ones are 0x4000–0x4fff, which the reader checks.
    ChannelNumber(u16) CHANNEL_NUMBER channel_number = 0x000c "CHANNEL-NUMBER" u16_and_reserve;
    /// Seconds that an allocation lives without refresh (RFC 8656 §18.2).
    Lifetime(u32) LIFETIME lifetime = 0x000d "LIFETIME" u32;
    /// The peer's address (RFC 8656 §18.3).
    XorPeerAddress(SocketAddr) XOR_PEER_ADDRESS xor_peer_address = 0x0012 "XOR-PEER-ADDRESS" xor_address;
    /// What the peer's datagram holds (RFC 8656 §18.4).
    Data(&'a [u8]) DATA data = 0x0013 "DATA" bytes;
    /// Whose passwords count (RFC 8489 §14.9).
    Realm(&'a str) REALM realm = 0x0014 "REALM" text;
    /// What makes a replay fail (RFC 8489 §14.10).
    Nonce(&'a str) NONCE nonce = 0x0015 "NONCE" text;
    /// The address that the relay lends (RFC 8656 §18.5).
    XorRelayedAddress(SocketAddr) XOR_RELAYED_ADDRESS xor_relayed_address = 0x0016 "XOR-RELAYED-ADDRESS" xor_address;
    /// The family wanted of the relayed address (RFC 8656 §18.6).
    RequestedAddressFamily(AddressFamily) REQUESTED_ADDRESS_FAMILY requested_address_family
        = 0x0017 "REQUESTED-ADDRESS-FAMILY" family;
    /// The relayed port shall be even (RFC 8656 §18.7).
    EvenPort(EvenPort) EVEN_PORT even_port = 0x0018 "EVEN-PORT" even_port;
    /// The protocol between relay and peer, an IP protocol number: 17 UDP, 6 TCP (RFC 8656 §18.8, RFC 6062 §5.2).
    RequestedTransport(u8) REQUESTED_TRANSPORT requested_transport = 0x0019 "REQUESTED-TRANSPORT" transport;
    /// The relay shall set the DF bit (RFC 8656 §18.9).
    DontFragment(()) DONT_FRAGMENT dont_fragment = 0x001a "DONT-FRAGMENT" flag;
    /// A token of RFC 7635, unread.
    AccessToken(&'a [u8]) ACCESS_TOKEN access_token = 0x001b "ACCESS-TOKEN" bytes;
    /// How the key is made from the password (RFC 8489 §14.12).
    PasswordAlgorithm(PasswordAlgorithm<'a>) PASSWORD_ALGORITHM password_algorithm
        = 0x001d "PASSWORD-ALGORITHM" password_algorithm;
    /// SHA-256 of user name and realm, instead of the name (RFC 8489 §14.4).
    Userhash([u8; 32]) USERHASH userhash = 0x001e "USERHASH" array;
    /// The request's source address, XORed so that no NAT finds it (RFC 8489 §14.2).
    XorMappedAddress(SocketAddr) XOR_MAPPED_ADDRESS xor_mapped_address = 0x0020 "XOR-MAPPED-ADDRESS" xor_address;
    /// A port reserved by EVEN-PORT (RFC 8656 §18.10).
    ReservationToken([u8; 8]) RESERVATION_TOKEN reservation_token = 0x0022 "RESERVATION-TOKEN" array;
    /// Priority of the peer-reflexive candidate that the check would make (RFC 8445 §16.1).
    Priority(u32) PRIORITY priority = 0x0024 "PRIORITY" u32;
    /// The pair is nominated (RFC 8445 §16.1).
    UseCandidate(()) USE_CANDIDATE use_candidate = 0x0025 "USE-CANDIDATE" flag;
    /// Makes a message large (RFC 5780 §7.6).
    Padding(&'a [u8]) PADDING padding = 0x0026 "PADDING" bytes;
    /// The port to which the response shall go (RFC 5780 §7.5).
    ResponsePort(u16) RESPONSE_PORT response_port = 0x0027 "RESPONSE-PORT" u16_and_reserve;
    /// A TCP connection between relay and peer (RFC 6062 §6.2.1).
    ConnectionId(u32) CONNECTION_ID connection_id = 0x002a "CONNECTION-ID" u32;
    /// The family wanted of a second relayed address (RFC 8656 §18.11).
    AdditionalAddressFamily(AddressFamily) ADDITIONAL_ADDRESS_FAMILY additional_address_family
        = 0x8000 "ADDITIONAL-ADDRESS-FAMILY" family;
    /// Why there is no relayed address of this family (RFC 8656 §18.12).
    AddressErrorCode(AddressErrorCode<'a>) ADDRESS_ERROR_CODE address_error_code
        = 0x8001 "ADDRESS-ERROR-CODE" address_error_code;
    /// Which ways of making a key the server knows, best first (RFC 8489 §14.11).
    PasswordAlgorithms(PasswordAlgorithms<'a>) PASSWORD_ALGORITHMS password_algorithms
        = 0x8002 "PASSWORD-ALGORITHMS" password_algorithms;
    /// The name in the alternate server's certificate (RFC 8489 §14.16).
    AlternateDomain(&'a str) ALTERNATE_DOMAIN alternate_domain = 0x8003 "ALTERNATE-DOMAIN" domain;
    /// An ICMP error that the relay got from the peer's way (RFC 8656 §18.13).
    Icmp(Icmp) ICMP icmp = 0x8004 "ICMP" icmp;
    /// Who made the sender (RFC 8489 §14.14).
    Software(&'a str) SOFTWARE software = 0x8022 "SOFTWARE" text;
    /// Where to go instead (RFC 8489 §14.15).
    AlternateServer(SocketAddr) ALTERNATE_SERVER alternate_server = 0x8023 "ALTERNATE-SERVER" address;
    /// Which transmission this is of how many (RFC 7982 §3).
    TransmitCounter(TransmitCounter) TRANSACTION_TRANSMIT_COUNTER transmit_counter
        = 0x8025 "TRANSACTION_TRANSMIT_COUNTER" transmit_counter;
    /// Seconds for which a response may be cached (RFC 5780 §9.1, historic).
    CacheTimeout(u32) CACHE_TIMEOUT cache_timeout = 0x8027 "CACHE-TIMEOUT" u32;
    /// The sender is controlled; its tie-breaker (RFC 8445 §16.1).
    IceControlled(u64) ICE_CONTROLLED ice_controlled = 0x8029 "ICE-CONTROLLED" u64;
    /// The sender is controlling; its tie-breaker (RFC 8445 §16.1).
    IceControlling(u64) ICE_CONTROLLING ice_controlling = 0x802a "ICE-CONTROLLING" u64;
    /// From where the response was sent (RFC 5780 §7.3).
    ResponseOrigin(SocketAddr) RESPONSE_ORIGIN response_origin = 0x802b "RESPONSE-ORIGIN" address;
    /// The server's other address and port (RFC 5780 §7.4).
    OtherAddress(SocketAddr) OTHER_ADDRESS other_address = 0x802c "OTHER-ADDRESS" address;
    /// ECN counters (RFC 6679 §6.4), unread.
    EcnCheck(u32) ECN_CHECK ecn_check = 0x802d "ECN-CHECK STUN" u32;
    /// The name of an authorization server (RFC 7635 §6.1), unread.
    ThirdPartyAuthorization(&'a [u8]) THIRD_PARTY_AUTHORIZATION third_party_authorization
        = 0x802e "THIRD-PARTY-AUTHORIZATION" bytes;
    /// Moves an allocation to another address; empty in the request that asks for one (RFC 8016 §3).
    MobilityTicket(&'a [u8]) MOBILITY_TICKET mobility_ticket = 0x8030 "MOBILITY-TICKET" bytes;
}
