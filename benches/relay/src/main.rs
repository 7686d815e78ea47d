//! Puts a load on a TURN relay and prints what it saw; the bare loops that a relay is measured against live here, too.
//!
//! Clients and peers are on one thread that never sleeps, so that a run needs one core beside the server's and nobody pays
//! for waking the generator. CPU is the run time of all threads of the server (`/proc/PID/task/*/schedstat`: what `utime` and
//! `stime` are made from, in nanoseconds) over the packets that arrived. The kernel's work for a packet on the loopback
//! interface is on the account of who sends it: the server pays for its way to the peer, the generator for that to the server.
//! Prints `RESULT {json}`.

mod client;
mod cycles;
mod floor;
mod forward;
mod hold;
mod lane;
mod process;
mod result;
mod socket;

use std::net::SocketAddrV4;

use clap::{Args, Parser, Subcommand, ValueEnum};

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Load generator and bare loops for TURN relays")]
struct Command {
    #[command(subcommand)]
    doing: Doing,
}

#[derive(Subcommand)]
enum Doing {
    /// A bare loop instead of a relay: no permissions, no credentials, no time.
    Floor {
        /// Where clients send to.
        #[arg(long)]
        listen: SocketAddrV4,
        /// Whole trains by GRO and GSO instead of one datagram at a time.
        #[arg(long)]
        trains: bool,
    },
    /// Packets through allocations: as many as the server can take, or at a rate.
    Forward(forward::Options),
    /// Allocations that are made and kept: memory.
    Hold(hold::Options),
    /// Allocate, refresh, release, over and over.
    Cycles(cycles::Options),
}

/// Who the server is.
#[derive(Args, Clone)]
struct Server {
    /// Where it listens for UDP.
    #[arg(long)]
    server: SocketAddrV4,
    /// Its process, whose CPU time and memory are counted.
    #[arg(long)]
    pid: u32,
    /// A user of it.
    #[arg(long, default_value = "user")]
    user: String,
    /// The user's password.
    #[arg(long, default_value = "pass")]
    password: String,
    /// What it is.
    #[arg(long, value_enum, default_value_t = Kind::Turn)]
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// RFC 8656.
    Turn,
    /// The bare loop of this program.
    Floor,
}

fn main() -> Result<(), Failure> {
    match Command::parse().doing {
        Doing::Floor { listen, trains } => floor::run(listen, trains)?,
        Doing::Forward(options) => forward::run(&options)?,
        Doing::Hold(options) => hold::run(&options)?,
        Doing::Cycles(options) => cycles::run(&options)?,
    }
    Ok(())
}
