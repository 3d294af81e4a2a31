//! Accuracy on the official splits of public data sets: the median of three seeds.
//!
//! `cargo run --release -p edgectl --example accuracy` trains the jobs in `examples/` and prints a
//! table. With `--cv` it does not touch the test rows: it prints the accuracy of a five-fold
//! cross-validation on the training rows, which is what the jobs' options were chosen by. Names of
//! job files after that replace the usual four.

use std::io::Write;
use std::path::{Path, PathBuf};

use attn_core::Precision;
use edgectl::checkpoint::Checkpoint;
use edgectl::data::{Dataset, test_segments, train_segments};
use edgectl::evaluate::evaluate;
use edgectl::interrupt::Stop;
use edgectl::job::Job;
use edgectl::output::table;
use edgectl::run::Run;
use edgectl::training::{Silent, TrainOptions, train};
use rayon::prelude::*;

const JOBS: [&str; 4] = ["basicmotions", "gunpoint", "italypowerdemand", "japanesevowels"];
const SEEDS: [u64; 3] = [1, 2, 3];
const FOLDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cross_validate = arguments.iter().any(|a| a == "--cv");
    let mut jobs: Vec<PathBuf> =
        arguments.iter().filter(|a| *a != "--cv").map(PathBuf::from).collect();
    if jobs.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        jobs = JOBS.iter().map(|name| folder.join(format!("{name}.toml"))).collect();
    }
    let mut rows = Vec::new();
    for path in &jobs {
        let job = Job::read(path)?;
        let runs: Vec<(u64, Option<usize>)> = SEEDS
            .iter()
            .flat_map(|&seed| {
                let folds = if cross_validate { FOLDS } else { 1 };
                (0..folds).map(move |fold| (seed, cross_validate.then_some(fold)))
            })
            .collect();
        let results: Vec<f64> = runs
            .par_iter()
            .map(|&(seed, fold)| accuracy(&job, seed, fold))
            .collect::<anyhow::Result<_>>()?;
        let mut per_seed: Vec<f64> = results
            .chunks(results.len() / SEEDS.len())
            .map(|folds| folds.iter().sum::<f64>() / folds.len() as f64)
            .collect();
        let seeds: Vec<String> = per_seed.iter().map(|a| format!("{a:.4}")).collect();
        per_seed.sort_by(f64::total_cmp);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        rows.push([vec![name, format!("{:.4}", per_seed[1])], seeds].concat());
    }
    let what =
        if cross_validate { "five folds of the training rows" } else { "official test rows" };
    let header = ["job", "median accuracy", "seed 1", "seed 2", "seed 3"];
    writeln!(std::io::stdout(), "{what}\n\n{}", table(&header, &rows))?;
    Ok(())
}

/// Trains with a seed; accuracy on the test rows, or on a fold of the training rows.
fn accuracy(job: &Job, seed: u64, fold: Option<usize>) -> anyhow::Result<f64> {
    let mut job = job.clone();
    job.train.seed = seed;
    let dataset = Dataset::read(&job.data_paths(&[])?, &job.data, None)?;
    let all: Vec<usize> = (0..dataset.segments.len()).collect();
    let mut train_on = train_segments(&dataset, &all)?;
    let mut test_on = test_segments(&dataset, &all);
    if let Some(fold) = fold {
        (test_on, train_on) = fold_of(&dataset, &train_on, fold);
    }
    let start = Checkpoint::fresh(&Run::check(job, None)?, &dataset, &train_on)?;
    let options = TrainOptions {
        node: "accuracy",
        base: None,
        threads: 1,
        stop: Stop::never(),
        state: None,
        resume: false,
        variate: None,
        rounds: 1,
    };
    let (model, _) = train(start, &dataset, &train_on, options, &mut Silent)?;
    Ok(evaluate(&model, &dataset, &test_on, Precision::F32, 1)?.accuracy)
}

/// Every fifth series of each class, and the others.
fn fold_of(dataset: &Dataset, segments: &[usize], fold: usize) -> (Vec<usize>, Vec<usize>) {
    let mut seen = vec![0; dataset.classes.len() + 1];
    segments.iter().partition(|&&i| {
        let class = dataset.segments[i].labels.at(0).map_or(0, |c| c as usize + 1);
        seen[class] += 1;
        (seen[class] - 1) % FOLDS == fold
    })
}
