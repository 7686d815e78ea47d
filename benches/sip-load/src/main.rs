//! Puts a load on a SIP server and prints what it saw: how much succeeded and how long it took, in microseconds.
//!
//! Both ends of every call live here, on one thread, so that a run needs one core beside the server's. The clock counts
//! nanoseconds and a delay is measured from the moment at which a call was *due*: a generator that falls behind shows it.
//! Talks to whoever started it by lines on standard output: `START` when the set-up is done and the load begins,
//! `RESULT {json}` when it is over.

mod calls;
mod digest;
mod endpoint;
mod idle;
mod message;
mod pace;
mod registrations;
mod result;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use endpoint::{Connector, Transport};

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Load generator for SIP servers")]
struct Command {
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// INVITE, 180, 200, ACK, BYE between phones that both live here.
    Calls(Options),
    /// One REGISTER each, every one a new user.
    Register(Options),
    /// REGISTER, 401, REGISTER with credentials; the users of `--users` in turn.
    Digest(Options),
    /// `--phones` connections that register once and then stay; ends when standard input does.
    Idle(Options),
}

#[derive(Args, Clone)]
struct Options {
    /// Where the server listens.
    #[arg(long)]
    server: SocketAddr,
    /// udp, tcp or tls.
    #[arg(long, default_value = "udp")]
    transport: Transport,
    /// The domain in addresses.
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// PEM file with the authority of a TLS server's certificate.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Operations begun in a second.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// How long operations are begun.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Sockets or connections on each side of a call, or that register.
    #[arg(long, default_value_t = 1)]
    phones: usize,
    /// File with `name password` on each line.
    #[arg(long)]
    users: Option<PathBuf>,
}

impl Options {
    fn total(&self) -> u64 {
        self.rate * self.seconds
    }

    /// How long to wait for stragglers: longer than a lost datagram's repetitions matter for the count.
    const PATIENCE: Duration = Duration::from_secs(3);
}

fn main() -> Result<(), Failure> {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(command.load))
}

async fn run(load: Load) -> Result<(), Failure> {
    let (Load::Calls(options) | Load::Register(options) | Load::Digest(options) | Load::Idle(options)) = &load;
    let connector = Connector::new(options.transport, options.server, &options.domain, options.ca.as_deref())?;
    match &load {
        Load::Calls(options) => calls::run(options, &connector).await,
        Load::Register(options) => registrations::run(options, &connector, Vec::new()).await,
        Load::Digest(options) => {
            let file = options.users.as_ref().ok_or("`digest` needs --users")?;
            let users = std::fs::read_to_string(file)?.lines().filter_map(digest::User::parse).collect::<Vec<_>>();
            registrations::run(options, &connector, users).await
        }
        Load::Idle(options) => idle::run(options, &connector).await,
    }
}
