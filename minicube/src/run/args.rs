//! The flags that every stage shares.

use std::path::PathBuf;
use std::str::FromStr;

/// Flags of every verb of every stage.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// The project's TOML file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Project folder; overrides `[project] dir`.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Do only the i-th of n parts (1/n … n/n); parts share nothing and need no lock.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Worker threads [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Say more; twice for debugging.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only errors and the summary.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The verbs that every data stage has.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Do the work; goes on where an interrupted run stopped, and does nothing where all is done.
    Run(Args),
    /// Check the configuration and print what would be done and what it costs.
    Plan(Args),
    /// Read back what was written and prove it.
    Verify(Args),
}

impl Verb {
    /// The flags.
    #[must_use]
    pub fn args(&self) -> &Args {
        match self {
            Verb::Run(args) | Verb::Plan(args) | Verb::Verify(args) => args,
        }
    }
}

/// One part of the work: every unit whose index is `index` modulo `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// 0-based part.
    pub index: usize,
    /// Number of parts.
    pub count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((i, n)) if (1..=n).contains(&i) => Ok(Shard { index: i - 1, count: n }),
            _ => Err(format!("expected i/n with 1 <= i <= n, found `{text}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_one() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 1, count: 3 }));
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
