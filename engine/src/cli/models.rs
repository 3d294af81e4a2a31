//! Arguments of the commands for the models of a node, and for what goes on in a store.

use std::path::PathBuf;

use clap::Args;

/// `edgectl status`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl status --store /srv/fed --center center.pub
  edgectl status models/01
  edgectl status state")]
pub struct StatusArgs {
    /// A node's folder of models, or the state of a run
    #[arg(value_name = "DIR", required_unless_present = "store", conflicts_with = "store")]
    pub models: Option<PathBuf>,
    #[cfg(feature = "store")]
    /// A store: its rounds, who sent what, and what became of it
    #[arg(long, value_name = "URL", requires = "center")]
    pub store: Option<String>,
    /// Certificates (PEM) of a private authority, beside those of the system
    #[arg(long, value_name = "FILE", requires = "store")]
    pub ca: Option<PathBuf>,
    /// The center's public key
    #[arg(long, value_name = "FILE.pub", requires = "store")]
    pub center: Option<PathBuf>,
    /// So many rounds, from the last one back
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub last: u32,
    /// Also write it as one page with curves per round and node, which needs nothing from elsewhere; replaces a plain file
    /// that is none of the inputs
    #[arg(long, value_name = "FILE.html", requires = "store")]
    pub html: Option<PathBuf>,
    /// Show it anew every second until all rounds are closed
    #[arg(long, requires = "store", conflicts_with = "json")]
    pub watch: bool,
}

/// `edgectl promote`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl promote state

A run on this folder sees it within its --watch. The model before answers beside the new one for a
while, and takes its place again if the new one is worse.")]
pub struct PromoteArgs {
    /// The state of a run
    #[arg(value_name = "DIR")]
    pub models: PathBuf,
}

/// `edgectl rollback`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl rollback models/01
  edgectl rollback state")]
pub struct RollbackArgs {
    /// The node's folder of models, or the state of a run, which sees it within its --watch
    #[arg(value_name = "DIR")]
    pub models: PathBuf,
}
