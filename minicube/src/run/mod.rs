//! What every stage's binary does around its work: arguments, configuration, logging, progress, manifest, summary,
//! exit code. Nothing outside this module prints.

mod args;
mod config;
mod context;
mod failure;
mod finish;

pub use args::{Args, Shard, Verb};
pub use config::{Buckets, Config, Project};
pub use context::{Ctx, Progress, main};
pub use failure::Failure;
pub use finish::{Finish, Run, human_bytes, human_seconds, peak_rss_bytes};
