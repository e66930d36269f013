//! `cargo xtask test`: everything that CI runs, cheapest first; stops at nothing, so that one run tells all.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::failure::fail;
use crate::workspace::{cargo, run as run_command};
use crate::{interop, pages, report, setup, tidy};

/// Flags of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these steps, in their usual order
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    steps: Vec<String>,
}

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// All steps. `configs` needs binaries and `interop` and `pages` read what `chain` made.
const STEPS: [Step; 11] = [
    Step { name: "format", run: || run_command(cargo().args(["fmt", "--all", "--check"]), "cargo fmt") },
    Step { name: "tidy", run: tidy::check },
    Step { name: "clippy", run: clippy },
    Step { name: "gpu", run: gpu },
    Step { name: "docs", run: docs },
    Step { name: "tests", run: tests },
    Step { name: "doctests", run: doctests },
    Step { name: "configs", run: crate::pipeline::check_shipped_configs },
    Step { name: "chain", run: || interop::small_chain().map(drop) },
    Step { name: "interop", run: || interop::check(&interop::small_chain_folder()?) },
    Step { name: "pages", run: || pages::check(&interop::small_chain_folder()?).map(drop) },
];

/// Runs `test`: exit 0 when every step passed, else 1.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(true)?;
    let chosen: Vec<_> =
        STEPS.iter().filter(|s| args.steps.is_empty() || args.steps.iter().any(|n| n == s.name)).collect();
    let mut failed = Vec::new();
    let mut rows = Vec::new();
    for step in &chosen {
        println!("── {}", step.name);
        let start = Instant::now();
        let outcome = (step.run)();
        if let Err(error) = &outcome {
            crate::failure::report(error);
            failed.push(step.name);
        }
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        rows.push(vec![
            step.name.to_string(),
            verdict.to_string(),
            report::seconds(start.elapsed().as_secs_f64()),
        ]);
    }
    println!();
    report::print_table(&["step", "result", "time"], &rows);
    println!("\nsteps: {} passed, {} failed", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let again = format!("cargo xtask test {}", failed.join(" "));
    crate::failure::report(&fail(
        format!("failed: {}", failed.join(", ")),
        format!("run them alone: {again}"),
    ));
    Ok(ExitCode::FAILURE)
}

fn clippy() -> Result<()> {
    run_command(
        cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
        "clippy",
    )
}

/// That the backends for GPUs compile; nothing is run.
fn gpu() -> Result<()> {
    for backend in ["wgpu", "cuda"] {
        let mut check = cargo();
        check.args(["check", "--package", "x5-dl", "--bins", "--locked", "--features", backend]);
        if backend == "cuda" {
            // What compiles kernels at run time fetches LLVM while it is built, but for documentation.
            check.env("DOCS_RS", "1");
        }
        run_command(&mut check, backend)?;
    }
    Ok(())
}

fn docs() -> Result<()> {
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings");
    run_command(&mut doc, "cargo doc")
}

/// nextest where it is installed, else cargo's own runner.
fn tests() -> Result<()> {
    let nextest = cargo()
        .args(["nextest", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if nextest.is_ok_and(|status| status.success()) {
        let arguments = ["nextest", "run", "--workspace", "--locked", "--no-fail-fast"];
        return run_command(cargo().args(arguments), "cargo nextest");
    }
    let arguments = ["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"];
    run_command(cargo().args(arguments), "cargo test")
}

fn doctests() -> Result<()> {
    let mut test: Command = cargo();
    run_command(test.args(["test", "--workspace", "--locked", "--doc", "--no-fail-fast"]), "cargo test --doc")
}
