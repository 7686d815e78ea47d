//! What a client is told before it begins.

use std::fmt;
use std::time::Duration;

use farspeak_stun::Schedule;
use farspeak_stun::attribute::{AddressFamily, EvenPort};

/// Which relayed addresses to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Families {
    /// Whatever the server gives without being asked: IPv4 (RFC 8656 §7.2).
    #[default]
    Any,
    /// One of this family (REQUESTED-ADDRESS-FAMILY, RFC 8656 §7.1).
    One(AddressFamily),
    /// One of each (ADDITIONAL-ADDRESS-FAMILY). A server that has only one says why in
    /// [`Allocated::missing`](super::Allocated::missing).
    Both,
}

impl Families {
    /// Whether an address of this family is what was asked for.
    pub(super) fn accept(self, family: AddressFamily) -> bool {
        match self {
            Self::Any | Self::Both => true,
            Self::One(wanted) => wanted == family,
        }
    }
}

/// How a client behaves.
#[derive(Clone)]
pub struct Config {
    /// Who asks. Default empty, which fits only a server that does not challenge.
    pub username: String,
    /// The password that goes with it; for time-limited credentials, what the service computed.
    pub password: String,
    /// Which relayed addresses to ask for. Default [`Families::Any`].
    pub families: Families,
    /// How long an allocation shall live without refresh. Default `None`: as long as the server likes, usually 600 s; it
    /// makes no less of it (RFC 8656 §7.2).
    pub lifetime: Option<Duration>,
    /// The relayed port shall be even, and perhaps its successor reserved; with `reserve_next`, [`Families::Both`] asks
    /// for IPv4 alone (RFC 8656 §7.1). Default `None`.
    pub even_port: Option<EvenPort>,
    /// Take the port that another allocation reserved. Families and `even_port` are not sent then (RFC 8656 §7.1).
    /// Default `None`.
    pub reservation: Option<[u8; 8]>,
    /// Ask the relay to set the DF bit on what goes to peers in Send indications. If the server does not know it, the
    /// client asks again without (RFC 8656 §7.4); [`Allocated::dont_fragment`](super::Allocated::dont_fragment) tells.
    /// Default false.
    pub dont_fragment: bool,
    /// Ask for relayed TCP instead of UDP (RFC 6062): connections instead of datagrams. The server must be spoken to by
    /// TCP or TLS; `even_port`, `reservation`, `dont_fragment` and `mobility` are not for it and not sent. Default false.
    pub streams: bool,
    /// Ask for a ticket with which the allocation survives a change of our address (RFC 8016). A server that forbids it
    /// (405) is asked again without; [`Allocated::mobile`](super::Allocated::mobile) tells. Default true.
    pub mobility: bool,
    /// When to send requests again and when to give up.
    pub schedule: Schedule,
    /// How long nothing may be sent over UDP before a Binding indication goes out to keep NATs on the way awake; with
    /// mobility, how often a Binding request asks whether the NAT has given us another address. Default 15 s (RFC 8445
    /// §11), at least 1 s; `None` leaves it to the owner's traffic.
    pub keep_alive: Option<Duration>,
    /// Most peers that may have a permission. Default 256: the candidates of several ICE sessions.
    pub peers: usize,
    /// Most channels, 4096 at most. Default 256. One that is no longer used counts until 5 minutes after it has expired
    /// (RFC 8656 §12).
    pub channels: usize,
    /// Most datagrams that wait for their peer's permission. Default 16; 0 refuses data until the permission is
    /// confirmed.
    pub queued: usize,
    /// Value of SOFTWARE in Allocate and Refresh requests. Default `None`. Deviation: RFC 8656 §5 would have it, but it
    /// tells everybody on the way what runs here.
    pub software: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            username: String::new(),
            password: String::new(),
            families: Families::default(),
            lifetime: None,
            even_port: None,
            reservation: None,
            dont_fragment: false,
            streams: false,
            mobility: true,
            schedule: Schedule::default(),
            keep_alive: Some(Duration::from_secs(15)),
            peers: 256,
            channels: 256,
            queued: 16,
            software: None,
        }
    }
}

impl Config {
    /// The default, for this user.
    pub fn for_user(username: &str, password: &str) -> Self {
        Self { username: username.to_owned(), password: password.to_owned(), ..Self::default() }
    }
}

impl fmt::Debug for Config {
    /// Without user name and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("families", &self.families)
            .field("lifetime", &self.lifetime)
            .field("even_port", &self.even_port)
            .field("dont_fragment", &self.dont_fragment)
            .field("mobility", &self.mobility)
            .finish_non_exhaustive()
    }
}
