//! The `farspeak` command: runs a node, and looks after its users, certificates, configuration and logs.
//!
//! Results go to standard output, everything else to standard error. [`exit`] lists the exit codes.

mod args;
mod ca;
mod config;
mod doctor;
mod exit;
mod ladder;
mod nat;
mod output;
mod phones;
mod place;
mod serve;
mod status;
mod turn;
mod user;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command, Part};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let place = place::Place::new(&arguments);
    let json = arguments.json;
    let result = match arguments.command {
        Command::Serve { only } => serve::run(&place, json, only == Some(Part::Turn)),
        Command::User { command } => user::run(&place, json, command),
        Command::Ca { fingerprint } => ca::run(&place, json, fingerprint),
        Command::Config { command } => config::run(&place, json, command),
        Command::Turn { command } => turn::run(&place, json, command),
        Command::Status => status::status(&place, json),
        Command::Reload => status::reload(&place, json),
        Command::Ladder { file, call, all, states } => {
            ladder::run(&place, json, file, ladder::Show { call: call.as_deref(), all, states })
        }
        Command::Nat(options) => nat::run(&place, json, &options),
        Command::Doctor => doctor::run(&place, json),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            output::complain(&error, json);
            error.exit.into()
        }
    }
}
