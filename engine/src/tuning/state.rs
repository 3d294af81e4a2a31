//! What is known while a search goes on: who was tried, who is ahead.

use std::collections::HashSet;

use anyhow::Context;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::candidate::Candidate;
use super::gain::{Gain, mean, objective};
use super::ledger::Scores;
use super::plan::Search;
use super::propose::{known_to_help, propose};
use super::trials::Part;
use crate::interrupt::{Reason, Stop};

/// Parts of that by which the best are compared.
const FINAL_FOLDS: usize = 5;
/// Of a generation, one in so many is measured on all parts.
const THINNED: usize = 3;
/// Best candidates of which others are made.
const PARENTS: usize = 4;
/// Shares of the trials in each generation.
const GENERATIONS: [f64; 4] = [0.4, 0.2, 0.2, 0.2];
/// With fewer windows chance weighs more, and a training costs little: more parts decide.
const FEW_WINDOWS: usize = 600;

/// With fewer still.
const VERY_FEW_WINDOWS: usize = 200;
/// Parts of the cross-validation that candidates are chosen by.
const FOLDS: usize = 4;
/// Parts of a second one, where windows are very few.
const MORE_FOLDS: usize = 3;

/// All parts of a cross-validation.
fn parts(folds: usize, seed: u64) -> impl Iterator<Item = Part> {
    (0..folds).map(move |fold| Part { fold, folds, seed })
}

/// The parts that candidates are chosen by.
pub(super) fn choosing(windows: usize) -> Vec<Part> {
    let more = if windows < VERY_FEW_WINDOWS { MORE_FOLDS } else { 0 };
    parts(FOLDS, 0).chain(parts(more, 100)).collect()
}

/// A search on its way.
pub(super) struct State<'a> {
    pub(super) search: &'a Search<'a>,
    /// The parts that candidates are chosen by.
    pub(super) all: &'a [Part],
    /// All candidates, in order.
    pub(super) tried: Vec<Candidate>,
    /// Those measured on all parts.
    pub(super) whole: Vec<Candidate>,
}

impl State<'_> {
    /// Measures candidates on parts, part by part. A budget that is over is returned, a signal is an error.
    pub(super) fn measure(
        &self,
        candidates: &[Candidate],
        parts: &[Part],
        stop: Stop,
    ) -> anyhow::Result<Option<Reason>> {
        let tasks: Vec<(&Candidate, Part)> = parts
            .iter()
            .flat_map(|&part| candidates.iter().map(move |candidate| (candidate, part)))
            .collect();
        let done = |now| self.search.progress.measured(now);
        let stopped = self.search.trials.measure(&tasks, stop, &done)?;
        match stopped {
            Some(reason @ Reason::Signal(_)) => {
                Err(reason).context("what was measured is kept; go on with --resume")
            }
            other => Ok(other),
        }
    }

    /// Whether a candidate was trained on all these parts.
    pub(super) fn trained(&self, candidate: &Candidate, parts: &[Part]) -> bool {
        parts.iter().all(|&part| matches!(self.search.trials.found(candidate, part), Some(Ok(_))))
    }

    fn scores(&self, candidate: &Candidate, parts: &[Part]) -> Vec<Scores> {
        let of = |&part: &Part| self.search.trials.found(candidate, part)?.ok();
        parts.iter().filter_map(of).collect()
    }

    pub(super) fn mean(&self, candidate: &Candidate, parts: &[Part]) -> Scores {
        mean(&self.scores(candidate, parts))
    }

    /// What one gains over another on the same parts; of one that was not trained on all, nothing.
    pub(super) fn gain(&self, one: &Candidate, other: &Candidate, parts: &[Part]) -> Gain {
        let [one, other] = [one, other].map(|candidate| self.scores(candidate, parts));
        if one.len() != parts.len() || other.len() != parts.len() {
            return Gain::none();
        }
        // Of what is held out beside what trains, the mean over the parts.
        let share = parts.iter().map(|part| 1.0 / (part.folds as f64 - 1.0)).sum::<f64>();
        Gain::of(&one, &other, share / parts.len() as f64)
    }

    /// Runs the generations; false if the budget ended them.
    pub(super) fn generations(&mut self) -> anyhow::Result<bool> {
        let Search { trials, n_trials, windows, seed, until, progress, .. } = *self.search;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut known: HashSet<Candidate> = self.tried.iter().cloned().collect();
        let first_parts = if windows < FEW_WINDOWS { 2 } else { 1 };
        let mut planned = 1.0;
        for (number, share) in GENERATIONS.into_iter().enumerate() {
            planned += share * (n_trials - 1) as f64;
            let parents = if number == 0 { Vec::new() } else { self.ranked() };
            let parents = &parents[..parents.len().min(PARENTS)];
            let mut generation = Vec::new();
            let size = (planned.round() as usize).saturating_sub(self.tried.len());
            if number == 0 {
                for candidate in known_to_help(trials.space).into_iter().take(size.div_ceil(2)) {
                    if self.affordable(&candidate)
                        && trials.keeps_limits(&candidate)?
                        && known.insert(candidate.clone())
                    {
                        generation.push(candidate);
                    }
                }
            }
            while generation.len() < size {
                let allowed = |candidate: &Candidate| {
                    self.affordable(candidate) && trials.keeps_limits(candidate).unwrap_or(false)
                };
                let new = propose(trials.space, parents, &known, &mut rng, allowed);
                let Some(candidate) = new else { break };
                known.insert(candidate.clone());
                generation.push(candidate);
            }
            if generation.is_empty() {
                continue;
            }
            let (first, rest) = self.all.split_at(first_parts);
            let stopped = self.measure(&generation, first, until)?;
            self.tried.extend(generation.iter().cloned());
            if stopped.is_some() {
                return Ok(false);
            }
            generation.retain(|candidate| self.trained(candidate, first));
            self.rank(&mut generation, first);
            generation.truncate(generation.len().div_ceil(THINNED));
            let stopped = self.measure(&generation, rest, until)?;
            generation.retain(|candidate| self.trained(candidate, self.all));
            self.whole.append(&mut generation);
            if stopped.is_some() {
                return Ok(false);
            }
            if let Some(best) = self.ranked().first() {
                let Scores { accuracy, least_loss, .. } = self.mean(best, self.all);
                progress.note(&format!(
                    "{} of {n_trials} tried; best: accuracy {accuracy:.4}, loss {least_loss:.4} ({})",
                    self.tried.len(),
                    best.shown(trials.space)
                ));
            }
        }
        Ok(true)
    }

    /// Whether training takes at most about four times as long as that of the job.
    fn affordable(&self, candidate: &Candidate) -> bool {
        let Search { trials, .. } = self.search;
        let cost = |candidate: &Candidate| -> Option<f64> {
            let job = candidate.job(trials.space, trials.written, trials.job).ok()?;
            let model = &job.model;
            let window = job.window.len.unwrap_or(100) as f64;
            let tokens = (window / model.patch_len as f64).ceil();
            let (width, hidden) = (model.d_model as f64, model.d_ff as f64);
            let block = tokens * width * (4.0 * width + 2.0 * hidden + 2.0 * tokens);
            Some(
                block * model.n_layers as f64 * f64::from(job.train.epochs.of(self.search.windows)),
            )
        };
        match (cost(candidate), cost(&Candidate::default())) {
            (Some(own), Some(job)) => own <= 4.1 * job,
            _ => false,
        }
    }

    fn rank(&self, candidates: &mut [Candidate], parts: &[Part]) {
        // Of equals the one that changes less, then the one tried first.
        candidates.sort_by(|a, b| {
            let [one, other] = [a, b].map(|candidate| objective(self.mean(candidate, parts)));
            other.total_cmp(&one).then(a.chosen.len().cmp(&b.chosen.len()))
        });
    }

    /// Those measured on all parts, best first.
    pub(super) fn ranked(&self) -> Vec<Candidate> {
        let mut all = self.whole.clone();
        self.rank(&mut all, self.all);
        all
    }

    /// The best of those that a budget left no time to measure on all parts, if they were ahead of the job so far.
    pub(super) fn promising(&self, n: usize) -> Vec<Candidate> {
        let job = Candidate::default();
        let ahead = |candidate: &Candidate| {
            let known: Vec<Part> =
                self.all.iter().copied().filter(|part| self.trained(candidate, &[*part])).collect();
            let gain = self.gain(candidate, &job, &known).objective;
            (!known.is_empty() && gain > 0.0).then_some(gain)
        };
        let left = self.tried.iter().filter(|candidate| !self.whole.contains(candidate));
        let mut left: Vec<(f64, &Candidate)> =
            left.filter_map(|candidate| Some((ahead(candidate)?, candidate))).collect();
        left.sort_by(|a, b| b.0.total_cmp(&a.0));
        left.into_iter().take(n).map(|(_, candidate)| candidate.clone()).collect()
    }

    /// The parts of the comparison that all candidates could be measured on, and whether those are all.
    pub(super) fn compared(&self, candidates: &[Candidate]) -> anyhow::Result<(Vec<Part>, bool)> {
        let times = match self.search.windows {
            n if n < VERY_FEW_WINDOWS => 4,
            n if n < FEW_WINDOWS => 2,
            _ => 1,
        };
        let mut done = Vec::new();
        for part in (0..times).flat_map(|time| parts(FINAL_FOLDS + time, 1 + time as u64)) {
            if self.measure(candidates, &[part], self.search.end)?.is_some() {
                return Ok((done, false));
            }
            // Of the job alone nothing may be missing.
            if self.trained(&candidates[0], &[part]) {
                done.push(part);
            }
        }
        Ok((done, true))
    }

    /// What each changed setting of a candidate gains over the candidate without it.
    pub(super) fn taken_back(
        &self,
        candidate: &Candidate,
        parts: &[Part],
    ) -> anyhow::Result<(Vec<(usize, Gain)>, bool)> {
        let changed: Vec<usize> = candidate.chosen.keys().copied().collect();
        let without: Vec<Candidate> = changed.iter().map(|&d| candidate.without(d)).collect();
        let complete = self.measure(&without, parts, self.search.end)?.is_none();
        if !complete {
            return Ok((Vec::new(), false));
        }
        let gains =
            changed.into_iter().zip(&without).filter(|(_, other)| self.trained(other, parts));
        Ok((gains.map(|(d, other)| (d, self.gain(candidate, other, parts))).collect(), true))
    }

    /// How many candidates were measured on a part at least.
    pub(super) fn measured(&self) -> usize {
        let is = |candidate: &&Candidate| {
            self.all.iter().any(|&part| self.search.trials.found(candidate, part).is_some())
        };
        self.tried.iter().filter(is).count()
    }

    pub(super) fn failed(&self) -> Vec<(Candidate, String)> {
        let why = |candidate: &Candidate| {
            self.all.iter().find_map(|&part| self.search.trials.found(candidate, part)?.err())
        };
        self.tried
            .iter()
            .filter_map(|candidate| Some((candidate.clone(), why(candidate)?)))
            .collect()
    }
}
