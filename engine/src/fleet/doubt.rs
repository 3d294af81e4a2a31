//! What nodes do not believe.

use std::collections::BTreeSet;

use super::member::NodeProgress;

/// What is not believed in a store is as good as not there: a node says so once, and waits on.
pub(super) struct Doubt<'a> {
    pub(super) progress: &'a dyn NodeProgress,
    pub(super) told: BTreeSet<String>,
}

impl Doubt<'_> {
    pub(super) fn or_none<T, E: Into<anyhow::Error>>(
        &mut self,
        found: Result<Option<T>, E>,
    ) -> anyhow::Result<Option<T>> {
        let error = match found {
            Ok(found) => return Ok(found),
            Err(error) => error.into(),
        };
        if !is_doubtful(&error) {
            return Err(error);
        }
        let problem = format!("{error:#}");
        if self.told.insert(problem.clone()) {
            self.progress.distrusts(&problem);
        }
        Ok(None)
    }
}

/// Whether somebody has changed, removed or put something in the store.
pub(super) fn is_doubtful(error: &anyhow::Error) -> bool {
    use rounds::Error::{Missing, Refused};
    let mut causes = error.chain().map(<dyn std::error::Error>::downcast_ref);
    causes.any(|cause| matches!(cause, Some(Refused { .. } | Missing { .. })))
}
