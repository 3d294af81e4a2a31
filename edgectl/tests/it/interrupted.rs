//! Merges that are killed, or that the system refuses a write: the old file or the new one, whole.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aggregate::{TensorData, TensorRef, write_file};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::support::{bytes, fails, ok, snapshot};

/// The updates of every merge here.
const UPDATES: [&str; 4] = ["n1.safetensors", "n2.safetensors", "n3.safetensors", "n4.safetensors"];

/// A folder with a base and four updates, each of so many numbers in two tensors.
fn models(n_numbers: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "base.safetensors", n_numbers, 0.5);
    for (i, name) in UPDATES.into_iter().enumerate() {
        save(folder.path(), name, n_numbers, 1.0 + i as f32);
    }
    folder
}

fn save(folder: &Path, name: &str, n_numbers: usize, first: f32) {
    let values: Vec<f32> = (0..n_numbers).map(|i| first + (i % 1009) as f32 / 64.0).collect();
    let (a, b) = values.split_at(n_numbers / 3);
    let tensors = [
        TensorRef { name: "a", shape: &[a.len()], data: TensorData::F32(a) },
        TensorRef { name: "b", shape: &[b.len()], data: TensorData::F32(b) },
    ];
    write_file(folder.join(name), &tensors, &BTreeMap::new()).expect("written");
}

fn merge_args<'a>(out: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["aggregate", "--quiet"], &UPDATES[..], &["--out", out], rest].concat()
}

fn start(folder: &Path, args: &[&str]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("edgectl"))
        .current_dir(folder)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// Starts a run and kills it at a random moment of the time that it may take; whether that ended it.
fn start_and_kill(folder: &Path, args: &[&str], usual: Duration, random: &mut ChaCha8Rng) -> bool {
    let mut child = start(folder, args);
    std::thread::sleep(usual.mul_f64(random.random_range(0.0..1.2)));
    child.kill().expect("it can be killed");
    let status = child.wait().expect("it ends");
    assert!(status.success() || status.signal() == Some(9), "{status}");
    !status.success()
}

/// The longest of three runs.
fn usual_duration(folder: &Path, args: &[&str], prepare: impl Fn()) -> Duration {
    let time = |_| {
        prepare();
        let began = Instant::now();
        assert!(start(folder, args).wait().expect("it ends").success());
        began.elapsed()
    };
    (0..3).map(time).max().unwrap_or_default()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("readable");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(".edgectl-incomplete-")
}

#[test]
fn a_killed_merge_leaves_the_old_file_or_the_new_one() {
    let folder = models(1 << 21);
    let at = folder.path();
    let args = merge_args("out.safetensors", &["--base", "base.safetensors"]);
    ok(at, &args);
    let new = bytes(at, "out.safetensors");
    save(at, "old.safetensors", 1 << 21, 9.0);
    let old = bytes(at, "old.safetensors");
    let expected = names(at);
    let reset = || fs::write(at.join("out.safetensors"), &old).expect("written");
    let usual = usual_duration(at, &args, reset);

    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut n_old, mut n_new, mut n_torn) = (0, 0, 0);
    reset();
    for _ in 0..100 {
        start_and_kill(at, &args, usual, &mut random);
        let out = bytes(at, "out.safetensors");
        if out == old {
            n_old += 1;
        } else {
            assert!(out == new, "after {n_old} + {n_new} runs the output is neither old nor new");
            n_new += 1;
            reset();
        }
        let found = names(at);
        n_torn += usize::from(found.iter().any(|name| is_temporary(name)));
        let others: Vec<_> = found.into_iter().filter(|name| !is_temporary(name)).collect();
        assert_eq!(others, expected);
    }
    // Else no run was cut in the middle and nothing was shown.
    assert!(n_old > 10 && n_torn > 10, "{n_old} old, {n_new} new, {n_torn} with a part");

    ok(at, &args);
    assert!(bytes(at, "out.safetensors") == new, "another result than before");
    assert_eq!(names(at), expected, "what killed runs left is still there");
}

#[test]
fn a_killed_server_step_leaves_a_pair_that_goes_on_or_is_refused() {
    let folder = models(1 << 20);
    let at = folder.path();
    let (model, state) = ("base.safetensors", "base.safetensors.server");
    let args = merge_args(model, &["--base", model, "--strategy", "sgd"]);
    ok(at, &args);
    let old = [bytes(at, model), bytes(at, state)];
    ok(at, &args);
    let new = [bytes(at, model), bytes(at, state)];
    assert!(old[0] != new[0] && old[1] != new[1], "the second round changes nothing");
    let expected = names(at);
    let reset = || {
        fs::write(at.join(model), &old[0]).expect("written");
        fs::write(at.join(state), &old[1]).expect("written");
    };
    let usual = usual_duration(at, &args, reset);

    // The state takes its name just before the model: between the two it is ahead, never behind.
    let refused_until_the_state_is_deleted = || {
        fails(at, &args, &[state, "belongs to the model with hash", "delete the state"]);
        fs::remove_file(at.join(state)).expect("it is there");
        ok(at, &args);
        assert_eq!(names(at), expected);
    };
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (mut n_old, mut n_ahead, mut n_new) = (0, 0, 0);
    reset();
    for _ in 0..100 {
        start_and_kill(at, &args, usual, &mut random);
        let found = [bytes(at, model), bytes(at, state)];
        if found == old {
            n_old += 1;
            continue;
        } else if found == new {
            n_new += 1;
        } else {
            assert!(found[0] == old[0] && found[1] == new[1], "neither a round nor its beginning");
            refused_until_the_state_is_deleted();
            n_ahead += 1;
        }
        reset();
    }
    assert!(n_old > 10, "{n_old} old, {n_ahead} with the state ahead, {n_new} new");

    // No kill may have met that moment.
    reset();
    fs::write(at.join(state), &new[1]).expect("written");
    refused_until_the_state_is_deleted();

    reset();
    ok(at, &args);
    assert!([bytes(at, model), bytes(at, state)] == new, "another result than before");
    assert_eq!(names(at), expected, "what killed runs left is still there");
}

/// Asserts that a merge into `out` ends in one error that names it, and changes no file.
#[track_caller]
fn refuses_to_write(folder: &Path, command: &mut Command, out: &Path, advice: &str) {
    let before = snapshot(folder);
    let output = command.current_dir(folder).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "it printed a result");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in ["error: cannot write", &out.display().to_string(), advice] {
        assert!(stderr.contains(part), "\"{part}\" is missing in: {stderr}");
    }
    assert!(snapshot(folder) == before, "a file has changed");
}

#[test]
fn a_write_that_fails_in_the_middle_leaves_no_trace() {
    let folder = models(1 << 20);
    let out = folder.path().join("out.safetensors");
    fs::write(&out, "old").expect("written");
    // No file may be longer than 100 blocks of 512 or 1024 bytes.
    let limited = "ulimit -f 100; exec \"$0\" \"$@\"";
    let binary = assert_cmd::cargo::cargo_bin("edgectl");
    for rest in [&["--strategy", "fedavg"][..], &["--strategy", "sgd"]] {
        let base = [&["--base", "base.safetensors"], rest].concat();
        let mut command = Command::new("sh");
        command.args(["-c", limited]).arg(&binary).args(merge_args("out.safetensors", &base));
        refuses_to_write(folder.path(), &mut command, Path::new("out.safetensors"), "ulimit -f");
    }
}

/// A file system of its own, which goes with the value.
#[cfg(target_os = "linux")]
struct Disk(PathBuf);

#[cfg(target_os = "linux")]
impl Disk {
    /// `None` if this user may not mount.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir(folder).expect("a folder");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        let output = command.output().ok()?;
        output.status.success().then(|| Self(folder.to_owned()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_keeps_the_old_file() {
    use std::io::Write;

    let folder = models(1 << 20);
    let Some(disk) = Disk::mount(&folder.path().join("small"), "2M") else {
        let note =
            b"skipped: no small disk can be mounted; a limited file size is tested instead\n";
        let _ = std::io::stderr().write_all(note);
        return;
    };
    let out = Path::new("small/out.safetensors");
    fs::write(folder.path().join(out), "old").expect("written");
    let args = merge_args("small/out.safetensors", &["--base", "base.safetensors"]);
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("edgectl"));
    refuses_to_write(folder.path(), command.args(args), out, "free space");
    drop(disk);
}

#[test]
fn folders_that_cannot_be_written_and_inputs_that_are_missing_are_named() {
    let folder = models(1000);
    let at = folder.path();
    // The superuser writes everywhere, except where there is no file system to write to.
    if cfg!(target_os = "linux") {
        let out = "/proc/out.safetensors";
        fails(at, &merge_args(out, &[]), &[out, "cannot write into the folder"]);
    }
    fails(at, &merge_args("none/out.safetensors", &[]), &["none", "does not exist"]);
    let out = "out.safetensors";
    fails(at, &merge_args(out, &["--base", "none.safetensors"]), &["none.safetensors"]);
    fs::remove_file(at.join(UPDATES[2])).expect("it is there");
    fails(at, &merge_args(out, &[]), &[UPDATES[2], "no such update file"]);
    fails(at, &merge_args(out, &["--keep-going"]), &[UPDATES[2], "no such update file"]);
}
