//! What came back with its class: windows of now, and a sample of what was before; of both a part that is never
//! trained on.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use monitor::{Part, Reservoir, ReservoirConfig};

use super::example::Example;
use super::learn::Lesson;
use super::records::{Lost, Place, Records, private_folder};
use crate::checkpoint::Meta;

/// Of so many blocks of a class one is never trained on.
const ONE_IN: u64 = 5;

/// The same as a share.
const PROBE: f64 = 1.0 / ONE_IN as f64;

/// Windows of now; older ones are of before.
const MOST_FRESH: usize = 512;

/// Series whose groups are known.
const MOST_SERIES: usize = 4096;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct ReplayOptions {
    /// Windows of before at most.
    pub windows: usize,
    /// Bytes of all windows at most.
    pub bytes: usize,
    /// What is kept is a function of it and of the windows.
    pub seed: u64,
}

/// A window and those behind it that share rows with it.
#[derive(Debug, Clone, Copy)]
struct Block {
    group: u64,
    part: Part,
    /// What the block behind it is for.
    next: Part,
    /// Number of its first window.
    first: u64,
}

/// Whether a window is of now or of before.
#[derive(Debug, Clone, Copy)]
enum Age {
    Now,
    Before,
}

/// What came back with its class.
#[derive(Debug)]
pub struct Replay {
    kept: Reservoir<Arc<Example>>,
    fresh: VecDeque<(Arc<Example>, Part)>,
    /// So many of them, the first, are of a run before: they are older than all of this one, whatever their numbers.
    n_of_before: usize,
    most_fresh: usize,
    blocks: HashMap<u64, Block>,
    /// Blocks of each class, of now and of before.
    drawn: [Vec<u64>; 2],
    n_groups: u64,
    per_class: usize,
    files: Option<[Records; 2]>,
    /// Windows of now that were taken since the beginning, for their places in the file.
    n_fresh: u64,
}

/// Classes, values of a window, and what tells the job from another.
type Sizes = (usize, usize, [u8; 16]);

fn sizes(meta: &Meta) -> anyhow::Result<Sizes> {
    let job = serde_json::to_vec(&(&meta.classes, &meta.channels, &meta.preprocess))?;
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&blake3::hash(&job).as_bytes()[..16]);
    Ok((meta.classes.len(), meta.model.seq_len * meta.model.channels, fingerprint))
}

/// What is trained on and what is not are slots of one row of places: the first part has these, the second the rest.
fn place_of(place: monitor::Place, per_class: usize, probe: usize) -> Place {
    let offset = match place.part {
        Part::Train => place.slot,
        Part::Probe => per_class - probe + place.slot,
    };
    Place(place.class * per_class + offset)
}

impl Replay {
    /// An empty one for windows of a model.
    ///
    /// # Errors
    /// If there is not room for two windows of each class.
    pub fn new(meta: &Meta, options: ReplayOptions) -> anyhow::Result<Self> {
        Self::new_for(sizes(meta)?, options)
    }

    fn new_for((classes, width, _): Sizes, options: ReplayOptions) -> anyhow::Result<Self> {
        let room = options.bytes / Records::bytes_of(width);
        let capacity = options.windows.min(room * 4 / 5);
        let per_class = capacity / classes;
        ensure!(
            per_class >= 2,
            "[adapt] replay: there is room for {capacity} windows, and two for each of {classes} classes are needed"
        );
        let capacity = per_class * classes;
        let config = ReservoirConfig { classes, capacity, probe: PROBE, seed: options.seed };
        Ok(Self {
            kept: Reservoir::new(config)?,
            fresh: VecDeque::new(),
            n_of_before: 0,
            most_fresh: (room - capacity).clamp(1, MOST_FRESH),
            blocks: HashMap::new(),
            drawn: [vec![0; classes], vec![0; classes]],
            n_groups: 0,
            per_class,
            files: None,
            n_fresh: 0,
        })
    }

    /// The same with what is in a folder, where it is kept from now on. Says what is not there any more.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if a file cannot be read or written.
    pub fn open(
        meta: &Meta,
        options: ReplayOptions,
        folder: &Path,
    ) -> anyhow::Result<(Self, Lost)> {
        Self::open_for(sizes(meta)?, options, folder)
    }

    fn open_for(
        sizes: Sizes,
        options: ReplayOptions,
        folder: &Path,
    ) -> anyhow::Result<(Self, Lost)> {
        let (n_classes, width, fingerprint) = sizes;
        let mut replay = Self::new_for(sizes, options)?;
        private_folder(folder)?;
        let mut found = [Vec::new(), Vec::new()];
        let [kept, fresh] = &mut found;
        let places = replay.kept.config().capacity;
        let is_good = |example: &Example| (example.class as usize) < n_classes;
        let (mut before, mut lost) =
            Records::open(&folder.join("before.bin"), fingerprint, (width, places), |_, e| {
                kept.extend(is_good(&e).then_some(e));
            })?;
        let places = replay.most_fresh;
        let (mut now, more) =
            Records::open(&folder.join("now.bin"), fingerprint, (width, places), |_, e| {
                fresh.extend(is_good(&e).then_some(e));
            })?;
        let [kept, mut fresh] = found;
        let groups = kept.iter().chain(&fresh).map(|example| example.group);
        replay.n_groups = groups.max().map_or(0, |group| group.wrapping_add(1));
        // Without damage each window is written where it is; else those behind a damaged one move up.
        if lost.windows > 0 {
            before.clear()?;
        }
        now.clear()?;
        replay.files = Some([before, now]);
        let n = kept.len();
        kept.into_iter().try_for_each(|example| replay.keep(&Arc::new(example)))?;
        lost.beyond = n - replay.n_kept();
        fresh.sort_by_key(|example| example.id);
        for example in fresh {
            let part = replay.kept.part_of(example.group);
            replay.push(&Arc::new(example), part)?;
        }
        replay.n_of_before = replay.fresh.len();
        lost.windows += more.windows;
        lost.aside.extend(more.aside);
        Ok((replay, lost))
    }

    /// Takes a window of a series, with its class. `is_apart` says that it shares no row with the last of its series
    /// of which this was so. Windows come in the order of their rows.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(
        &mut self,
        series: u64,
        is_apart: bool,
        mut example: Example,
    ) -> std::io::Result<()> {
        let Some(block) = self.block(series, is_apart, &example, Age::Now) else {
            return Ok(());
        };
        example.group = block.group;
        self.push(&Arc::new(example), block.part)
    }

    /// Takes a window as one of what was before.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_before(
        &mut self,
        series: u64,
        is_apart: bool,
        mut example: Example,
    ) -> std::io::Result<()> {
        let Some(block) = self.block(series, is_apart, &example, Age::Before) else {
            return Ok(());
        };
        example.group = block.group;
        self.keep(&Arc::new(example))
    }

    /// The group of the next window of a series; nothing if it may share rows with one that is for something else.
    fn block(&mut self, series: u64, is_apart: bool, example: &Example, age: Age) -> Option<Block> {
        let (class, id) = (example.class, example.id);
        let last = self.blocks.get(&series).copied();
        // A label that comes out of order: what its window shares rows with is not known any more.
        if last.is_some_and(|block| id < block.first) {
            return None;
        }
        if let Some(block) = last.filter(|_| !is_apart) {
            // It may reach into the next block.
            return (block.part == block.next).then_some(block);
        }
        let part = last.map_or_else(|| self.draw(class, age), |last| last.next);
        let next = self.draw(class, age);
        // What a group is for follows from its number.
        let mut group = self.n_groups;
        while self.kept.part_of(group) != part {
            group = group.wrapping_add(1);
        }
        self.n_groups = group.wrapping_add(1);
        let block = Block { group, part, next, first: id };
        if self.blocks.len() >= MOST_SERIES && last.is_none() {
            self.blocks.clear();
        }
        self.blocks.insert(series, block);
        Some(block)
    }

    /// What the next block of a class is for: of every few one is set apart, and never the first.
    fn draw(&mut self, class: u32, age: Age) -> Part {
        let n = &mut self.drawn[age as usize][class as usize];
        *n += 1;
        if n.is_multiple_of(ONE_IN) { Part::Probe } else { Part::Train }
    }

    /// One more of now; the oldest becomes one of before.
    fn push(&mut self, example: &Arc<Example>, part: Part) -> std::io::Result<()> {
        if self.fresh.len() >= self.most_fresh
            && let Some((oldest, _)) = self.fresh.pop_front()
        {
            self.n_of_before = self.n_of_before.saturating_sub(1);
            self.keep(&oldest)?;
        }
        let place = Place((self.n_fresh % self.most_fresh as u64) as usize);
        self.n_fresh += 1;
        self.fresh.push_back((Arc::clone(example), part));
        match &mut self.files {
            Some([_, now]) => now.put(place, Some(example)),
            None => Ok(()),
        }
    }

    /// One more of before, if it is kept.
    fn keep(&mut self, example: &Arc<Example>) -> std::io::Result<()> {
        let (class, group) = (example.class as usize, example.group);
        let put = self.kept.offer(class, group, Arc::clone(example));
        let probe = ((self.per_class as f64 * PROBE).round() as usize).clamp(1, self.per_class - 1);
        match (put, &mut self.files) {
            (Some(place), Some([before, _])) => {
                before.put(place_of(place, self.per_class, probe), Some(example))
            }
            _ => Ok(()),
        }
    }

    /// What was of now until then is of before: windows of this run with a smaller number than this, or all; and all of
    /// a run before.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn settle(&mut self, until: Option<u64>) -> std::io::Result<()> {
        let mut n = std::mem::take(&mut self.n_of_before);
        let is_old = |(e, _): &(Arc<Example>, Part)| {
            let is_of_before = n > 0;
            n = n.saturating_sub(1);
            is_of_before || until.is_none_or(|until| e.id < until)
        };
        let (old, new): (Vec<_>, Vec<_>) = self.fresh.drain(..).partition(is_old);
        if let Some([_, now]) = &mut self.files {
            now.clear()?;
        }
        self.n_fresh = 0;
        old.into_iter().try_for_each(|(example, _)| self.keep(&example))?;
        new.into_iter().try_for_each(|(example, part)| self.push(&example, part))
    }

    /// The first of the last so many windows of now that are of this run; the largest number without any.
    pub fn first_of_last(&self, n: usize) -> u64 {
        let last = self.fresh.iter().skip(self.n_of_before).rev().take(n);
        last.map(|(example, _)| example.id).min().unwrap_or(u64::MAX)
    }

    /// What can be learned now.
    pub fn lesson(&self) -> Lesson {
        let fresh = |part| {
            let of_part = self.fresh.iter().filter(move |(_, own)| *own == part);
            of_part.map(|(example, _)| Arc::clone(example)).collect()
        };
        let kept = |part| self.kept.items(part).map(|(_, example)| Arc::clone(example)).collect();
        Lesson {
            fresh: fresh(Part::Train),
            fresh_probe: fresh(Part::Probe),
            replay: kept(Part::Train),
            replay_probe: kept(Part::Probe),
        }
    }

    /// Windows of now.
    pub fn n_fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Windows of before.
    pub fn n_kept(&self) -> usize {
        self.kept.len(Part::Train) + self.kept.len(Part::Probe)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const WIDTH: usize = 3;

    /// A replay for windows of three values and two classes.
    fn replay(windows: usize, folder: Option<&Path>) -> (Replay, Lost) {
        let options = ReplayOptions { windows, bytes: 1 << 20, seed: 0 };
        let of = (2, WIDTH, [7; 16]);
        match folder {
            Some(folder) => Replay::open_for(of, options, folder).expect("opened"),
            None => (Replay::new_for(of, options).expect("room"), Lost::default()),
        }
    }

    fn example(id: u64, class: u32) -> Example {
        Example { values: vec![id as f32; WIDTH], class, group: 0, id }
    }

    fn ids(examples: &[Arc<Example>]) -> BTreeSet<u64> {
        examples.iter().map(|example| example.id).collect()
    }

    #[test]
    fn no_row_is_both_trained_on_and_tested_on() {
        let (mut replay, _) = replay(100, None);
        // Every window shares rows with the one before and the one behind it.
        for id in 0..200 {
            replay.add(id / 50, id % 2 == 0, example(id, (id / 50) as u32 % 2)).expect("memory");
        }
        let Lesson { fresh, fresh_probe, .. } = replay.lesson();
        let (fresh, probe) = (ids(&fresh), ids(&fresh_probe));
        assert!(probe.len() >= 15 && fresh.len() > 100, "{} {}", probe.len(), fresh.len());
        for id in &probe {
            let series = |id: u64| id / 50;
            let is_near = |other: u64| fresh.contains(&other) && series(other) == series(*id);
            assert!(
                !fresh.contains(id) && !is_near(id + 1) && !is_near(id.wrapping_sub(1)),
                "{id}"
            );
        }
    }

    #[test]
    fn what_is_never_trained_on_stays_so_when_it_becomes_one_of_before() {
        let (mut replay, _) = replay(100, None);
        (0..40).for_each(|id| replay.add(id, true, example(id, 0)).expect("memory"));
        let now = replay.lesson();
        assert!(now.replay.is_empty() && !now.fresh_probe.is_empty());
        replay.settle(Some(30)).expect("memory");
        let later = replay.lesson();
        assert!(ids(&later.replay_probe).is_subset(&ids(&now.fresh_probe)));
        assert!(ids(&later.replay).is_subset(&ids(&now.fresh)));
        assert_eq!((replay.n_fresh(), replay.n_kept()), (10, 30));
    }

    #[test]
    fn windows_of_a_run_before_are_older_than_those_of_this_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut before, _) = replay(100, Some(folder.path()));
        (100..107).for_each(|id| before.add(id, true, example(id, 0)).expect("written"));
        drop(before);
        let (mut again, _) = replay(100, Some(folder.path()));
        assert_eq!((again.n_fresh(), again.first_of_last(5)), (7, u64::MAX));
        // Numbers begin again.
        (0..3).for_each(|id| again.add(0, true, example(id, 1)).expect("written"));
        assert_eq!(again.first_of_last(5), 0);
        again.settle(Some(0)).expect("written");
        assert_eq!(ids(&again.lesson().fresh), BTreeSet::from([0, 1, 2]));
        assert_eq!((again.n_fresh(), again.n_kept()), (3, 7));
        again.settle(Some(1)).expect("written");
        assert_eq!(again.n_fresh(), 2);
    }

    #[test]
    fn few_windows_are_all_trained_on() {
        let (mut replay, _) = replay(100, None);
        (0..4).for_each(|id| replay.add(id, true, example(id, id as u32 % 2)).expect("memory"));
        assert_eq!(replay.lesson().fresh.len(), 4);
    }

    #[test]
    fn a_restart_goes_on_and_damage_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut before, _) = replay(20, Some(folder.path()));
        (0..60).for_each(|id| {
            before.add_before(id, true, example(id, id as u32 % 2)).expect("written");
        });
        (0..7).for_each(|id| before.add(100 + id, true, example(100 + id, 1)).expect("written"));
        let (kept, now) = (before.n_kept(), before.lesson());
        assert_eq!(kept, 20);
        drop(before);
        let (again, lost) = replay(20, Some(folder.path()));
        assert_eq!((again.n_kept(), again.n_fresh(), lost), (kept, 7, Lost::default()));
        let lesson = again.lesson();
        assert_eq!(ids(&lesson.replay), ids(&now.replay));
        assert_eq!(ids(&lesson.replay_probe), ids(&now.replay_probe));
        assert_eq!(ids(&lesson.fresh), ids(&now.fresh));
        drop(again);
        let path = folder.path().join("before.bin");
        let mut bytes = std::fs::read(&path).expect("there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        let (again, lost) = replay(20, Some(folder.path()));
        assert_eq!((again.n_kept(), again.n_fresh(), lost.windows), (kept - 1, 7, 1));
        drop(again);
        let (again, lost) = replay(20, Some(folder.path()));
        assert_eq!(lost.windows, 0, "what is damaged is gone");
        drop(again);
        // With another limit as many stay as there is room for.
        for (limit, most, beyond) in [(40, kept - 1, 0), (10, 10, kept - 11), (40, 10, 0)] {
            for beyond in [beyond, 0] {
                let (again, lost) = replay(limit, Some(folder.path()));
                assert_eq!((again.n_kept(), again.n_fresh()), (most, 7));
                assert_eq!(lost, Lost { beyond, ..Lost::default() });
            }
        }
    }
}
