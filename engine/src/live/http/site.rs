//! What the server shows of a run, and what it may ask of it.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::guard::Guard;
use crate::checkpoint::Meta;
use crate::live::reply::Reply;
use crate::live::track::Plan;
use crate::live::ways::Ways;
use crate::live::web::Web;

/// What others may ask of a run. May wait for the run, but the run never for it.
pub(crate) trait Desk: Send + Sync + Debug {
    /// Where windows go.
    fn ways(&self) -> Ways<'_>;

    /// Takes lines as a source of its own; what becomes of them is told in the reply. With `ends`, the series of this
    /// source end with them.
    fn lines(&self, lines: &[u8], ends: bool, reply: &Arc<Reply>) -> anyhow::Result<()>;

    /// Series that run.
    fn series(&self) -> usize;
}

/// All that the server knows.
#[derive(Debug)]
pub(crate) struct Site {
    /// The run.
    pub(super) desk: Arc<dyn Desk>,
    /// What the model is called.
    pub(super) name: String,
    /// The classes' names.
    pub(super) classes: Vec<String>,
    /// The channels' names.
    pub(super) channels: Vec<String>,
    /// How series are cut.
    pub(super) plan: Plan,
    /// How long an answer may take.
    pub(super) deadline: Option<Duration>,
    /// The folder of models, if there is one.
    pub(super) state: Option<PathBuf>,
    /// Who may do what.
    pub(super) guard: Guard,
}

impl Site {
    /// Of a run that answers with a model, seen at an address.
    pub(crate) fn new(
        desk: Arc<dyn Desk>,
        meta: &Meta,
        plan: Plan,
        deadline: Option<Duration>,
        (web, at): (Web, SocketAddr),
    ) -> Self {
        let Web { token, name, state, .. } = web;
        let (classes, channels) = (meta.classes.clone(), meta.channels.clone());
        let guard = Guard::new(at, token);
        Self { desk, name, classes, channels, plan, deadline, state, guard }
    }
}
