//! The model of a closed round, for each node that finds it no worse than its own.

use std::path::Path;

use rounds::{Board, Memory, Outcome};

use super::member::{MOST_MODEL, Member, NodeOptions, NodeProgress, Reader, read_model};
use super::sound::check_answers;
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::data::{Dataset, train_segments};
use crate::evaluate::Answers;
use crate::models::{Denied, Deployed, MEMORY};
use crate::training::NodeWindows;

/// Gives the model of a round to each node that finds it no worse than its own.
pub(super) struct Deploy<'a> {
    pub(super) board: &'a Board<'a>,
    pub(super) outcome: &'a Outcome,
    pub(super) options: NodeOptions<'a>,
    pub(super) progress: &'a dyn NodeProgress,
    pub(super) work: &'a Path,
}

impl Deploy<'_> {
    pub(super) fn run(
        &self,
        members: &mut [Member],
        data: &mut Option<Dataset>,
        read: Reader<'_>,
    ) -> anyhow::Result<()> {
        let hash = self.outcome.model.hash.to_string();
        if !members.iter().any(|member| member.models.takes(&hash)) {
            return Ok(());
        }
        let bytes = self.board.blob(&self.outcome.model, MOST_MODEL)?;
        let (model, _) = read_model(&bytes, self.work)?;
        let dataset = match data {
            Some(dataset) => dataset,
            None => data.insert(read(&model, members)?),
        };
        for member in members.iter_mut().filter(|member| member.models.takes(&hash)) {
            self.member(member, (&model, &bytes), dataset)?;
        }
        Ok(())
    }

    fn member(
        &self,
        member: &mut Member,
        (model, bytes): (&Checkpoint, &[u8]),
        dataset: &Dataset,
    ) -> anyhow::Result<()> {
        let round = self.outcome.round;
        let file = member.models.path(MEMORY);
        if let Some(memory) = Memory::read(&file)? {
            memory.check_outcome(self.board, round, &file)?;
        }
        let live = member.models.deployment().live.clone();
        if live.as_ref().is_some_and(|live| live.round > round) {
            let problem = format!(
                "the store was taken back to round {round}: {} has a model of a later one",
                member.seat.node
            );
            self.progress.distrusts(&problem);
            return Ok(());
        }
        let live = live.map(|live| Checkpoint::read(&member.models.file(&live))).transpose()?;
        let own = |model: &Checkpoint| accuracy(model, member, dataset, self.options);
        let found = check_answers(model).and_then(|()| own(model));
        let worse = match (&found, &live) {
            (Err(error), _) => Some(format!("{error:#}")),
            (Ok(_), Some(live)) if !is_alike(model, live) => {
                // It could hold nothing out, and so pass any gate.
                Some("other classes, channels or validation than the live model has".to_owned())
            }
            (Ok(Some(found)), Some(live)) => {
                let (before, max) = (own(live)?, self.options.max_drop);
                before.zip(max).filter(|&(before, max)| drops(before, *found, max)).map(|(before, max)| format!(
                    "accuracy {found:.4} on what this node holds out, {before:.4} before: more than {max:.4} worse (--max-drop)"
                ))
            }
            _ => None,
        };
        let found = found.unwrap_or_default();
        let hash = self.outcome.model.hash.to_string();
        match worse.clone() {
            Some(reason) => member.models.refuse(Denied { hash, round, reason })?,
            None => member.models.install(bytes, Deployed { hash, round, accuracy: found })?,
        }
        self.progress.deployed(&member.seat.node, round, worse.as_deref());
        Ok(())
    }
}

/// Whether two models are of one job, as far as a node's own rows are concerned.
fn is_alike(model: &Checkpoint, live: &Checkpoint) -> bool {
    let of = |model: &Checkpoint| model.meta.run.train().validation;
    of(model) == of(live)
        && model.meta.classes == live.meta.classes
        && model.meta.channels == live.meta.channels
}

/// Whether an accuracy is worse than before by more than is allowed, also where it is not a number.
fn drops(before: f64, found: f64, max: f64) -> bool {
    let within = before - found <= max;
    !within
}

/// The share of right answers on what a node holds out of its training rows; none if its job holds out none.
fn accuracy(
    model: &Checkpoint,
    member: &Member,
    dataset: &Dataset,
    options: NodeOptions<'_>,
) -> anyhow::Result<Option<f64>> {
    if model.meta.run.train().validation.is_none() {
        return Ok(None);
    }
    let segments = train_segments(dataset, &member.segments)?;
    let mut own = model.clone();
    NodeValues::of_rows(&mut own.meta.preprocess, dataset, &segments, options.data)?;
    own.meta.temperature = None;
    let windows = NodeWindows::of(&own, &own.meta.preprocess, dataset, &segments)?;
    let Some(held_out) = windows.held_out else { return Ok(None) };
    let mut answers = Answers::default();
    answers.take(&own, &held_out, attn_core::Precision::F32, options.threads);
    Ok(Some(answers.metrics(&own.meta.classes)?.accuracy))
}
