//! Helpers: a small federation on disk, and runs of the command.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

/// A job small enough for a test, on data of three nodes with two classes that differ in speed.
pub(crate) const JOB: &str = r#"
[data]
path = "data"
[window]
len = 20
stride = 10
[[preprocess]]
step = "z-score"
[model]
patch_len = 4
d_model = 16
n_heads = 2
n_layers = 1
d_ff = 32
dropout = 0.1
[train]
epochs = 2
batch = 8
lr = 3e-3
schedule = { name = "cosine" }
[train.augment]
jitter = 0.05
shift = 3
[federation]
rounds = 3
server = { name = "sgd", lr = 1.0, momentum = 0.5 }
"#;

/// A folder with `job.toml` and `data/node_{1,2,3}.csv`.
pub(crate) fn federation() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    std::fs::write(folder.path().join("job.toml"), JOB).expect("written");
    for node in 1..=3 {
        let path = folder.path().join(format!("data/node_{node}.csv"));
        std::fs::write(path, table(node)).expect("written");
    }
    folder
}

/// Four series of 80 rows; the last quarter of each is for the test.
pub(crate) fn table(node: u32) -> String {
    let mut text = "series,t,label,split,x,y\n".to_owned();
    for series in 0..4_u32 {
        let (label, speed) = if series % 2 == 0 { ("slow", 0.2) } else { ("fast", 0.9) };
        for t in 0..80_u32 {
            let split = if t < 60 { "train" } else { "test" };
            let phase = speed * f64::from(t) + f64::from(node + series);
            let noise = f64::from((t * 7919 + node * 31 + series * 17) % 23) / 60.0;
            writeln!(
                text,
                "{series},{t},{label},{split},{:.3},{:.3}",
                phase.sin() + noise,
                phase.cos() * 2.0 - noise
            )
            .expect("written");
        }
    }
    text
}

/// The command in a folder.
pub(crate) fn edgectl(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("edgectl").expect("the binary is built");
    command.current_dir(folder).args(args);
    command
}

/// Runs the command, which must succeed; its stdout.
#[track_caller]
pub(crate) fn ok(folder: &Path, args: &[&str]) -> String {
    let output = edgectl(folder, args).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} failed: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs the command with `--json`, which must succeed and print one object.
#[track_caller]
pub(crate) fn json(folder: &Path, args: &[&str]) -> serde_json::Value {
    let stdout = ok(folder, &[args, &["--json"]].concat());
    assert_eq!(stdout.lines().count(), 1, "more than one line: {stdout}");
    serde_json::from_str(&stdout).expect("one JSON object")
}

/// The bytes of a file in a folder.
#[track_caller]
pub(crate) fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    let path: PathBuf = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The bytes of a weight file's values, without its header, which tells of the merge.
#[track_caller]
pub(crate) fn weights(folder: &Path, name: &str) -> Vec<u8> {
    let all = bytes(folder, name);
    let header_len = u64::from_le_bytes(all[..8].try_into().expect("8 bytes"));
    all[8 + header_len as usize..].to_vec()
}

/// Makes `global.safetensors` and `n1`, `n2`, `n3.safetensors` in a federation's folder.
#[track_caller]
pub(crate) fn trained(folder: &Path) {
    ok(folder, &["init", "--config", "job.toml", "--out", "global.safetensors"]);
    for node in 1..=3 {
        let (data, out) = (format!("data/node_{node}.csv"), format!("n{node}.safetensors"));
        ok(folder, &["train", "--init", "global.safetensors", "--data", &data, "--out", &out]);
    }
}

/// Runs the command, which must fail with code 1 or 2, print nothing on stdout and one message
/// with all `parts` on stderr, and leave the folder's files as they were.
#[track_caller]
pub(crate) fn fails(folder: &Path, args: &[&str], parts: &[&str]) {
    let before = snapshot(folder);
    let output = edgectl(folder, args).output().expect("it runs");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}: {:?} {stderr}", output.status);
    assert!(stdout.is_empty(), "{args:?} printed {stdout}");
    assert_eq!(stderr.matches("error: ").count(), 1, "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{args:?}: \"{part}\" is missing in: {stderr}");
    }
    assert_eq!(before, snapshot(folder), "{args:?} changed a file");
}

pub(crate) fn snapshot(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.push((path.clone(), std::fs::read(&path).expect("readable")));
        }
    }
    files.sort();
    files
}
