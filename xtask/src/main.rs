//! Automation of the workspace: `cargo xtask <setup|demo|pipeline|test|bench|tidy>`, one file a command.
//!
//! Avoid adding dependencies to this crate: `cargo xtask` has to start on a machine that has nothing but rustup
//! and a C linker. It runs the stage binaries, never links them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its user")]

mod bench;
mod chain;
mod child;
mod demo;
mod failure;
mod index;
mod interop;
mod pages;
mod pipeline;
mod python;
mod report;
mod setup;
mod skill;
mod state;
mod test;
mod tidy;
mod workspace;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation of the minicube workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find the system libraries that are missing and install them (apt), or say how to
    Setup(setup::Args),
    /// The whole chain on a synthetic Earth: two regions, from places to explanations
    Demo(demo::Args),
    /// The chain for any project file: every stage whose section is present
    Pipeline(pipeline::Args),
    /// Everything that CI runs
    Test(test::Args),
    /// Measure against peers, side by side on this machine
    Bench(bench::Args),
    /// Check the architecture's invariants
    Tidy(tidy::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Pipeline(args) => pipeline::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Tidy(args) => tidy::run(&args),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}
