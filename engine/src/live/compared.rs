//! Two models on the same windows: whether a new one may answer, and whether one that does has to go.
//!
//! Where enough classes were told, the share of right answers decides: both models saw the same windows, so only those
//! count that one of them alone had right (McNemar, exactly). Where they were not, the old one is what one can go by:
//! how often the two agree, and whether they share the windows out among the classes alike.

use std::collections::VecDeque;

use monitor::{Cause, Paired};

/// Windows whose classes may still be told.
const MOST_RECENT: usize = 8192;

/// So many classes that were told decide.
const LABELLED: u64 = 20;

/// The share of right answers that a new model may have less.
const MOST_LOSS: f64 = 0.01;

/// A loss is more than chance if it is as unlikely as that without one.
const LEVEL: f64 = 0.05;

/// The same where it is looked at after every window.
const LEVEL_EACH: f64 = 0.005;

/// A new model that seems worse, perhaps by chance, gets so many times as many windows.
const MOST_TIMES: u64 = 10;

/// Windows before which agreement tells nothing.
const FEWEST: u64 = 10;

/// What is asked of a new model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Windows that both models answer before it is live, and once more as the canary; with 0 it is live at once.
    pub windows: u32,
    /// The share of windows for which it gives the same class as the model before, where no classes are told.
    pub agreement: f64,
}

/// What is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// It is as good.
    Good,
    /// It is not, and why.
    Bad(String),
}

/// What two models said of the same windows.
#[derive(Debug, Clone)]
pub struct Compared {
    n: u64,
    agreed: u64,
    /// Of each class, how many windows the new model gave it, less those that the old one did.
    moved: Vec<i64>,
    paired: Paired,
    /// Number, new class and old class of the last windows.
    recent: VecDeque<(u64, u32, u32)>,
}

impl Compared {
    /// Before the first window; of others with known classes, it may be known already how often which was right.
    pub fn new(n_classes: usize, paired: Paired) -> Self {
        let (moved, recent) = (vec![0; n_classes], VecDeque::new());
        Self { n: 0, agreed: 0, moved, paired, recent }
    }

    /// Both answered a window.
    pub fn window(&mut self, id: u64, new: u32, old: u32) {
        self.n += 1;
        if new == old {
            self.agreed += 1;
        } else {
            self.moved[new as usize] += 1;
            self.moved[old as usize] -= 1;
        }
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((id, new, old));
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
    }

    /// Windows that both answered.
    pub fn windows(&self) -> u64 {
        self.n
    }

    /// Those of them whose class was told.
    pub fn labelled(&self) -> u64 {
        self.paired.n()
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
        let Paired { both, only_new, only_old, .. } = self.paired;
        let share = |n: u32| f64::from(both + n) / self.paired.n() as f64;
        (share(only_new), share(only_old))
    }

    /// How often the old model is right, once enough classes were told; cautiously, as it may have been luck.
    pub fn accuracy_before(&self) -> Option<f64> {
        let right = self.paired.both + self.paired.only_old;
        let accuracy = || f64::from(right + 1) / (self.labelled() + 2) as f64;
        (self.labelled() >= LABELLED).then(accuracy)
    }

    /// Whether a model that nobody hears yet may answer.
    pub fn may_answer(&self, terms: Terms) -> Verdict {
        let windows = u64::from(terms.windows.max(1));
        // Not after every window: one that is worse would seem as good at some time.
        if self.n == 0 || !self.n.is_multiple_of(windows) {
            return Verdict::Open;
        }
        if self.labelled() < LABELLED {
            // Where classes are told, they are waited for: one that was adjusted to what has changed does not agree.
            let is_told = self.labelled() > 0 && self.n < MOST_TIMES * windows;
            return if is_told { Verdict::Open } else { self.agrees(terms) };
        }
        match self.loss() {
            Some(_) if self.paired.p_worse() > LEVEL && self.n < MOST_TIMES * windows => {
                Verdict::Open
            }
            Some(reason) => Verdict::Bad(reason),
            None => Verdict::Good,
        }
    }

    /// Whether a model that answers has to go: looked at after every window and every class that is told.
    pub fn may_stay(&self, terms: Terms) -> Verdict {
        if self.paired.p_worse() <= LEVEL_EACH
            && let Some(reason) = self.loss()
        {
            return Verdict::Bad(reason);
        }
        let by_labels = self.labelled() >= LABELLED;
        if !by_labels && self.n >= FEWEST && self.hardly_agrees(terms) {
            return Verdict::Bad(self.disagreement(terms));
        }
        if self.n < u64::from(terms.windows) {
            return Verdict::Open;
        }
        match self.loss() {
            Some(reason) if by_labels && self.paired.p_worse() <= LEVEL => Verdict::Bad(reason),
            _ if by_labels => Verdict::Good,
            _ => self.agrees(terms),
        }
    }

    /// Whether both are wrong more often than the old one was before: then it is not the model.
    pub fn is_the_world(&self, accuracy: f64) -> bool {
        self.labelled() >= LABELLED && self.paired.cause(accuracy, LEVEL_EACH) == Cause::World
    }

    /// In words, if the new model is right less often than the old one, by more than is allowed.
    fn loss(&self) -> Option<String> {
        let lost = f64::from(self.paired.only_old) - f64::from(self.paired.only_new);
        (lost > MOST_LOSS * self.labelled() as f64).then(|| {
            let (new, old) = self.accuracies();
            format!(
                "right for {:.1} % of {} windows, and the model before for {:.1} %",
                100.0 * new,
                self.labelled(),
                100.0 * old
            )
        })
    }

    /// Whether so few agreements are hardly by chance.
    fn hardly_agrees(&self, terms: Terms) -> bool {
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let (both, neither) = (count(self.agreed), count(self.n - self.agreed));
        // To agree is to be right by the other's answer.
        let agreed = Paired { both, neither, ..Paired::default() };
        agreed.cause(terms.agreement, LEVEL_EACH) == Cause::World
    }

    fn agrees(&self, terms: Terms) -> Verdict {
        if self.agreement() < terms.agreement {
            return Verdict::Bad(self.disagreement(terms));
        }
        // All that disagree could go from one class to another.
        let most = 0.5 * (1.0 - terms.agreement) * self.n as f64;
        match self.moved.iter().find(|&&moved| moved.unsigned_abs() as f64 > most) {
            Some(moved) => Verdict::Bad(format!(
                "it gives a class to {} windows of {} {} than the model before",
                moved.unsigned_abs(),
                self.n,
                if *moved > 0 { "more" } else { "fewer" },
            )),
            None => Verdict::Good,
        }
    }

    fn disagreement(&self, terms: Terms) -> String {
        format!(
            "the same class as the model before for {} windows of {}, {:.1} %, and {:.1} % are asked for",
            self.agreed,
            self.n,
            100.0 * self.agreement(),
            100.0 * terms.agreement
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { windows: 100, agreement: 0.9 };

    /// After so many windows of which every k-th differs, and which are labelled or not: new right where it agrees.
    fn after(n: u64, every: u64, labelled: bool) -> Compared {
        let mut compared = Compared::new(3, Paired::default());
        for id in 0..n {
            let old = (id % 3) as u32;
            let new = if id.is_multiple_of(every) { (old + 1) % 3 } else { old };
            compared.window(id, new, old);
            if labelled {
                compared.label(id, old);
            }
        }
        compared
    }

    #[test]
    fn one_that_agrees_may_answer_and_one_that_does_not_may_not() {
        assert_eq!(after(99, 50, false).may_answer(TERMS), Verdict::Open);
        assert_eq!(after(100, 20, false).may_answer(TERMS), Verdict::Good);
        assert_eq!(after(101, 20, false).may_answer(TERMS), Verdict::Open);
        let Verdict::Bad(reason) = after(100, 5, false).may_answer(TERMS) else { panic!("it may") };
        assert!(reason.contains("80 windows of 100, 80.0 %"), "{reason}");
        // Nine of a hundred, all of them from one class.
        let mut compared = after(91, 1000, false);
        (91..100).for_each(|id| compared.window(id, 0, 2));
        let Verdict::Bad(reason) = compared.may_answer(TERMS) else { panic!("it may") };
        assert!(reason.contains("a class to 8 windows of 100 more"), "{reason}");
    }

    #[test]
    fn labels_decide_where_there_are_some() {
        // It differs, and is right.
        let mut compared = after(100, 2, false);
        (0..40).for_each(|_| compared.right(true, false));
        assert_eq!(compared.may_answer(TERMS), Verdict::Good);
        assert_eq!(compared.may_stay(TERMS), Verdict::Good);
        // As often right as the other, but for one window of a hundred.
        assert_eq!(after(100, 100, true).may_answer(TERMS), Verdict::Good);
        // Perhaps by chance: another hundred windows.
        assert_eq!(after(100, 34, true).may_answer(TERMS), Verdict::Open);
        let bad = |compared: Compared| matches!(compared.may_answer(TERMS), Verdict::Bad(_));
        assert!(bad(after(300, 34, true)) && bad(after(100, 4, true)));
        // In the end not knowing is a no.
        let mut compared = after(1000, 1000, false);
        (0..100).for_each(|i| compared.right(i > 2, i != 2));
        assert!(bad(compared));
    }

    #[test]
    fn classes_that_are_told_slowly_are_waited_for() {
        let mut compared = after(100, 2, false);
        (0..3).for_each(|_| compared.right(true, false));
        assert_eq!(compared.may_answer(TERMS), Verdict::Open);
        (0..17).for_each(|_| compared.right(true, false));
        assert_eq!(compared.may_answer(TERMS), Verdict::Good);
        // Not for ever.
        let mut compared = after(1000, 2, false);
        compared.right(true, false);
        assert!(matches!(compared.may_answer(TERMS), Verdict::Bad(_)));
    }

    #[test]
    fn one_that_answers_and_is_bad_goes_soon() {
        let goes_after = |every: u64, labelled: bool| {
            (1..=200).find(|&n| after(n, every, labelled).may_stay(TERMS) != Verdict::Open)
        };
        // A permuted head: it never agrees, and is never right.
        assert_eq!((goes_after(1, true), goes_after(1, false)), (Some(8), Some(10)));
        // Two of seven classes permuted.
        let soon = goes_after(3, true).expect("some");
        assert!(soon <= 30, "{soon}");
        let soon = goes_after(3, false).expect("some");
        assert!(soon <= 40, "{soon}");
        // One that is nearly the same stays, after all windows.
        assert_eq!((goes_after(25, true), goes_after(25, false)), (Some(100), Some(100)));
        assert_eq!(after(100, 25, true).may_stay(TERMS), Verdict::Good);
        assert_eq!(after(100, 25, false).may_stay(TERMS), Verdict::Good);
    }

    #[test]
    fn both_wrong_is_the_world() {
        let mut compared = after(60, 60, false);
        (0..60).for_each(|i| compared.right(i % 2 == 0, i % 2 == 0));
        assert_eq!(compared.may_stay(TERMS), Verdict::Open);
        assert!(compared.is_the_world(0.95) && !compared.is_the_world(0.5));
    }

    #[test]
    fn labels_find_their_windows_by_number() {
        let mut compared = Compared::new(2, Paired::default());
        for id in [3, 5, 9] {
            compared.window(id, 1, 0);
        }
        for id in [2, 4, 10] {
            compared.label(id, 1);
        }
        assert_eq!(compared.labelled(), 0);
        compared.label(5, 1);
        assert_eq!(compared.accuracies(), (1.0, 0.0));
    }
}
