//! Processes that end with the test, and a folder where they meet.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::hashes::binary;
use crate::support::{JOB, federation, ok};

/// Processes that were started.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// No test takes so long, whatever else the machine does.
const LONGEST: Duration = Duration::from_mins(2);

/// A folder with a job, data of three nodes, keys and a roster.
pub(crate) struct Fleet(TempDir);

/// A running command.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Fleet {
    /// With lines at the end of the job.
    pub(crate) fn new(job: &str) -> Self {
        let folder = federation();
        let at = folder.path();
        fs::write(at.join("job.toml"), format!("{JOB}{job}")).expect("written");
        for name in ["keys", "store"] {
            fs::create_dir(at.join(name)).expect("a folder");
        }
        ok(at, &["keys", "new", "--out", "center.key"]);
        for node in 1..=3 {
            ok(at, &["keys", "new", "--out", &format!("keys/node_{node}.key")]);
        }
        ok(
            at,
            &[
                "keys",
                "roster",
                "keys/node_1.pub",
                "keys/node_2.pub",
                "keys/node_3.pub",
                "--out",
                "roster.toml",
            ],
        );
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Starts a command with `--json`.
    pub(crate) fn start(&self, args: &[String]) -> Process {
        let name = format!("{}-{:016x}", args[0], COUNT.fetch_add(1, Ordering::Relaxed));
        let (log, out) =
            (self.path().join(format!("{name}.log")), self.path().join(format!("{name}.json")));
        let child = Command::new(binary())
            .args(args)
            .args(["--json", "--threads", "1"])
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        Process { child, log, out }
    }
}

impl Process {
    /// Waits for its end, which must be a good one; what it reports.
    #[track_caller]
    pub(crate) fn ends_well(mut self) -> Value {
        let code = self.wait();
        assert_eq!(code, Some(0), "{}", self.said());
        let out = fs::read(&self.out).expect("a report");
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", self.said()))
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a process") {
                return status.code();
            }
            assert!(began.elapsed() < LONGEST, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a process").is_some()
    }

    /// What it said on stderr so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said something.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        let began = Instant::now();
        while !self.said().contains(text) {
            assert!(began.elapsed() < LONGEST, "it does not say {text:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// As by `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// As by `kill`.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().expect("kill").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// A center that begins the job of the folder.
pub(crate) fn center_args(more: &[&str]) -> Vec<String> {
    let args = [
        "center",
        "--store",
        "store",
        "--config",
        "job.toml",
        "--key",
        "center.key",
        "--roster",
        "roster.toml",
        "--poll",
        "20ms",
        "--out",
        "global.safetensors",
    ];
    owned(&[&args[..], more].concat())
}

/// A node, by its number.
pub(crate) fn node_args(node: u32, more: &[&str]) -> Vec<String> {
    let [key, data, models] = [
        format!("keys/node_{node}.key"),
        format!("data/node_{node}.csv"),
        format!("models/{node}"),
    ];
    // The center may not have made the folder yet, which it does.
    let args = [
        "node",
        "--store",
        "store",
        "--key",
        &key,
        "--center",
        "center.pub",
        "--data",
        &data,
        "--models",
        &models,
        "--poll",
        "20ms",
    ];
    owned(&[&args[..], more].concat())
}
