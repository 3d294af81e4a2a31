//! Models made now have the tensor bytes of those that were recorded (see [`crate::hashes`]).

/// The jobs of `examples/` on a part of their data.
mod examples;
/// `aggregate`: every strategy, reducer and server step on trained updates.
mod merge;
/// `aggregate` on files of other programs.
mod other_files;
/// `simulate`: every rule over two rounds.
mod simulate;
/// `train`: every option.
mod train;

use std::fmt::Write;
use std::path::Path;

use tempfile::TempDir;

/// Small on purpose; nothing else may depend on it, as its models are in the table.
const JOB: &str = r#"
[data]
path = "data"
[window]
len = 20
stride = 10
[[preprocess]]
step = "impute"
method = "linear"
[[preprocess]]
step = "z-score"
[model]
patch_len = 4
d_model = 16
n_heads = 2
n_layers = 2
d_ff = 32
dropout = 0.1
[train]
epochs = 2
batch = 8
lr = 3e-3
schedule = { name = "cosine" }
[train.augment]
jitter = 0.05
scale = 0.1
shift = 3
[federation]
rounds = 2
"#;

/// A folder with `job.toml` and `data/node_1.csv` to `data/node_{n_nodes}.csv`.
fn federation(n_nodes: u32) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    write_job(folder.path(), "");
    for node in 1..=n_nodes {
        let path = folder.path().join(format!("data/node_{node}.csv"));
        std::fs::write(path, table(node)).expect("written");
    }
    folder
}

/// Writes `job.toml`: [`JOB`] with some keys replaced, given as `section.key = value` lines.
fn write_job(folder: &Path, changes: &str) {
    let mut job: toml::Table = JOB.parse().expect("a job");
    let changes: toml::Table = changes.parse().unwrap_or_else(|e| panic!("{changes}: {e}"));
    for (section, value) in changes {
        match (job.get_mut(&section), value) {
            // A window without a length needs one that is not there.
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) if section != "window" => {
                old.extend(new);
            }
            (_, value) => drop(job.insert(section, value)),
        }
    }
    let text = toml::to_string(&job).expect("a job");
    std::fs::write(folder.join("job.toml"), text).expect("written");
}

/// Four series of two kinds, slow and fast triangle waves with repeating noise, of fewer rows from
/// one to the next and more from node to node; the last 20 are for the test. One series has gaps.
fn table(node: u32) -> String {
    let mut text = "series,t,label,split,x,y\n".to_owned();
    for series in 0..4_u32 {
        let n_rows = 76 + 4 * node - 8 * series;
        let (label, speed) = if series % 2 == 0 { ("slow", 2) } else { ("fast", 7) };
        for t in 0..n_rows {
            let split = if t + 20 < n_rows { "train" } else { "test" };
            let wave = |phase: u32| f64::from((phase % 40).abs_diff(20)) / 10.0 - 1.0;
            let phase = speed * t + 13 * node + 7 * series;
            let noise = f64::from((t * 7919 + node * 31 + series * 17) % 23) / 40.0;
            let (x, y) = (wave(phase) + noise, 2.0 * wave(phase + 10) - noise);
            let y = if series == 1 && t % 50 == 30 { String::new() } else { format!("{y:.3}") };
            writeln!(text, "{series},{t},{label},{split},{x:.3},{y}").expect("written");
        }
    }
    text
}
