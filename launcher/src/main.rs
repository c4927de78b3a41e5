//! `pd-launcher`: starts pd-proxy and its nodes, watches them, and leaves nothing behind.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`cli`] | what was typed |
//! | [`settings`] | what the stack shall be, and where each setting came from |
//! | [`connector`] | which vLLM can do what, and what it needs |
//! | [`plan`] | nodes, GPUs and ports |
//! | [`up`] | a stack in place of the testbed's script |
//! | [`demo`] | the whole system on one machine without a GPU, as a story of a minute |
//! | [`supervise`] | a set of children: their starts, their deaths, their end |
//! | [`child`] | one child process, from the supervisor's side |
//! | [`tether`] | the same from the child's side: how it dies with its supervisor |
//! | [`guard`] | between the supervisor and a program that may start others |
//! | [`descendants`] | everything that a process has started, and its end |
//! | [`installed`] | the vLLM that is installed, and its version |
//! | [`embedded`] | the programs that this binary carries and runs as its own children |
//! | [`command`] | the command lines and environments of the children |
//! | [`probe`] | whether a child answers yet |
//! | [`ports`] | free ports, found and kept |
//! | [`logs`] | where children write, and the last of what they wrote |
//! | [`signals`] | what ends the launcher from outside |
//! | [`terminal`] | what a person sees |
//! | [`exit`] | what a script sees |

mod child;
mod cli;
mod command;
mod connector;
mod demo;
mod descendants;
mod embedded;
mod exit;
mod guard;
mod installed;
mod logs;
mod plan;
mod ports;
mod probe;
mod settings;
mod signals;
mod supervise;
mod terminal;
mod tether;
mod up;

use std::process::ExitCode;

/// The embedded proxy allocates per request; the system's allocator would be felt.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(step) = guard::requested(std::env::args_os()) {
        return step.run();
    }
    match embedded::requested(std::env::args_os()) {
        Some(child) => child.run(),
        None => cli::main(std::env::args_os()),
    }
}
