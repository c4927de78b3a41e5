//! The load generator against servers that follow a script, byte by byte.
#![cfg(test)]

mod client;
mod command;
mod run;
mod scripted;
mod serve;
mod sweep;
