//! Allocations that are made and kept: what one takes of the server's memory.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::Client;
use crate::{Failure, Server, process, result};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    server: Server,
    #[arg(long, default_value_t = 10_000)]
    count: u32,
}

/// Below the ports that the system gives out by itself.
const FIRST_PORT: u16 = 20_000;

pub fn run(options: &Options) -> Result<(), Failure> {
    // Whatever the server makes once is not counted.
    for number in 0..10 {
        Client::allocate(&options.server, SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), FIRST_PORT + number))?;
    }
    let before = process::memory(options.server.pid)?;
    let (cpu, began) = (process::cpu_us(options.server.pid)?, Instant::now());
    for number in 0..options.count {
        // The client's socket may go: the server cannot know. No two come from the same address and port, and no prefix
        // has so many that its share of challenges is used up.
        let address = Ipv4Addr::new(127, 1, (number % 250) as u8, 1);
        Client::allocate(&options.server, SocketAddrV4::new(address, FIRST_PORT + (number / 250) as u16))?;
    }
    let (cpu, took) = (process::cpu_us(options.server.pid)? - cpu, began.elapsed().as_secs_f64());
    sleep(Duration::from_secs(1));
    let grown = process::memory(options.server.pid)? - before;
    result::print(&[
        ("bytes_each", grown / f64::from(options.count)),
        ("before_mb", before / 1e6),
        ("allocations_per_s", f64::from(options.count) / took),
        ("us_per_allocation", cpu / f64::from(options.count)),
    ]);
    Ok(())
}
