//! Which windows a step learns from: half of them of now, half of before, and of both every class as often as another,
//! however many windows of it came back.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::example::Example;

/// Windows to draw from.
#[derive(Debug)]
pub(super) struct Draw<'a> {
    now: Vec<Vec<&'a Example>>,
    before: Vec<Vec<&'a Example>>,
}

/// Those of each class of which there are some.
fn by_class(examples: &[Arc<Example>]) -> Vec<Vec<&Example>> {
    let n = examples.iter().map(|example| example.class as usize + 1).max().unwrap_or(0);
    let mut found = vec![Vec::new(); n];
    for example in examples {
        found[example.class as usize].push(&**example);
    }
    found.retain(|of_class| !of_class.is_empty());
    found
}

impl<'a> Draw<'a> {
    /// From windows of now, of which there are some, and of before.
    pub(super) fn new(now: &'a [Arc<Example>], before: &'a [Arc<Example>]) -> Self {
        Self { now: by_class(now), before: by_class(before) }
    }

    /// So many windows, in any order, so that every piece of them has windows of both.
    pub(super) fn some(&self, n: usize, random: &mut ChaCha8Rng) -> Vec<&'a Example> {
        let of_before = if self.before.is_empty() { 0 } else { n / 2 };
        let mut drawn = Vec::with_capacity(n);
        for i in 0..n {
            let classes = if i < of_before { &self.before } else { &self.now };
            let of_class = &classes[random.random_range(0..classes.len())];
            drawn.push(of_class[random.random_range(0..of_class.len())]);
        }
        drawn.shuffle(random);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn examples(ids: std::ops::Range<u64>, class: u32) -> impl Iterator<Item = Arc<Example>> {
        ids.map(move |id| Arc::new(Example { values: vec![0.0], class, group: 0, id }))
    }

    #[test]
    fn halves_and_classes_are_drawn_alike() {
        // Of class 1 there are few, and of class 2 none of now.
        let now: Vec<_> = examples(0..90, 0).chain(examples(90..92, 1)).collect();
        let before: Vec<_> = examples(100..110, 0).chain(examples(110..130, 2)).collect();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let draw = Draw::new(&now, &before);
        let (mut of_now, mut rare) = (0, 0);
        for _ in 0..200 {
            let drawn = draw.some(20, &mut random);
            assert_eq!(drawn.len(), 20);
            of_now += drawn.iter().filter(|example| example.id < 100).count();
            rare += drawn.iter().filter(|example| example.class == 1).count();
        }
        assert_eq!(of_now, 2000);
        assert!((900..1100).contains(&rare), "{rare}");
        let alone = Draw::new(&now, &[]).some(20, &mut random);
        assert!(alone.len() == 20 && alone.iter().all(|example| example.id < 100));
    }
}
