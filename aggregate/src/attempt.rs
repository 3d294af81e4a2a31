//! One try to merge: plan, pass over all blocks, and the files that come of it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::basis::{Basis, Buckets};
use crate::blocks::{Block, pass_until, workers};
use crate::gram::{Gram, Origin, gram};
use crate::header::header_bytes;
use crate::lost::Lost;
use crate::mover::Mover;
use crate::outputs::{Destination, Finished, Outputs};
use crate::plan::{Plan, private_plan};
use crate::reduce::{Outcome, Scratch};
use crate::report::Metadata;
use crate::run::Run;
use crate::spent::Spent;
use crate::stack::Stack;
use crate::summary::About;
use crate::totals::Totals;
use crate::{Error, Options, Reason, Report};

/// Bytes of metadata there is room for, of its own, for each update and for each tensor: what a
/// caller may well have to say. If it has more, the data is moved once.
const ROOM: usize = 4096;
const ROOM_PER_UPDATE: usize = 512;
const ROOM_PER_TENSOR: usize = 192;

/// What came of a try to merge some updates.
pub(crate) enum Attempt {
    Done(Box<Report>, Finished),
    /// These updates turned out to be bad; nothing was written.
    Refused(Vec<(PathBuf, Reason)>),
    /// An update holds NaN or infinity, perhaps in this block; nothing was written.
    NotFinite(Block),
}

/// What came of the pass over all blocks.
enum Written {
    All {
        totals: Totals,
        /// What stacked adapters lost in their dtype.
        lost: Option<Lost>,
        buffer_bytes: usize,
        spent: Spent,
    },
    /// An update holds NaN or infinity in this block.
    NotFinite(Block),
    /// The result does not fit its dtype.
    OutOfRange(Error),
}

/// How much of the header to leave for metadata, which is known in the end: as much as the base has,
/// and what there may be to say of updates and tensors.
fn room_for_metadata(about: &About<'_>) -> usize {
    let Run { admission, cohort, .. } = *about.run;
    let base = cohort.base.map_or(0, |base| header_bytes(&[], base.file.metadata(), 0).len());
    let n_updates = admission.inputs.len() + admission.rejected.len();
    let names: usize = cohort.tensors.iter().map(|t| t.name.len() + ROOM_PER_TENSOR).sum();
    ROOM + base + ROOM_PER_UPDATE * n_updates + names
}

impl Run<'_> {
    /// Merges into the output, or finds out why not.
    pub(crate) fn attempt(
        &self,
        target: &Destination<'_>,
        metadata: &Metadata<'_>,
    ) -> Result<Attempt, Error> {
        let tensors = self.cohort.tensors;
        self.check_number()?;
        if let Some(private) = self.private {
            private.check(self.cohort.len())?;
        }
        let layout = self.layout();
        let merged: Vec<usize> = layout.iter().copied().filter(|&i| self.is_reduced(i)).collect();
        let Some((plan, gram)) = self.plan(&merged)? else {
            let tensor = merged.first().copied().unwrap_or(0);
            return Ok(Attempt::NotFinite(Block { tensor, start: 0, n_elements: 0 }));
        };
        let norms = gram.as_ref().map(Gram::norms);
        if let Some(refused) = norms.as_ref().and_then(|norms| self.far_norms(norms)) {
            return Ok(Attempt::Refused(refused));
        }
        let (mut privacy_state, mut privacy) = (None, None);
        if let (Some(private), Some(norms)) = (self.private, &norms) {
            let (state, report) = private.finish(norms)?;
            (privacy_state, privacy) = (Some(state), Some(report));
        }

        let rounds = privacy.map_or(1, |report| report.rounds);
        let step = target.state_out.map(|_| self.mover.map_or(rounds, Mover::step_number));
        let about = About { run: self, plan: &plan, layout: &layout, step, privacy };
        let spare = room_for_metadata(&about);
        let mut outputs = Outputs::create(&about, target, spare, privacy_state)?;
        let written = self.write(&plan, &layout, &mut outputs)?;
        let (totals, lost, buffer_bytes, mut spent) = match written {
            Written::All { totals, lost, buffer_bytes, spent } => {
                (totals, lost, buffer_bytes, spent)
            }
            Written::NotFinite(block) => return Ok(Attempt::NotFinite(block)),
            // One that moved too far is to blame, if there is one.
            Written::OutOfRange(error) => {
                if let Some(refused) = self.beyond_range(&error)? {
                    return Ok(Attempt::Refused(refused));
                }
                return self.far_updates()?.map(Attempt::Refused).ok_or(error);
            }
        };
        self.cohort.check_unchanged()?;
        if let Some(saved) = self.mover.and_then(|mover| mover.saved.as_ref()) {
            saved.check_unchanged()?;
        }
        if let Some((stack, lost)) = self.stack.zip(lost)
            && let Some(refused) = lost.check(stack, self.cohort, target.out)?
        {
            return Ok(Attempt::Refused(refused));
        }
        for moments in [&totals.moments, &totals.controls] {
            let norms: Vec<f64> = moments.iter().map(|m| m[0].sqrt()).collect();
            if let Some(refused) = self.far_norms(&norms) {
                return Ok(Attempt::Refused(refused));
            }
        }

        let summary = about.summary(&totals);
        let metadata = metadata(&summary)
            .map_err(|source| Error::Metadata { path: target.out.to_owned(), source })?;
        let (out_hash, finished, writing) = outputs.finish(&metadata, target)?;
        spent += writing;
        let report = Report {
            out: target.out.to_owned(),
            out_hash,
            state_out: target.state_out.map(Path::to_owned),
            summary,
            n_tensors: tensors.len() as u64,
            n_parameters: tensors.iter().map(|t| t.n_elements() as u64).sum(),
            bytes_read: 0,
            buffer_bytes: buffer_bytes as u64,
            spent,
        };
        Ok(Attempt::Done(Box::new(report), finished))
    }

    /// One pass over all blocks, written as they come.
    fn write(
        &self,
        plan: &Plan,
        layout: &[usize],
        outputs: &mut Outputs,
    ) -> Result<Written, Error> {
        let mut places = vec![0; layout.len()];
        for (place, &tensor) in layout.iter().enumerate() {
            places[tensor] = place;
        }
        let blocks = self.blocks(layout);
        let mut totals = Totals::new(self.cohort);
        let mut lost = self.stack.map(Stack::size).map(|(pairs, n)| Lost::new(pairs, n));
        let mut bad_block = None;
        let mut scratches = workers(Scratch::default);
        // Buffers of blocks that were written: new ones would be fetched from the system again and
        // again.
        let spare = Mutex::new(Vec::new());
        let done = pass_until(
            blocks.len(),
            &mut scratches,
            |scratch, i| {
                let bytes = spare.lock().ok().and_then(|mut spare| spare.pop()).unwrap_or_default();
                self.merge_block(plan, blocks.get(i), scratch, bytes)
            },
            |i, merged| {
                let block = blocks.get(i);
                if merged.outcome == Outcome::NotFinite {
                    bad_block = Some(block);
                    return Ok(ControlFlow::Break(()));
                }
                let factor = self.stack.and_then(|stack| stack.factor(block.tensor));
                if let Some((lost, (pair, is_up))) = lost.as_mut().zip(factor) {
                    lost.add(pair, is_up, &merged.lost);
                }
                totals.add(block, &merged, self.is_control(&self.cohort.tensors[block.tensor]));
                outputs.model.write(places[block.tensor], block.start, &merged.bytes)?;
                if let Some(state) = &mut outputs.state {
                    state.write(block, &merged.memory)?;
                }
                if let Ok(mut spare) = spare.lock() {
                    spare.push(merged.bytes);
                }
                Ok(ControlFlow::Continue(()))
            },
        );
        if let Some(block) = bad_block {
            return Ok(Written::NotFinite(block));
        }
        match done {
            Err(error @ Error::OutOfRange { .. }) => return Ok(Written::OutOfRange(error)),
            other => other?,
        }
        let buffer_bytes = scratches.iter().map(Scratch::n_bytes).sum();
        let mut spent = Spent::default();
        for scratch in &scratches {
            spent += scratch.result.spent;
        }
        Ok(Written::All { totals, lost, buffer_bytes, spent })
    }

    /// Checks what depends on how many updates there are, before they are read.
    fn check_number(&self) -> Result<(), Error> {
        let rules = &self.options.rules;
        let n = self.cohort.len();
        let n_groups = rules.bucket.map_or(n, |size| n.div_ceil(size));
        let parts = self.cohort.members.iter().any(|m| m.input.update.partial);
        rules.reduce.rule().check_number(n_groups, parts)
    }

    /// Makes the plan, with the passes that it takes; `None` if products are not finite.
    fn plan(&self, merged: &[usize]) -> Result<Option<(Plan, Option<Gram>)>, Error> {
        let cohort = self.cohort;
        let Options { rules, bucket_seed: seed, .. } = self.options;
        let rule = rules.reduce.rule();
        let weighted = rules.reduce.is_weighted();
        let buckets = rules.bucket.map(|size| Buckets { size, seed: *seed, weighted });
        if !rules.needs_gram() {
            let plan = rule.plan(&Basis::new(cohort, merged, None, buckets))?;
            return Ok(Some((plan, None)));
        }
        let mut products = gram(cohort, merged, Origin::Base)?;
        if !products.is_finite() {
            return Ok(None);
        }
        if cohort.base.is_none()
            && let Some(origin) = products.better_origin()
        {
            products = gram(cohort, merged, Origin::Member(origin))?;
        }
        let plan = match self.private {
            Some(round) => private_plan(&products, round),
            None => rule.plan(&Basis::new(cohort, merged, Some(&products), buckets))?,
        };
        Ok(Some((plan, Some(products))))
    }
}
