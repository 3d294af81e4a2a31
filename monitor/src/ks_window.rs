//! The distance of Kolmogorov and Smirnov between a reference and the last values of a stream.

use crate::detector::{Detector, Verdict, is_usable};
use crate::error::{Error, check_option};

/// The most values of a reference.
const MOST_REFERENCE: usize = 1 << 24;

/// The longest window.
const MOST_WINDOW: usize = 1 << 20;

/// The distance `D = sup_x |F_w(x) − F_ref(x)|` of the last `window` values from a fixed reference; an alarm where
/// it exceeds the threshold.
///
/// `F` is the share of values `≤ x`. Where values are equal both sides of the step count, so that `D` is
/// that of `scipy.stats.ks_2samp`; it is a quotient of integers, rounded once. No distance is known, and
/// `statistic` is 0, until the window is full.
///
/// An update takes `O(log n)` for a reference of `n` values, however long the window is: the reference cuts
/// the line in places, at its values and between them; a tree over the places holds, of each range, by how much
/// `n·window·(F_w − F_ref)` changes along it, and the largest and smallest value on the way.
///
/// Take the threshold from [`calibrate`](crate::calibrate()), never from a probability: windows that overlap
/// are not independent. [`ks_exact_p`](crate::ks_exact_p) gives that for two samples.
///
/// ```
/// use monitor::{Detector, KsWindow};
///
/// let mut ks = KsWindow::new(&[1.0, 2.0, 2.0, 3.0], 2, 0.9)?;
/// assert!(!ks.update(2.0).is_alarm() && !ks.update(2.5).is_alarm());
/// assert_eq!(ks.statistic(), 0.25);
/// assert!(!ks.update(9.0).is_alarm() && ks.update(9.0).is_alarm());
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Stored", into = "Stored"))]
pub struct KsWindow {
    /// Values of the reference, rising, each once.
    values: Vec<f64>,
    /// How often each occurs.
    counts: Vec<u32>,
    /// Values of the reference.
    n: usize,
    /// The places of the values in the window: `2i + 1` is `values[i]`, `2i` is below it.
    places: Vec<u32>,
    /// Values in the window so far, and where the next goes.
    held: usize,
    next: usize,
    threshold: f64,
    /// Node `i` is over nodes `2i` and `2i + 1`; places begin at half of the length.
    tree: Vec<Node>,
}

/// What happens along a range of places.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Node {
    /// By how much the difference changes.
    change: i64,
    /// The largest and the smallest difference from that at the beginning.
    most: i64,
    least: i64,
}

impl Node {
    fn step(change: i64) -> Self {
        Self { change, most: change.max(0), least: change.min(0) }
    }

    #[inline]
    fn over(a: Self, b: Self) -> Self {
        Self {
            change: a.change + b.change,
            most: a.most.max(a.change + b.most),
            least: a.least.min(a.change + b.least),
        }
    }
}

impl KsWindow {
    /// A detector that compares the last `window` values with a reference, in any order.
    ///
    /// # Errors
    /// If a value of the reference is not finite, the reference is empty or has more than 2²⁴ values, the
    /// window is not 1 to 2²⁰ values long, or the threshold not above 0.
    pub fn new(reference: &[f64], window: usize, threshold: f64) -> Result<Self, Error> {
        let check = |option, found: f64, is_good, expected| {
            check_option("ks", option, found, is_good, expected)
        };
        let n = reference.len();
        check("reference", n as f64, (1..=MOST_REFERENCE).contains(&n), "1 to 16777216 values")?;
        check("window", window as f64, (1..=MOST_WINDOW).contains(&window), "1 to 1048576 values")?;
        let is_good = is_usable(threshold) && threshold > 0.0;
        check("threshold", threshold, is_good, "a finite number above 0")?;
        if let Some(position) = reference.iter().position(|&x| !is_usable(x)) {
            return Err(Error::Value { owner: "ks", position, found: reference[position] });
        }
        let mut sorted = reference.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (mut values, mut counts) = (Vec::new(), Vec::new());
        for x in sorted {
            // Of the two zeros one is enough.
            match counts.last_mut() {
                Some(count) if values.last().is_some_and(|last| x <= *last) => *count += 1,
                _ => {
                    values.push(x);
                    counts.push(1);
                }
            }
        }
        let tree = vec![Node::default(); 2 * (2 * values.len() + 1).next_power_of_two()];
        let places = vec![0; window];
        let mut ks = Self { values, counts, n, places, held: 0, next: 0, threshold, tree };
        ks.plant();
        Ok(ks)
    }

    /// The same with another threshold, from the beginning.
    ///
    /// # Errors
    /// If it is not a finite number above 0.
    pub fn with_threshold(&self, threshold: f64) -> Result<Self, Error> {
        Self::new(&self.reference(), self.window(), threshold)
    }

    /// The reference, sorted.
    pub fn reference(&self) -> Vec<f64> {
        let each = self.values.iter().zip(&self.counts);
        each.flat_map(|(&x, &count)| std::iter::repeat_n(x, count as usize)).collect()
    }

    /// The length of the window.
    pub fn window(&self) -> usize {
        self.places.len()
    }

    /// Values of the window that have come.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The tree of an empty window: the reference alone.
    fn plant(&mut self) {
        let (half, window) = (self.tree.len() / 2, i64::from(self.places.len() as u32));
        self.tree.fill(Node::default());
        for (i, &count) in self.counts.iter().enumerate() {
            self.tree[half + 2 * i + 1] = Node::step(-window * i64::from(count));
        }
        for i in (1..half).rev() {
            self.tree[i] = Node::over(self.tree[2 * i], self.tree[2 * i + 1]);
        }
    }

    /// Puts `values` of the window more to a place.
    #[inline]
    fn add(&mut self, place: u32, values: i64) {
        let mut i = self.tree.len() / 2 + place as usize;
        self.tree[i] = Node::step(self.tree[i].change + values * i64::from(self.n as u32));
        while i > 1 {
            i /= 2;
            self.tree[i] = Node::over(self.tree[2 * i], self.tree[2 * i + 1]);
        }
    }

    fn place_of(&self, x: f64) -> u32 {
        let below = self.values.partition_point(|&value| value < x);
        let is_value = self.values.get(below).is_some_and(|&value| value <= x);
        2 * below as u32 + u32::from(is_value)
    }

    /// Puts a value that has this place into the window.
    #[inline]
    fn push(&mut self, place: u32) {
        let slot = &mut self.places[self.next];
        let oldest = std::mem::replace(slot, place);
        self.next = if self.next + 1 == self.places.len() { 0 } else { self.next + 1 };
        if self.held < self.places.len() {
            self.held += 1;
            self.add(place, 1);
        } else if oldest != place {
            self.add(oldest, -1);
            self.add(place, 1);
        }
    }

    fn rings(&self) -> bool {
        self.statistic() > self.threshold
    }
}

impl Detector for KsWindow {
    #[inline]
    fn update(&mut self, x: f64) -> Verdict {
        if !is_usable(x) {
            return Verdict::Refused;
        }
        if self.rings() {
            self.reset();
        }
        self.push(self.place_of(x));
        Verdict::of(self.rings())
    }

    fn statistic(&self) -> f64 {
        if self.held < self.places.len() {
            return 0.0;
        }
        let Node { most, least, .. } = self.tree[1];
        most.max(-least) as f64 / (self.n * self.places.len()) as f64
    }

    fn threshold(&self) -> f64 {
        self.threshold
    }

    fn reset(&mut self) {
        (self.held, self.next) = (0, 0);
        self.plant();
    }
}

/// What is stored.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    reference: Vec<f64>,
    window: usize,
    threshold: f64,
    /// Places of the values in the window, the oldest first.
    places: Vec<u32>,
}

#[cfg(feature = "serde")]
impl From<KsWindow> for Stored {
    fn from(ks: KsWindow) -> Self {
        let window = ks.window();
        let first = if ks.held < window { 0 } else { ks.next };
        let places = (0..ks.held).map(|i| ks.places[(first + i) % window]).collect();
        Self { reference: ks.reference(), window, threshold: ks.threshold, places }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for KsWindow {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self, Error> {
        let mut ks = Self::new(&stored.reference, stored.window, stored.threshold)?;
        let is_place = |&place: &u32| (place as usize) < 2 * ks.values.len() + 1;
        let is_good = stored.places.len() <= stored.window && stored.places.iter().all(is_place);
        crate::error::check_state("ks", is_good, "its window is not one over its reference")?;
        for &place in &stored.places {
            ks.push(place);
        }
        Ok(ks)
    }
}
