//! The search: generations of candidates, each thinned out part by part, then a comparison of the best on parts
//! that chose none of them.
//!
//! Successive halving ([arXiv 1502.07943](https://arxiv.org/abs/1502.07943)) with parts of a cross-validation as what
//! is spent: all candidates of a generation are measured on the first parts, the best third on all. Later generations
//! are made of the best before them. What is proposed follows from the seed and from what was measured, which is the
//! same on any number of threads.

use anyhow::bail;
use serde::Serialize;

use super::candidate::Candidate;
use super::gain::Gain;
use super::ledger::Scores;
use super::plan::Search;
use super::state::{State, choosing};

/// Candidates beside the job in that comparison.
const FINALISTS: usize = 3;
/// A gain over the job of fewer standard errors is chance: parts of a cross-validation share rows, and the best of
/// several is taken.
const SURE: f64 = 1.5;
/// A gain over the job that is smaller is none, however sure it is.
const LEAST_GAIN: f64 = 0.002;

/// Whether a search ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// All was tried that was asked for.
    Done,
    /// The budget ended it while candidates were tried; those that were compared are as good as ever.
    WhileSearching,
    /// The budget ended it before the best were compared with the job on all parts.
    WhileComparing,
}

/// What was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// The best candidate.
    Best,
    /// The job as it was: nothing was better by more than chance.
    Job,
}

/// One of the best, on the parts of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Finalist {
    /// Which.
    pub candidate: Candidate,
    /// Its means.
    pub scores: Scores,
    /// What it gains over the job.
    pub gain: Gain,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Candidates that were tried.
    pub tried: usize,
    /// Of them those that could not be trained, with why.
    pub failed: Vec<(Candidate, String)>,
    /// Parts of the comparison that all were measured on.
    pub parts: usize,
    /// The job's means there, or while searching if nothing was compared.
    pub job: Scores,
    /// The job and the best, best first; the last row may be the winner with less changed.
    pub finalists: Vec<Finalist>,
    /// The settings to use.
    pub best: Candidate,
    /// Whether they are the job's.
    pub kept: Kept,
    /// For each changed dimension of the best, what it gains over the best without it; empty if there was no time.
    pub gains: Vec<(usize, Gain)>,
    /// How it ended.
    pub ended: Ended,
}

/// Searches.
///
/// # Errors
/// If the job itself cannot be trained or keeps not within the limits, what was found cannot be kept, or a signal
/// came.
pub fn search(search: &Search<'_>) -> anyhow::Result<Found> {
    let job = Candidate::default();
    let Search { trials, progress, .. } = search;
    let all = choosing(search.windows);
    let mut state = State { search, all: &all, tried: vec![job.clone()], whole: Vec::new() };
    let first = state.measure(std::slice::from_ref(&job), &all, search.end)?;
    if let Some(Err(why)) =
        all.iter().find_map(|&part| trials.found(&job, part).filter(Result::is_err))
    {
        bail!("the job itself cannot be trained on a part of its rows: {why}");
    }
    if first.is_some() {
        bail!("the time was over before the job itself was measured; give a larger --budget");
    }
    state.whole.push(job.clone());
    let ended = if state.generations()? { Ended::Done } else { Ended::WhileSearching };

    let mut best = state.ranked();
    best.retain(|candidate| *candidate != job);
    best.truncate(FINALISTS);
    best.extend(state.promising(FINALISTS - best.len()));
    progress.note(&format!("comparing the best {} with the job", best.len()));
    best.insert(0, job.clone());
    let (parts, complete) = state.compared(&best)?;
    let mut found = Found {
        tried: state.measured(),
        failed: state.failed(),
        parts: parts.len(),
        job: state.mean(&job, if parts.is_empty() { &all } else { &parts }),
        finalists: Vec::new(),
        best: job.clone(),
        kept: Kept::Job,
        gains: Vec::new(),
        ended: if complete { ended } else { Ended::WhileComparing },
    };
    if parts.len() < 2 {
        return Ok(found);
    }
    let finalist = |candidate: &Candidate| Finalist {
        candidate: candidate.clone(),
        scores: state.mean(candidate, &parts),
        gain: state.gain(candidate, &job, &parts),
    };
    found.finalists = best.iter().map(finalist).collect();
    found.finalists.sort_by(|a, b| b.gain.objective.total_cmp(&a.gain.objective));
    let winner = &found.finalists[0];
    let Gain { accuracy, objective, error, .. } = winner.gain;
    if winner.candidate == job || accuracy < 0.0 || objective <= (SURE * error).max(LEAST_GAIN) {
        return Ok(found);
    }
    (found.best, found.kept) = (winner.candidate.clone(), Kept::Best);
    progress.note(&format!(
        "taking back one setting after the other of: {}",
        found.best.shown(trials.space)
    ));
    let (gains, complete) = state.taken_back(&found.best, &parts)?;
    found.gains = gains;
    if !complete {
        found.ended = Ended::WhileComparing;
        return Ok(found);
    }
    // Settings that gained nothing are the job's again, if that is as good.
    let useless = found.gains.iter().filter(|(_, gain)| gain.objective <= 0.0).map(|(d, _)| *d);
    let fewer =
        useless.fold(found.best.clone(), |candidate, dimension| candidate.without(dimension));
    if fewer == found.best || fewer == job || !trials.keeps_limits(&fewer)? {
        return Ok(found);
    }
    if state.measure(std::slice::from_ref(&fewer), &parts, search.end)?.is_some() {
        found.ended = Ended::WhileComparing;
        return Ok(found);
    }
    if state.trained(&fewer, &parts) && state.gain(&fewer, &found.best, &parts).objective >= 0.0 {
        let (gains, complete) = state.taken_back(&fewer, &parts)?;
        if complete {
            let (scores, gain) = (state.mean(&fewer, &parts), state.gain(&fewer, &job, &parts));
            found.finalists.insert(0, Finalist { candidate: fewer.clone(), scores, gain });
            (found.best, found.gains) = (fewer, gains);
        } else {
            found.ended = Ended::WhileComparing;
        }
    }
    Ok(found)
}
