//! Every section and key of the configuration file: meaning, default and type, in one place.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::schema::section;
use super::value::{
    Durability, Everywhere, Hidden, JoinCalls, LogFormat, LogLevel, Loopback, Ports, Prefixes, RelayAddresses, Secrets,
    Transports,
};

section! {
    /// Whom this node serves.
    "domain" DomainConfig {
        /// The domain in the addresses of your users: `example.org` makes `sip:alice@example.org`.
        /// With the default, phones are set up with `sip:alice@localhost`.
        /// The realm of passwords is fixed when the node first starts: a later change keeps passwords valid.
        name: String = "localhost".to_owned(),
        /// Other names for the same domain.
        aliases: Vec<String> = Vec::new(),
        /// The host name by which phones reach this node over TLS, as in its certificate. Empty: the
        /// local address.
        public_name: Option<String> = None,
    }
}

section! {
    /// Where phones connect, always encrypted. A bare port means that port on every address, IPv4 and IPv6;
    /// [] switches a listener off.
    "listen" ListenConfig {
        /// SIP over TLS.
        tls: Everywhere = Everywhere::port(5061),
        /// HTTPS and WebSocket (path `/sip`). Unless you set it, the node falls back to 8443, and says so, where it
        /// may not or cannot have 443.
        https: Everywhere = Everywhere::port(443),
    }
}

section! {
    /// What the node proves its name with. Without files it makes an authority and certificates of its own
    /// (`farspeak ca` exports the authority for phones to trust).
    "certificate" CertificateConfig {
        /// PEM file with the certificate and its intermediates, leaf first. Read again on SIGHUP.
        chain: Option<PathBuf> = None,
        /// PEM file with the private key of `chain`.
        key: Option<PathBuf> = None,
        /// More names and addresses for the certificates that the node makes itself. Always in them: `localhost`, the
        /// name of this host, `domain.name`, its aliases, `domain.public_name`, and addresses listened on by number.
        names: Vec<String> = Vec::new(),
    }
}

section! {
    /// Listeners without encryption: anyone on the way reads and changes what passes. Off unless written down.
    /// A bare port means that port on 127.0.0.1 alone; write an address to reach further.
    "legacy" LegacyConfig {
        /// SIP over UDP.
        udp: Loopback = Loopback::default(),
        /// SIP over TCP.
        tcp: Loopback = Loopback::default(),
        /// SIP over WebSocket without TLS.
        ws: Loopback = Loopback::default(),
    }
}

section! {
    /// How long and how often users may be registered (RFC 3261 §10.3).
    "registrar" RegistrarSection {
        /// Shortest time a phone may ask for; less is answered 423.
        min_expires: Duration = Duration::from_secs(60),
        /// Time for a phone that asks for none.
        default_expires: Duration = Duration::from_secs(3600),
        /// Longest time; phones that ask for more get this.
        max_expires: Duration = Duration::from_secs(7200),
        /// Most phones of one user at a time.
        max_contacts: usize = 10,
    }
}

section! {
    /// How phones prove whose they are.
    "auth" AuthSection {
        /// Demand SHA-256 (RFC 8760) of every phone: true, or only of those that come by some listeners, such as
        /// ["tls", "wss"]; also "udp", "tcp" and "ws". Many phones in use know only MD5.
        sha256_only: Transports = Transports::default(),
        /// How long a challenge may be answered.
        nonce_lifetime: Duration = Duration::from_secs(300),
    }
}

section! {
    /// What is done about a source that keeps guessing passwords. A source is an IPv4 address or an IPv6 /64;
    /// phones behind it that are signed in are spared.
    "throttle" ThrottleSection {
        /// Failures that cost nothing.
        free_failures: u32 = 10,
        /// Failures from which that source gets no answer at all while it waits; before that it is told to wait.
        cut_off_failures: u32 = 25,
        /// Longest wait. It begins with 1s and doubles with each failure.
        max_penalty: Duration = Duration::from_secs(300),
        /// Time in which one failure is forgiven.
        heal: Duration = Duration::from_secs(30),
        /// Requests without password that a source may send at once; loopback is exempt.
        flood_burst: u32 = 1000,
        /// Requests without password that a source gets back each second.
        flood_rate: u32 = 50,
    }
}

section! {
    /// Bounds on what peers can make this node keep.
    "limits" LimitsSection {
        /// Longest message in bytes.
        max_message: usize = 65_535,
        /// Longest header part of a message in bytes.
        max_header_bytes: usize = 32_768,
        /// Most header fields of a message.
        max_headers: usize = 256,
        /// Most transactions of one shard at a time; new ones get 503.
        max_transactions: usize = 500_000,
        /// Most connections of one shard. Beyond it new ones are closed at once.
        max_connections: usize = 32_768,
        /// Most connections from one source to one shard; loopback is exempt.
        max_connections_per_source: usize = 1024,
        /// Most bytes that wait for one peer to read them. Beyond it that peer is cut off.
        write_queue: usize = 262_144,
    }
}

section! {
    /// How calls are passed on (RFC 3261 §16).
    "proxy" ProxySection {
        /// Most phones that one call rings.
        max_targets: usize = 16,
        /// How long phones ring before those of lower preference are tried.
        serial_ring: Duration = Duration::from_secs(30),
        /// Longest that a call rings in all (Timer C; the RFC wants more than three minutes).
        timer_c: Duration = Duration::from_secs(185),
        /// How often phones on UDP get an empty packet that keeps their NAT open; 0s never.
        udp_keep_alive: Duration = Duration::from_secs(25),
        /// Longest that a call or subscription may last.
        dialog_lifetime: Duration = Duration::from_hours(30 * 24),
    }
}

section! {
    /// Who is told what about users: where their phones are registered (RFC 3680), how they say they are (RFC 3856,
    /// RFC 3903), and who watches them (RFC 3857). What is said here is held in memory: after a restart phones subscribe
    /// and publish again.
    "events" EventsSection {
        /// Most subscriptions at a time; further ones are told to come later (503), as beyond the next three bounds.
        max_subscriptions: usize = 50_000,
        /// Most subscriptions to one user.
        max_per_watched: usize = 512,
        /// Most subscriptions of one user.
        max_per_subscriber: usize = 256,
        /// Most subscriptions over one connection.
        max_per_flow: usize = 1024,
        /// Shortest time of a subscription or publication; less is answered 423.
        min_expires: Duration = Duration::from_secs(60),
        /// Longest time; phones that ask for more get this.
        max_expires: Duration = Duration::from_secs(3600),
        /// Shortest time between two notifications of one subscription.
        notify_interval: Duration = Duration::from_secs(5),
        /// Names of users who may watch where everybody's phones are registered, such as an attendant console's. Each
        /// user may watch the user's own.
        registrations_to: Vec<String> = Vec::new(),
        /// Most publications of one user at a time: one a phone. One more takes the place of the stalest.
        max_publications: usize = 8,
        /// Longest published document in bytes; one user's have twice that together.
        max_publication: usize = 16_384,
        /// Most bytes of published documents in all; further ones get 503.
        max_published: usize = 67_108_864,
    }
}

section! {
    /// Which calls are joined by a back-to-back user agent instead of passed on by the proxy: each side sees this node
    /// alone in addresses, routes and names of the call's signalling. Sound still goes from phone to phone. A joined
    /// call cannot be changed any more after a restart of the node; one that was passed on can.
    "calls" CallsSection {
        /// `never`, `strangers`: those of callers who are not users here, or `always`.
        join: JoinCalls = JoinCalls::Never,
        /// Users whose calls are joined in any case, made or received.
        join_users: Vec<String> = Vec::new(),
    }
}

section! {
    /// STUN and TURN: tells clients behind NATs how they are seen from outside, and relays for those that find no direct
    /// path (RFC 8489, RFC 8656). Users of this node may relay with name and password; others need a credential from
    /// `farspeak turn credentials` or from a service that has the secret. Nobody reaches private networks through it, or
    /// this machine.
    "turn" TurnSection {
        /// Whether it runs.
        enabled: bool = true,
        /// UDP listeners. A bare port means that port on every address; [] switches a listener off. Unless you set them,
        /// a port that is taken is done without.
        udp: Everywhere = Everywhere::port(3478),
        /// TCP listeners.
        tcp: Everywhere = Everywhere::port(3478),
        /// TLS listeners, with the node's certificate.
        tls: Everywhere = Everywhere::port(5349),
        /// Serve STUN and TURN on the HTTPS port too: over TLS beside HTTPS, and over UDP. Many networks let nothing
        /// else out.
        share_https: bool = true,
        /// Addresses of this machine that relayed addresses are on, at most one of each family; behind a one-to-one NAT
        /// "10.0.0.5 as 203.0.113.5". [] takes those that lead outside.
        relay: RelayAddresses = RelayAddresses::default(),
        /// UDP ports of relayed addresses. A firewall has to let them in.
        ports: Ports = Ports(49152..=65535),
        /// Peers that may be reached although their address is private or otherwise special, such as ["10.1.0.0/16"]. An
        /// address of this machine has to be named itself.
        allow_peers: Prefixes = Prefixes::default(),
        /// Peers that may not be reached.
        deny_peers: Prefixes = Prefixes::default(),
        /// IPv6 prefixes that a NAT64 of your network translates, besides 64:ff9b::/96.
        nat64: Prefixes = Prefixes::default(),
        /// Secret of time-limited credentials, shared with a service that hands them out (coturn's static-auth-secret).
        /// At least 16 characters. Empty: the node makes its own at first start. While you replace one, ["the new one", "the
        /// old one"]: credentials are made with the first and taken from all.
        secret: Secrets = Secrets::default(),
        /// More accounts, each "name:password", for clients that know no other way. Their passwords stand in this file.
        users: Vec<Hidden> = Vec::new(),
        /// How long a credential from `farspeak turn credentials` or `/turn` may be used for something new.
        credential_lifetime: Duration = Duration::from_secs(3600),
        /// Longest time that any credential may still last, whoever made it; others are refused.
        max_credential_lifetime: Duration = Duration::from_hours(30 * 24),
        /// Web pages of other origins whose scripts may fetch `/turn`, with a user's name and password, such as
        /// ["https://phone.example.org"].
        web_origins: Vec<String> = Vec::new(),
        /// Most relayed addresses of one user.
        per_user: u32 = 64,
        /// Most relayed addresses of clients from one source: an IPv4 address or an IPv6 /56.
        per_source: u32 = 512,
        /// Most relayed addresses of one shard; 0 leaves STUN alone.
        max_allocations: usize = 100_000,
        /// Most bytes a second through one relayed address, both directions together; 0 sets no bound.
        bandwidth: u64 = 25_000_000,
        /// Longest time that a relayed address lasts without a word from its client; from ten minutes to a day.
        max_lifetime: Duration = Duration::from_secs(3600),
        /// Let clients keep their relayed address when their own changes (RFC 8016).
        mobility: bool = true,
        /// Let clients reach peers by TCP, and be reached (RFC 6062).
        tcp_relaying: bool = false,
        /// Most TCP connections to and from peers, on one shard.
        max_tcp_peers: usize = 10_000,
        /// Let clients bind channels 0x5000 to 0x7fff, which RFC 8656 has taken away: coturn's own tools before 4.16 choose
        /// any.
        old_channels: bool = false,
        /// Second address and port of this machine, for clients that find out what kind of NAT they are behind
        /// (RFC 5780), such as "192.0.2.2:3479".
        alternate: Option<SocketAddr> = None,
        /// Load balancers in front of the TCP and TLS listeners: connections from there begin with a PROXY header
        /// (version 2), and those alone.
        proxies: Prefixes = Prefixes::default(),
    }
}

section! {
    /// How the process runs.
    "node" NodeSection {
        /// Threads that handle messages; 0 takes one per core.
        shards: u8 = 0,
        /// Longest wait for transactions in flight when the node is told to stop.
        drain: Duration = Duration::from_secs(10),
    }
}

section! {
    /// Figures for your monitoring: GET /metrics and GET /health. Clear text and without password: keep it on
    /// loopback.
    "admin" AdminConfig {
        /// Where it listens. Empty switches it off.
        listen: Option<SocketAddr> = Some((Ipv4Addr::LOCALHOST, 9061).into()),
    }
}

section! {
    /// What is kept on disk.
    "store" StoreSection {
        /// What an answered registration survives: `process` the death of this program, `power` that of the machine.
        durability: Durability = Durability::Process,
    }
}

section! {
    /// What is written down about what happens, on standard error.
    "log" LogConfig {
        /// `human`, `json`, or `auto`: human on a terminal, JSON elsewhere.
        format: LogFormat = LogFormat::Auto,
        /// `error`, `warn`, `info`, `debug` or `trace`. Up to `debug`, no line tells who called whom.
        level: LogLevel = LogLevel::Info,
        /// File that gets every message in full, states and timers, for `farspeak ladder`. It holds who called whom: empty, it is off.
        ladder: Option<PathBuf> = None,
    }
}

section! {
    /// What makes this node weaker, for laboratories. `farspeak doctor` names every one that is on.
    "dangerous" DangerousConfig {
        /// Let anybody register and call as anybody, without a password. For load tests on an isolated network.
        no_authentication: bool = false,
        /// Write addresses of persons into the log instead of a mark that stands for them.
        addresses_in_log: bool = false,
    }
}
