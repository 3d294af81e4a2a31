//! The loop: damaged files, one call for each set of them, and what must hold of every call.

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::edit::damaged;

/// Bytes that a call may hold at once whatever the size of its files, unless the campaign says
/// otherwise: buffers for reading.
const BASE_BYTES: u64 = 4 << 20;
/// Bytes that a call may hold at once for each byte of its files.
const BYTES_PER_BYTE: u64 = 64;
/// No call may take longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Damaged files for one reader.
///
/// The inputs are a function of the seed and their number, so that each can be made again.
#[derive(Debug)]
pub struct Campaign {
    name: &'static str,
    n_inputs: u64,
    base_bytes: u64,
    files: Vec<File>,
}

/// One of the files of an input.
#[derive(Debug)]
struct File {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    is_damaged: bool,
}

/// What was seen of all calls.
#[derive(Debug, Default)]
struct Tally {
    n_accepted: u64,
    most_bytes: u64,
    slowest: Duration,
}

impl Campaign {
    /// A campaign of so many inputs, or as many as the variable `FUZZ_ITERATIONS` says.
    pub fn new(name: &'static str, n_inputs: u64) -> Self {
        let n_inputs = number("FUZZ_ITERATIONS").unwrap_or(n_inputs);
        Self { name, n_inputs, base_bytes: BASE_BYTES, files: Vec::new() }
    }

    /// Makes no more inputs than so many, whatever the variable says: each starts a program.
    #[must_use]
    pub fn at_most(self, n_inputs: u64) -> Self {
        Self { n_inputs: self.n_inputs.min(n_inputs), ..self }
    }

    /// Lets each call hold so many bytes whatever the size of its files.
    #[must_use]
    pub fn allow(self, base_bytes: u64) -> Self {
        Self { base_bytes, ..self }
    }

    /// Adds a file that is damaged, made from those in a folder of the corpus.
    #[must_use]
    pub fn damaged(self, name: &'static str, corpus: &str) -> Self {
        self.file(name, corpus, true)
    }

    /// Adds a file that is sound: one of those in a folder of the corpus.
    #[must_use]
    pub fn sound(self, name: &'static str, corpus: &str) -> Self {
        self.file(name, corpus, false)
    }

    fn file(mut self, name: &'static str, corpus: &str, is_damaged: bool) -> Self {
        self.files.push(File { name, seeds: corpus_files(corpus), is_damaged });
        self
    }

    /// Calls `check` with a folder that holds the files, and with a random number for choices of
    /// its own, once for each input; it returns whether the files were accepted.
    ///
    /// # Panics
    /// If a call panics, holds more memory than its files justify or takes too long: the files are
    /// then in `fuzz/crashes`. If all inputs are accepted or none is, since that shows little.
    pub fn run(self, check: impl Fn(&Path, u64) -> bool + Sync) {
        // A thread of its own, which is a whole rayon pool: what the call allocates is counted by
        // thread, and each thread can be in one pool only.
        let outcome = std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let builder = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
                let pool = builder.build().expect("the thread is in no pool yet");
                pool.install(|| self.run_here(&check));
            });
            run.join()
        });
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    }

    fn run_here(&self, check: &(impl Fn(&Path, u64) -> bool + Sync)) {
        let folder = scratch_folder(self.name);
        let (seed, first) =
            (number("FUZZ_SEED").unwrap_or(1), number("FUZZ_FIRST").unwrap_or_default());
        let mut tally = Tally::default();
        let began = Instant::now();
        for i in first..first.saturating_add(self.n_inputs) {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(i);
            self.call(i, folder.path(), &mut random, check, &mut tally);
        }
        let Tally { n_accepted, most_bytes, slowest } = tally;
        let seconds = began.elapsed().as_secs_f64();
        let line = format!(
            "{}: {} inputs, {n_accepted} accepted, {:.0} a second, at most {most_bytes} bytes and {slowest:?}\n",
            self.name,
            self.n_inputs,
            self.n_inputs as f64 / seconds
        );
        if number("FUZZ_ITERATIONS").is_some() {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        if self.n_inputs >= 1000 {
            let share = n_accepted as f64 / self.n_inputs as f64;
            assert!((0.005..0.995).contains(&share), "{line}too few of one kind");
        }
    }

    fn call(
        &self,
        number: u64,
        folder: &Path,
        random: &mut ChaCha8Rng,
        check: &(impl Fn(&Path, u64) -> bool + Sync),
        tally: &mut Tally,
    ) {
        let candidates: Vec<usize> =
            (0..self.files.len()).filter(|&i| self.files[i].is_damaged).collect();
        // At least one is damaged, the others often are not.
        let always = candidates.choose(random).copied();
        let (mut contents, mut n_bytes) = (Vec::new(), 0);
        for (i, file) in self.files.iter().enumerate() {
            let also = file.is_damaged && random.random_ratio(1, 4);
            let content = if Some(i) == always || also {
                damaged(&file.seeds, random)
            } else {
                file.seeds.choose(random).cloned().unwrap_or_default()
            };
            n_bytes += content.len() as u64;
            fs::write(folder.join(file.name), &content).expect("the scratch folder has room");
            contents.push((file.name, content));
        }
        let choice = random.random();
        let most = self.base_bytes + BYTES_PER_BYTE * n_bytes;
        let (mut result, mut took, mut held) = measured(|| check(folder, choice));
        if held > most && result.is_ok() {
            // Buffers that a thread makes once and keeps, whatever it is given, as for products of
            // matrices, are not made again.
            (result, took, held) = measured(|| check(folder, choice));
        }
        let problem = match result {
            Err(_) => Some("a panic".to_owned()),
            Ok(_) if held > most => {
                Some(format!("{held} bytes of memory for {n_bytes} of files, at most {most}"))
            }
            Ok(_) if took > LONGEST => Some(format!("it took {took:?}")),
            Ok(is_accepted) => {
                tally.n_accepted += u64::from(is_accepted);
                None
            }
        };
        tally.most_bytes = tally.most_bytes.max(held);
        tally.slowest = tally.slowest.max(took);
        if let Some(problem) = problem {
            let kept = keep(self.name, number, &contents);
            panic!(
                "{}, input {number}, choice {choice}: {problem}; its files are in {}",
                self.name,
                kept.display()
            );
        }
    }
}

/// Calls a function: what it returns if it does not panic, how long it took, and the most bytes that
/// it held at once.
fn measured(call: impl Fn() -> bool) -> (std::thread::Result<bool>, Duration, u64) {
    let began = Instant::now();
    let mut result = Ok(false);
    let memory = allocation_counter::measure(|| {
        result = catch_unwind(AssertUnwindSafe(&call));
    });
    (result, began.elapsed(), memory.bytes_max)
}

/// The number in an environment variable.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a whole number")))
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The files in a folder of the corpus, in the order of their names.
fn corpus_files(name: &str) -> Vec<Vec<u8>> {
    let folder = here("corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// A folder in memory where the system has one, since millions of files are written.
fn scratch_folder(name: &str) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let mut builder = tempfile::Builder::new();
    builder.prefix(&format!("edgectl-fuzz-{name}-")).tempdir_in(parent).expect("a folder")
}

/// Keeps an input for whoever looks into it; where it is.
fn keep(name: &str, number: u64, contents: &[(&str, Vec<u8>)]) -> PathBuf {
    let folder = here("crashes").join(format!("{name}-{number}"));
    fs::create_dir_all(&folder).expect("a folder");
    for (name, content) in contents {
        fs::write(folder.join(name), content).expect("written");
    }
    folder
}
