//! A committed table of hashes, by kind of machine: which bytes a job gave when it was recorded.
//!
//! Only tensors are hashed: name, dtype, shape and values, in the order of names. What stands in
//! the metadata may change. Matrix products sum in another order where vectors are wider, and the
//! functions of the system's mathematical library may round otherwise, so that each kind of machine
//! has a section of its own; one without a section skips these tests and says so.
//!
//! `UPDATE_HASHES=1 cargo test -p edgectl --test it -- same_bytes:: format1` records the machine it
//! runs on. `EDGECTL_BINARY` names another binary than the one just built.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use serde_json::Value;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tensor_hashes.txt");

const HEADER: &str = "\
# Hashes (BLAKE3, the first 16 bytes) of the tensors of models, of which the metadata is no part.
# tests/it/same_bytes and tests/it/format1.rs make the models again and compare; a section is a kind
# of machine, and one without a section is not compared.
#
# A hash here is a promise: the same job gives the same bits. Whoever changes one does so in a commit
# that names the cause. Written by
#   UPDATE_HASHES=1 cargo test -p edgectl --test it -- same_bytes:: format1
# tests/golden/README.md says how the sections of other machines are made on this one.
";

/// One test writes the table at a time.
static WRITING: Mutex<()> = Mutex::new(());

/// What one test found, to be compared with the rows of the table that begin with its name.
pub(crate) struct Hashes {
    group: &'static str,
    expected: BTreeMap<String, String>,
    found: BTreeMap<String, String>,
}

impl Hashes {
    /// The rows of a group for this machine; `None`, and a line on stderr, if it has none at all.
    pub(crate) fn of(group: &'static str) -> Option<Self> {
        let machine = machine();
        let mut sections = read_table();
        let Some(section) = sections.remove(&machine).or_else(|| updating().then(BTreeMap::new))
        else {
            let note = format!("skipped: tensor_hashes.txt has no section [{machine}] ({group})\n");
            let _ = std::io::stderr().write_all(note.as_bytes());
            return None;
        };
        let expected = section.into_iter().filter(|(name, _)| is_of(name, group)).collect();
        Some(Self { group, expected, found: BTreeMap::new() })
    }

    /// Adds the tensors of a weight file.
    #[track_caller]
    pub(crate) fn model(&mut self, name: &str, path: &Path) {
        self.bytes(name, &tensors(path));
    }

    /// Adds bytes as they are.
    #[track_caller]
    pub(crate) fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let hash = blake3::hash(bytes).to_hex()[..32].to_owned();
        let name = format!("{}/{}", self.group, name.replace(' ', "_"));
        assert!(self.found.insert(name.clone(), hash).is_none(), "{name} stands twice");
    }

    /// Compares everything at once, so that one run shows all that changed.
    #[track_caller]
    pub(crate) fn check(self) {
        if updating() {
            return self.record();
        }
        let mut wrong = String::new();
        for (name, hash) in &self.found {
            match self.expected.get(name) {
                Some(expected) if expected == hash => {}
                Some(expected) => {
                    writeln!(wrong, "  {name}: {hash}, expected {expected}").expect("text");
                }
                None => writeln!(wrong, "  {name}: {hash} is not in the table").expect("text"),
            }
        }
        for name in self.expected.keys().filter(|name| !self.found.contains_key(*name)) {
            writeln!(wrong, "  {name}: in the table, but not made").expect("text");
        }
        assert!(
            wrong.is_empty(),
            "{} models are not those of tests/golden/tensor_hashes.txt [{}]:\n{wrong}If that is \
             on purpose, record them with UPDATE_HASHES=1 and name the cause in the commit",
            wrong.lines().count(),
            machine(),
        );
    }

    fn record(self) {
        let _guard = WRITING.lock();
        let mut sections = read_table();
        let section = sections.entry(machine()).or_default();
        section.retain(|name, _| !is_of(name, self.group));
        section.extend(self.found);
        let mut text = HEADER.to_owned();
        for (machine, rows) in sections {
            writeln!(text, "\n[{machine}]").expect("text");
            for (name, hash) in rows {
                writeln!(text, "{hash}  {name}").expect("text");
            }
        }
        std::fs::write(TABLE, text).expect("the table can be written");
    }
}

fn is_of(name: &str, group: &str) -> bool {
    name.strip_prefix(group).is_some_and(|rest| rest.starts_with('/'))
}

fn updating() -> bool {
    std::env::var_os("UPDATE_HASHES").is_some_and(|value| value == "1")
}

/// Rows by section.
fn read_table() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = std::fs::read_to_string(TABLE).unwrap_or_default();
    let mut sections = BTreeMap::new();
    let mut rows: &mut BTreeMap<_, _> = sections.entry(String::new()).or_default();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            rows = sections.entry(name.to_owned()).or_default();
        } else {
            let (hash, name) = line.split_once("  ").unwrap_or_else(|| panic!("{TABLE}: {line:?}"));
            rows.insert(name.to_owned(), hash.to_owned());
        }
    }
    sections.remove("");
    sections
}

/// What the bits depend on besides job, data and seed.
pub(crate) fn machine() -> String {
    let library = mathematics();
    format!("{} {} math-{library}", std::env::consts::ARCH, vectors())
}

/// The vectors that matrix products and kernels choose at run time.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let wide = has!("avx512f") && has!("avx512bw") && has!("avx512cd");
        if wide && has!("avx512dq") && has!("avx512vl") {
            "avx512"
        } else if has!("avx2") && has!("fma") {
            "avx2"
        } else {
            "sse"
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        "vectors"
    }
}

/// A fingerprint of how the system's library rounds the functions that training, schedules and
/// privacy call.
fn mathematics() -> String {
    let mut bits = Vec::new();
    for i in 1..=400_u32 {
        let x = black_box(f64::from(i) * 0.037);
        let single = black_box(x as f32);
        for y in [x.exp(), x.exp_m1(), x.ln(), x.ln_1p(), x.log10(), x.sin(), x.cos(), x.powf(0.3)]
        {
            bits.extend(y.to_le_bytes());
        }
        for y in [single.exp(), single.ln(), single.sin(), single.cos(), single.powf(0.9)] {
            bits.extend(y.to_le_bytes());
        }
    }
    blake3::hash(&bits).to_hex()[..8].to_owned()
}

/// Name, dtype, shape and values of every tensor of a safetensors file, in the order of names. Read
/// here byte by byte, as this must not change together with the program's own reader.
#[track_caller]
pub(crate) fn tensors(path: &Path) -> Vec<u8> {
    let file = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let len = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + len]).expect("a header");
    let header: BTreeMap<String, Value> = serde_json::from_value(header).expect("an object");
    let values = &file[8 + len..];
    let mut all = Vec::new();
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let at = |i: usize| tensor["data_offsets"][i].as_u64().expect("an offset") as usize;
        all.extend(format!("{name} {} {}\n", tensor["dtype"], tensor["shape"]).bytes());
        all.extend(&values[at(0)..at(1)]);
    }
    assert!(!all.is_empty(), "{}: no tensors", path.display());
    all
}

/// The binary whose bytes are compared.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("EDGECTL_BINARY")
        .map_or_else(|| assert_cmd::cargo::cargo_bin("edgectl"), PathBuf::from)
}

/// Runs it in a folder.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(binary()).current_dir(folder).args(args).output().expect("the binary runs")
}

/// Runs it in a folder with `--json`; it must succeed. What it prints.
#[track_caller]
pub(crate) fn json(folder: &Path, args: &[&str]) -> Value {
    let output = run(folder, &[args, &["--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} failed: {stderr}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}
