//! Who hears of a region's rounds, and what a region makes of a parent's store that somebody has changed.

use std::collections::BTreeSet;

use rounds::Work;

use super::center::CenterProgress;
use super::doubt::is_doubtful;

/// Hears how it goes.
pub trait RegionProgress: CenterProgress {
    /// Something in the parent's store is not what it should be, and is not believed.
    fn distrusts(&mut self, problem: &str);
    /// The region sends nothing in a round, and why.
    fn stays_away(&mut self, round: u32, problem: &str);
    /// The region sent its update.
    fn sent(&mut self, round: u32, nodes: usize, work: Work);
}

/// Who hears, and what was said.
pub(super) struct Ear<'a> {
    pub(super) progress: &'a mut dyn RegionProgress,
    told: BTreeSet<String>,
    /// Whether this process sent the update of the round.
    pub(super) sent: bool,
}

impl<'a> Ear<'a> {
    pub(super) fn new(progress: &'a mut dyn RegionProgress) -> Self {
        Self { progress, told: BTreeSet::new(), sent: false }
    }

    /// What is not believed in the parent's store is as good as not there: a region says so once, and waits on.
    pub(super) fn or_none<T, E: Into<anyhow::Error>>(
        &mut self,
        found: Result<Option<T>, E>,
    ) -> anyhow::Result<Option<T>> {
        match found.map_err(Into::into) {
            Err(error) if is_doubtful(&error) => {
                let problem = format!("{error:#}");
                if self.told.insert(problem.clone()) {
                    self.progress.distrusts(&problem);
                }
                Ok(None)
            }
            found => found,
        }
    }
}

/// What somebody has changed in the parent's store is a reason to stay away from a round, and nothing else is.
pub(super) fn doubt<T, E: Into<anyhow::Error>>(
    found: Result<T, E>,
) -> anyhow::Result<Result<T, String>> {
    match found.map_err(Into::into) {
        Ok(found) => Ok(Ok(found)),
        Err(error) if is_doubtful(&error) => Ok(Err(format!("{error:#}"))),
        Err(error) => Err(error),
    }
}
