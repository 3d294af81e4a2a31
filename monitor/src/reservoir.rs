//! Windows to train on again: a uniform sample of each class, and some that are never trained on.

use crate::error::{Error, check_option};
use crate::random::{Random, mix};

/// What an item is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Part {
    /// To train on.
    Train,
    /// To test on, and never to train on.
    Probe,
}

/// Where an item was put, for a copy that is kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its class.
    pub class: usize,
    /// What it is for.
    pub part: Part,
    /// Its place in this part of its class, which it may have taken from another.
    pub slot: usize,
}

/// Options of a [`Reservoir`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ReservoirConfig {
    /// Classes of items.
    pub classes: usize,
    /// Items that are kept at most, over all classes, each of which has an equal share.
    pub capacity: usize,
    /// The share of groups that are for testing, from 0 to 0.9.
    pub probe: f64,
    /// What is kept is a function of this and of the items.
    pub seed: u64,
}

/// A reservoir (Vitter 1985, algorithm R) for each class: of the items that came, each is kept with the same
/// probability.
///
/// The `i`-th item of a class takes the slot `random(i)` if there is one; so a class that is rare keeps what it
/// has however frequent others are. Items of some *groups* are set apart, as a probe set, before they are
/// kept: windows that look alike, as they overlap or follow each other, belong into one group, or the
/// test would be on what was learned by heart.
///
/// ```
/// use monitor::{Part, Reservoir, ReservoirConfig};
///
/// let config = ReservoirConfig { classes: 2, capacity: 40, probe: 0.25, seed: 7 };
/// let mut reservoir = Reservoir::new(config)?;
/// for window in 0..1000_u64 {
///     reservoir.offer(usize::from(window % 50 == 0), window / 10, window);
/// }
/// assert_eq!(reservoir.len(Part::Train), 30);
/// let is_rare = |class: usize| class == 1;
/// assert!(reservoir.items(Part::Train).filter(|(class, _)| is_rare(*class)).count() > 10);
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        try_from = "Stored<T>",
        into = "Stored<T>",
        bound(
            serialize = "T: Clone + serde::Serialize",
            deserialize = "T: serde::Deserialize<'de>"
        )
    )
)]
pub struct Reservoir<T> {
    config: ReservoirConfig,
    /// Of each class its train and its probe part.
    classes: Vec<[Sample<T>; 2]>,
    random: Random,
}

/// A uniform sample of what came.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
struct Sample<T> {
    seen: u64,
    items: Vec<T>,
}

impl ReservoirConfig {
    /// Slots of a class: to train on, and to test on.
    fn slots(&self) -> [usize; 2] {
        let all = self.capacity / self.classes;
        let probe = (all as f64 * self.probe).round() as usize;
        let probe = if self.probe > 0.0 { probe.clamp(1, all - 1) } else { 0 };
        [all - probe, probe]
    }
}

impl<T> Reservoir<T> {
    /// An empty reservoir.
    ///
    /// # Errors
    /// If there is no class, fewer than two slots for each, more than 2³² slots, or `probe` is not from 0 to
    /// 0.9.
    pub fn new(config: ReservoirConfig) -> Result<Self, Error> {
        let check = |option, found: f64, is_good, expected| {
            check_option("reservoir", option, found, is_good, expected)
        };
        let ReservoirConfig { classes, capacity, probe, seed } = config;
        check("classes", classes as f64, (1..=1 << 16).contains(&classes), "1 to 65536")?;
        let is_good = capacity >= 2 * classes && capacity as u64 <= 1 << 32;
        check("capacity", capacity as f64, is_good, "two for each class, at most 4294967296")?;
        check("probe", probe, (0.0..=0.9).contains(&probe), "a share from 0 to 0.9")?;
        let empty = || [(), ()].map(|()| Sample { seen: 0, items: Vec::new() });
        let classes = (0..classes).map(|_| empty()).collect();
        Ok(Self { config, classes, random: Random::stream(seed, 0) })
    }

    /// The options.
    pub fn config(&self) -> &ReservoirConfig {
        &self.config
    }

    /// What items of a group are for: always the same.
    pub fn part_of(&self, group: u64) -> Part {
        let mixed = mix(mix(self.config.seed ^ 0x5bd1_e995_9d1b_54a5).wrapping_add(mix(group)));
        let uniform = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        if uniform < self.config.probe { Part::Probe } else { Part::Train }
    }

    /// Offers an item. Returns where it was put, or nothing if it was not kept.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn offer(&mut self, class: usize, group: u64, item: T) -> Option<Place> {
        let n_classes = self.classes.len();
        assert!(class < n_classes, "reservoir: class {class} of {n_classes}");
        let part = self.part_of(group);
        let room = self.config.slots()[part as usize];
        let sample = &mut self.classes[class][part as usize];
        sample.seen += 1;
        let slot = if sample.items.len() < room {
            sample.items.push(item);
            sample.items.len() - 1
        } else {
            let slot = self.random.below(sample.seen);
            if slot >= room as u64 {
                return None;
            }
            sample.items[slot as usize] = item;
            slot as usize
        };
        Some(Place { class, part, slot })
    }

    /// The items of a part with their classes, class by class.
    pub fn items(&self, part: Part) -> impl Iterator<Item = (usize, &T)> {
        let classes = self.classes.iter().enumerate();
        classes.flat_map(move |(i, parts)| parts[part as usize].items.iter().map(move |x| (i, x)))
    }

    /// How many items a part holds.
    pub fn len(&self, part: Part) -> usize {
        self.classes.iter().map(|parts| parts[part as usize].items.len()).sum()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len(Part::Train) + self.len(Part::Probe) == 0
    }

    /// How many items of a class and part were offered.
    pub fn seen(&self, class: usize, part: Part) -> u64 {
        self.classes.get(class).map_or(0, |parts| parts[part as usize].seen)
    }
}

/// What is stored.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<T> {
    config: ReservoirConfig,
    classes: Vec<[Sample<T>; 2]>,
    random: u64,
}

#[cfg(feature = "serde")]
impl<T> From<Reservoir<T>> for Stored<T> {
    fn from(Reservoir { config, classes, random }: Reservoir<T>) -> Self {
        Self { config, classes, random: random.0 }
    }
}

#[cfg(feature = "serde")]
impl<T> TryFrom<Stored<T>> for Reservoir<T> {
    type Error = Error;

    fn try_from(Stored { config, classes, random }: Stored<T>) -> Result<Self, Error> {
        let fresh = Self::new(config)?;
        let slots = config.slots();
        let is_sample = |(sample, &room): (&Sample<T>, &usize)| {
            let held = sample.items.len();
            held <= room && held as u64 == sample.seen.min(room as u64)
        };
        let is_good = classes.len() == config.classes
            && classes.iter().all(|parts| parts.iter().zip(&slots).all(is_sample));
        crate::error::check_state("reservoir", is_good, "its items do not fit its options")?;
        Ok(Self { classes, random: Random(random), ..fresh })
    }
}
