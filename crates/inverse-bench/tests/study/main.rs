//! A whole study from the command line: killed, shared by workers, damaged; and the exit codes of each command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod command;
mod damage;
mod exit_codes;
mod kills;
mod workers;
