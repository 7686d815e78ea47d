//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::exit;

/// A secure SIP node: phones register over TLS and call each other.
#[derive(Parser, Debug)]
#[command(
    name = "farspeak",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    before_help = "Examples:\n  farspeak serve                 start a node; nothing needs to be configured\n  \
                   farspeak user add alice        add a user and print what to paste into a phone\n  \
                   farspeak doctor                say what is weak, broken or unreachable",
    after_long_help = exit::TABLE
)]
pub struct Arguments {
    /// Where the node keeps its state [default: /var/lib/farspeak for root, else ~/.local/share/farspeak].
    #[arg(long, global = true, value_name = "DIR", env = "FARSPEAK_DATA")]
    pub data: Option<PathBuf>,
    /// The configuration [default: farspeak.toml in the data directory, if there].
    #[arg(long, global = true, value_name = "FILE", env = "FARSPEAK_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the node until it is told to stop (SIGTERM). SIGHUP reads configuration and certificates again.
    #[command(
        after_help = "Examples:\n  farspeak serve\n  farspeak serve --data /srv/farspeak --config /etc/farspeak.toml\n  \
                      farspeak serve --only turn     a STUN and TURN server and nothing else"
    )]
    Serve {
        /// Run this part alone.
        #[arg(long, value_name = "PART")]
        only: Option<Part>,
    },
    /// Add, list, change and remove users; at once if the node runs.
    User {
        /// What to do.
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Print the node's own certificate authority, for phones to trust.
    #[command(after_help = "Examples:\n  farspeak ca > ca.pem\n  farspeak ca --fingerprint")]
    Ca {
        /// Print only the SHA-256 fingerprint.
        #[arg(long)]
        fingerprint: bool,
    },
    /// Print, check and explain the configuration.
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// See who relays through the running node, end it, and make credentials for it.
    Turn {
        /// What to do.
        #[command(subcommand)]
        command: TurnCommand,
    },
    /// Say how the running node is.
    #[command(after_help = "Examples:\n  farspeak status\n  farspeak status --json")]
    Status,
    /// Make the running node read configuration and certificates again; a bad file changes nothing.
    #[command(after_help = "Examples:\n  farspeak reload")]
    Reload,
    /// Draw a call from the ladder log (`log.ladder` in the configuration).
    #[command(after_help = "Examples:\n  farspeak ladder                            list the calls in the log\n  \
                            farspeak ladder calls.jsonl --call 3c26     draw the call whose Call-ID begins so\n  \
                            farspeak ladder --call 3c26 --states        the same with states and timers")]
    Ladder {
        /// The log [default: what `log.ladder` names].
        file: Option<PathBuf>,
        /// The Call-ID, or its beginning.
        #[arg(long, value_name = "ID")]
        call: Option<String>,
        /// Draw every call.
        #[arg(long, conflicts_with = "call")]
        all: bool,
        /// Show also which states transactions entered and which timers fired.
        #[arg(long)]
        states: bool,
    },
    /// Say what this network is like for calls: translators, firewalls, router, and what that means.
    #[command(
        after_help = "Examples:\n  farspeak nat --server stun.example.org             all that one server can tell\n  \
                            farspeak nat --server a.example --server b.example  compare what two servers see\n  \
                            farspeak nat --server 192.0.2.1:3478 --json\n\n\
                            A server with two addresses (RFC 5780) tells most. Nobody is asked but the servers given and\n\
                            this network's own router, which opens a port for a moment and closes it again."
    )]
    Nat(NatOptions),
    /// Say what listens where, what is weak, what is broken and who holds a port that is taken.
    #[command(after_help = "Examples:\n  farspeak doctor\n  farspeak doctor --json")]
    Doctor,
}

/// Whom to ask about this network, and how long.
#[derive(clap::Args, Debug)]
pub struct NatOptions {
    /// A STUN server; may be given again [default: this node's own name, if it has one].
    #[arg(long = "server", value_name = "HOST[:PORT]")]
    pub servers: Vec<String>,
    /// Where the servers take TLS.
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub tls_port: u16,
    /// Longest wait for one answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub timeout: u64,
    /// Do not ask the router for a port.
    #[arg(long)]
    pub no_router: bool,
}

/// A part of the node that can run alone.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// STUN and TURN: neither SIP nor HTTPS.
    Turn,
}

/// What to do with users.
#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Add a user; prints the password once, and what to paste into baresip and Linphone.
    #[command(after_help = "Examples:\n  farspeak user add alice\n  farspeak user add reception --open-to strangers")]
    Add {
        /// The name: a-z, 0-9 and . - _ + inside it.
        name: String,
        /// Who may ring the user besides the users of this node.
        #[arg(long, value_name = "WHOM", default_value = "nobody")]
        open_to: OpenTo,
    },
    /// List the users.
    #[command(after_help = "Examples:\n  farspeak user list\n  farspeak user list --json")]
    List,
    /// Remove a user and end the user's registrations.
    #[command(after_help = "Examples:\n  farspeak user remove alice\n  farspeak user remove alice --yes")]
    Remove {
        /// The name.
        name: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Give a user a new password; the old one is void and phones must sign in again.
    #[command(after_help = "Examples:\n  farspeak user reset alice")]
    Reset {
        /// The name.
        name: String,
    },
    /// Change who may ring a user, and who may see whether the user is there.
    #[command(after_help = "Examples:\n  farspeak user set reception --open-to strangers\n  \
                            farspeak user set alice --open-to nobody\n  \
                            farspeak user set alice --presence-to bob,carol@example.org\n  \
                            farspeak user set alice --presence-to everybody-here")]
    Set {
        /// The name.
        name: String,
        /// Who may ring the user besides the users of this node.
        #[arg(long, value_name = "WHOM", required_unless_present = "presence_to")]
        open_to: Option<OpenTo>,
        /// Who may see the user's presence: users of this node, `everybody-here` or `nobody`. It takes the place of what
        /// was said before, at once.
        #[arg(long, value_name = "WHOM", value_delimiter = ',')]
        presence_to: Option<Vec<String>>,
    },
}

/// What to do with the STUN and TURN service.
#[derive(Subcommand, Debug)]
pub enum TurnCommand {
    /// Say how the service is, and how much each user has relayed.
    #[command(after_help = "Examples:\n  farspeak turn status\n  farspeak turn status --json")]
    Status,
    /// List the sessions: who relays, from where, by which address.
    #[command(after_help = "Examples:\n  farspeak turn sessions\n  farspeak turn sessions --json")]
    Sessions,
    /// End the sessions of a user, or one session by its `#id`.
    #[command(after_help = "Examples:\n  farspeak turn kick alice\n  farspeak turn kick '#1000000'")]
    Kick {
        /// The user, or the `#id` of a session.
        whom: String,
    },
    /// Make a time-limited credential, good for anything that speaks TURN.
    #[command(after_help = "Examples:\n  farspeak turn credentials\n  \
                            farspeak turn credentials --user guest --ttl 12h --json")]
    Credentials {
        /// For whom: bounds and reports count by this name.
        #[arg(long, value_name = "NAME", default_value = "guest")]
        user: String,
        /// How long it is good, such as 30m or 12h [default: turn.credential_lifetime].
        #[arg(long, value_name = "TIME")]
        ttl: Option<String>,
    },
}

/// Who may ring a user besides the users of the node.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenTo {
    /// Callers without an account here.
    Strangers,
    /// Nobody else.
    Nobody,
}

/// What to do with the configuration.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Print every key with its default and its meaning.
    #[command(after_help = "Examples:\n  farspeak config default > farspeak.toml")]
    Default,
    /// Check the configuration; silent if it is good.
    #[command(after_help = "Examples:\n  farspeak config check\n  farspeak config check --config new.toml")]
    Check,
    /// Print the values in force and where each comes from.
    #[command(after_help = "Examples:\n  farspeak config show\n  farspeak config show --json")]
    Show,
}
