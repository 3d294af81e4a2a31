//! What two models say of the same windows: how often they agree, how often which is right, and how sure they are.

use std::collections::VecDeque;

use monitor::{Cause, Paired, Sureness, Usual};

/// Windows whose classes may still be told.
const MOST_RECENT: usize = 8192;

/// How unlikely it is that a model is as sure as usual that is called less sure.
pub(super) const LEVEL_SURE: f64 = 0.001;

/// Answers by which it is known how sure the two usually are.
const MOST_CONFIDENCES: usize = 4096;

/// What two models said of the same windows.
#[derive(Debug, Clone)]
pub struct Compared {
    pub(super) n: u64,
    pub(super) agreed: u64,
    /// Of each class, how many windows the new model gave it, less those that the old one did.
    pub(super) moved: Vec<i64>,
    pub(super) paired: Paired,
    /// The same of the windows of this comparison alone.
    here: Paired,
    /// Number, new class and old class of the last windows, by their numbers.
    pub(super) recent: VecDeque<(u64, u32, u32)>,
    /// How sure both were of the first windows.
    pub(super) confidences: Vec<(f32, f32)>,
    /// How sure they are against what is usual.
    pub(super) sureness: Sureness,
    /// Whether both were less sure than usual.
    pub(super) is_strange: bool,
}

/// What is known of two models before they are compared.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// How often which was right, of other windows with known classes.
    pub tried: Option<Paired>,
    /// How often the old one was right.
    pub accuracy: Option<f64>,
    /// How sure the new one usually is here, and the old one.
    pub usual: (Option<Usual>, Option<Usual>),
}

impl Compared {
    /// Before the first window.
    pub fn new(n_classes: usize, past: &Past) -> Self {
        Self {
            n: 0,
            agreed: 0,
            moved: vec![0; n_classes],
            paired: past.tried.unwrap_or_default(),
            here: Paired::default(),
            recent: VecDeque::new(),
            confidences: Vec::new(),
            sureness: Sureness::new(past.usual.0, past.usual.1),
            is_strange: false,
        }
    }

    /// Both answered a window, each with a class and its probability.
    pub fn window(&mut self, id: u64, (new, p_new): (u32, f32), (old, p_old): (u32, f32)) {
        self.n += 1;
        if self.confidences.len() < MOST_CONFIDENCES {
            self.confidences.push((p_new, p_old));
        }
        self.sureness.observe(p_new.into(), p_old.into());
        self.is_strange |= self.sureness.cause(LEVEL_SURE) == Cause::World;
        if new == old {
            self.agreed += 1;
        } else {
            self.moved[new as usize] += 1;
            self.moved[old as usize] -= 1;
        }
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        // A series' newer window is answered in the turn of the one that it replaced: numbers are out of order a little.
        let at = self.recent.partition_point(|&(recent, ..)| recent < id);
        self.recent.insert(at, (id, new, old));
    }

    /// The class of a window became known. Of windows that not both answered nothing is learned.
    pub fn label(&mut self, id: u64, class: u32) {
        let at = self.recent.partition_point(|&(recent, ..)| recent < id);
        if let Some(&(recent, new, old)) = self.recent.get(at)
            && recent == id
        {
            self.right(new == class, old == class);
        }
    }

    /// Both answered a window whose class is known, the new model and the old one right or not.
    pub fn right(&mut self, new: bool, old: bool) {
        self.paired.observe(new, old);
        self.here.observe(new, old);
    }

    /// How sure the new model and the old one were of these windows; nothing where there are few.
    pub fn usual(&self) -> (Option<Usual>, Option<Usual>) {
        let of = |which: fn(&(f32, f32)) -> f32| {
            let confidences = self.confidences.iter().map(|both| f64::from(which(both)));
            Usual::of(&confidences.collect::<Vec<_>>())
        };
        (of(|both| both.0), of(|both| both.1))
    }

    /// How many of the last windows there are, and of how many the new model was unsure, and the old one.
    pub fn unsure(&self) -> (usize, usize, usize) {
        self.sureness.unsure()
    }

    /// Windows that both answered.
    pub fn windows(&self) -> u64 {
        self.n
    }

    /// Windows whose class was told: of these, and those of before.
    pub fn labelled(&self) -> u64 {
        self.paired.n()
    }

    /// Windows that both answered here, and whose class was told.
    pub fn labelled_here(&self) -> u64 {
        self.here.n()
    }

    /// How often which of the two was right.
    pub fn paired(&self) -> Paired {
        self.paired
    }

    /// The share for which they gave the same class.
    pub fn agreement(&self) -> f64 {
        self.agreed as f64 / self.n as f64
    }

    /// The shares of right answers, of the new model and of the old one.
    pub fn accuracies(&self) -> (f64, f64) {
        shares(self.paired)
    }

    /// The same of the windows that both answered here; nothing without a class that was told.
    pub fn accuracies_here(&self) -> Option<(f64, f64)> {
        (self.here.n() > 0).then(|| shares(self.here))
    }
}

fn shares(paired: Paired) -> (f64, f64) {
    let Paired { both, only_new, only_old, .. } = paired;
    let share = |n: u32| f64::from(both + n) / paired.n() as f64;
    (share(only_new), share(only_old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_find_their_windows_by_number() {
        let mut compared = Compared::new(2, &Past::default());
        for id in [3, 9, 5] {
            compared.window(id, (1, 0.9), (0, 0.9));
        }
        for id in [2, 4, 10] {
            compared.label(id, 1);
        }
        assert_eq!(compared.labelled(), 0);
        compared.label(5, 1);
        // They are answered in another order than they are numbered in.
        assert_eq!(compared.accuracies(), (1.0, 0.0));
    }

    #[test]
    fn what_was_tried_before_is_told_apart_from_the_trial() {
        let tried = Paired { only_new: 4, ..Paired::default() };
        let mut compared = Compared::new(2, &Past { tried: Some(tried), ..Past::default() });
        assert_eq!((compared.labelled_here(), compared.accuracies_here()), (0, None));
        compared.right(false, true);
        assert_eq!((compared.labelled(), compared.labelled_here()), (5, 1));
        assert_eq!(compared.accuracies_here(), Some((0.0, 1.0)));
    }
}
