//! `pd-launcher`: starts pd-proxy and its nodes, watches them, and leaves nothing behind.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`cli`] | what was typed |
//! | [`demo`] | the whole system on one machine without a GPU, as a story of a minute |
//! | [`supervise`] | a set of children: their starts, their deaths, their end |
//! | [`child`] | one child process, from the supervisor's side |
//! | [`tether`] | the same from the child's side: how it dies with its supervisor |
//! | [`embedded`] | the programs that this binary carries and runs as its own children |
//! | [`command`] | the command lines of those children |
//! | [`probe`] | whether a child answers yet |
//! | [`ports`] | free ports, found and kept |
//! | [`logs`] | where children write, and the last of what they wrote |
//! | [`signals`] | what ends the launcher from outside |
//! | [`terminal`] | what a person sees |
//! | [`exit`] | what a script sees |

mod child;
mod cli;
mod command;
mod demo;
mod embedded;
mod exit;
mod logs;
mod ports;
mod probe;
mod signals;
mod supervise;
mod terminal;
mod tether;

use std::process::ExitCode;

/// The embedded proxy allocates per request; the system's allocator would be felt.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match embedded::requested(std::env::args_os()) {
        Some(child) => child.run(),
        None => cli::main(std::env::args_os()),
    }
}
