//! Two models on the same windows: whether a new one may answer, and whether one that does has to go.
//!
//! Where enough classes were told, the share of right answers decides: both models saw the same windows, so only those
//! count that one of them alone had right (McNemar, exactly). Where they were not, the old one is what one can go by:
//! how often the two agree, and whether they share the windows out among the classes alike. That tells nothing of what
//! neither was made for: where both are less sure than they usually are, it is the world that changed, and no model goes.

use monitor::{Cause, Paired};

use super::compared::{Compared, LEVEL_SURE};

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

/// So unlikely that the old model may be less sure than usual: then agreement with it is not counted on.
const LEVEL_MAY: f64 = 0.1;

/// Windows by which it is seen whether two models agree by chance alone, where what comes in is strange to them.
const LAST: usize = 60;

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

/// Whether what comes in is strange to the old model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strange {
    No,
    Perhaps,
    Yes,
}

impl Compared {
    /// How often the old model is right, once enough classes were told; cautiously, as it may have been luck.
    pub fn accuracy_before(&self) -> Option<f64> {
        let right = self.paired.both + self.paired.only_old;
        let accuracy = || f64::from(right + 1) / (self.labelled() + 2) as f64;
        (self.labelled() >= LABELLED).then(accuracy)
    }

    /// Whether a model that nobody hears yet may answer.
    pub fn may_answer(&self, terms: Terms) -> Verdict {
        let windows = u64::from(terms.windows.max(1));
        // While it waits the live model is wrong that often.
        if self.n >= FEWEST && self.is_surely_better() {
            return Verdict::Good;
        }
        // Not after every window: one that is worse would seem as good at some time.
        if self.n == 0 || !self.n.is_multiple_of(windows) {
            return Verdict::Open;
        }
        if self.labelled() < LABELLED {
            // Where classes are told, they are waited for: one that was adjusted to what has changed does not agree. So is
            // what is as usual.
            let is_told = self.labelled() > 0 || self.stranger() == Strange::Yes;
            let waits = is_told && self.n < MOST_TIMES * windows;
            return if waits { Verdict::Open } else { self.agrees(terms) };
        }
        match self.loss() {
            Some(_) if self.paired.p_worse() > LEVEL && self.n < MOST_TIMES * windows => {
                Verdict::Open
            }
            Some(reason) => Verdict::Bad(reason),
            None => Verdict::Good,
        }
    }

    /// Whether it is right more often where classes were told, by more than chance.
    fn is_surely_better(&self) -> bool {
        let Paired { only_new, only_old, .. } = self.paired;
        let swapped = Paired { only_new: only_old, only_old: only_new, ..self.paired };
        self.labelled() >= LABELLED && swapped.p_worse() <= LEVEL_EACH
    }

    /// Whether a model that answers has to go: looked at after every window and every class that is told.
    pub fn may_stay(&self, terms: Terms) -> Verdict {
        if self.paired.p_worse() <= LEVEL_EACH
            && let Some(reason) = self.loss()
        {
            return Verdict::Bad(reason);
        }
        let by_labels = self.labelled() >= LABELLED;
        if !by_labels && let Some(reason) = self.fault(terms) {
            return Verdict::Bad(reason);
        }
        let windows = u64::from(terms.windows);
        if self.n < windows {
            return Verdict::Open;
        }
        match (self.loss(), self.stranger()) {
            (Some(reason), _) if by_labels && self.paired.p_worse() <= LEVEL => {
                Verdict::Bad(reason)
            }
            _ if by_labels => Verdict::Good,
            // Nothing shows that it is worse.
            (_, Strange::Yes) => Verdict::Good,
            (_, Strange::Perhaps) if self.n < MOST_TIMES * windows => Verdict::Open,
            _ => self.agrees(terms),
        }
    }

    /// Why a model that answers has to go, where classes are not told.
    fn fault(&self, terms: Terms) -> Option<String> {
        let alone = self.sureness.cause(LEVEL_SURE) == Cause::Model;
        let (n, new, old) = self.sureness.unsure();
        let apart = self.recent.iter().rev().take(n).filter(|(_, new, old)| new != old).count();
        // One that is less sure and says the same does no harm.
        if alone && apart as f64 > ((1.0 - terms.agreement) * n as f64).ceil() {
            return Some(format!(
                "another class than the model before for {apart} of the last {n} windows, unsure of {new} of them, \
                 and that, as usual, of {old}"
            ));
        }
        if self.n < FEWEST {
            return None;
        }
        // Models that only do not know what comes in agree by chance at least.
        let is_hardly = match self.stranger() {
            Strange::No => hardly((self.agreed, self.n), terms.agreement),
            Strange::Perhaps | Strange::Yes => {
                let last = self.recent.iter().rev().take(LAST);
                let agreed = last.clone().filter(|(_, new, old)| new == old).count() as u64;
                hardly((agreed, last.count() as u64), 1.0 / self.moved.len() as f64)
            }
        };
        is_hardly.then(|| self.disagreement(terms))
    }

    /// Whether the old model is less sure than usual, so that it tells nothing of the new one.
    fn stranger(&self) -> Strange {
        let p_old = self.sureness.p_as_usual().1;
        if self.is_strange || p_old <= LEVEL_SURE {
            Strange::Yes
        } else if p_old <= LEVEL_MAY {
            Strange::Perhaps
        } else {
            Strange::No
        }
    }

    /// Whether both are wrong more often than the old one was before, or less sure than they usually are: then it is
    /// not the model.
    pub fn is_the_world(&self, accuracy: Option<f64>) -> bool {
        let is_wrong = |accuracy| {
            self.labelled() >= LABELLED && self.paired.cause(accuracy, LEVEL_EACH) == Cause::World
        };
        self.is_strange || accuracy.is_some_and(is_wrong)
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

/// Whether so few agreements of so many are hardly by chance, if this share is to be expected.
fn hardly((agreed, n): (u64, u64), share: f64) -> bool {
    let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let (both, neither) = (count(agreed), count(n - agreed));
    // To agree is to be right by the other's answer.
    let agreed = Paired { both, neither, ..Paired::default() };
    agreed.cause(share, LEVEL_EACH) == Cause::World
}

#[cfg(test)]
mod tests {
    use super::super::compared::Past;
    use super::*;

    const TERMS: Terms = Terms { windows: 100, agreement: 0.9 };

    /// After so many windows of which every k-th differs, and which are labelled or not: new right where it agrees.
    fn after(n: u64, every: u64, labelled: bool) -> Compared {
        let mut compared = Compared::new(3, &Past::default());
        for id in 0..n {
            let old = (id % 3) as u32;
            let new = if id.is_multiple_of(every) { (old + 1) % 3 } else { old };
            compared.window(id, (new, 0.9), (old, 0.9));
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
        (91..100).for_each(|id| compared.window(id, (0, 0.9), (2, 0.9)));
        let Verdict::Bad(reason) = compared.may_answer(TERMS) else { panic!("it may") };
        assert!(reason.contains("a class to 8 windows of 100 more"), "{reason}");
    }

    #[test]
    fn one_that_is_surely_better_does_not_wait() {
        let after = |n, better, worse| {
            let mut compared = after(n, 2, false);
            (0..20).for_each(|_| compared.right(true, true));
            (0..better).for_each(|_| compared.right(true, false));
            (0..worse).for_each(|_| compared.right(false, true));
            compared.may_answer(TERMS)
        };
        assert_eq!(after(10, 8, 0), Verdict::Good);
        assert_eq!(after(9, 8, 0), Verdict::Open, "it has hardly answered");
        assert_eq!(after(10, 7, 0), Verdict::Open, "by chance in one of 128 cases");
        assert_eq!(after(10, 8, 3), Verdict::Open);
        assert_eq!(after(10, 0, 8), Verdict::Open);
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
        assert!(compared.is_the_world(Some(0.95)) && !compared.is_the_world(Some(0.5)));
    }

    /// A trial of two models that were mostly sure before; then windows with so many classes given alike of ten, for
    /// which they are as sure as this. Gives after how many windows it ends how, and whether it is the world.
    fn tried(alike: u64, new: f32, old: f32) -> (u64, Verdict, bool) {
        let mut before = Compared::new(7, &Past::default());
        let sure = |id: u64| 0.8 + 0.01 * (id * 7 % 20) as f32;
        for id in 0..100 {
            before.window(id, (0, sure(id)), (0, sure(id + 3)));
        }
        let past = Past { usual: before.usual(), ..Past::default() };
        let mut compared = Compared::new(7, &past);
        for id in 0..2000 {
            let class = (id % 7) as u32;
            if id < 20 {
                compared.window(id, (class, sure(id)), (class, sure(id + 3)));
            } else {
                let other = if id % 10 < alike { class } else { (class + 1) % 7 };
                compared.window(id, (other, new), (class, old));
            }
            let verdict = compared.may_stay(TERMS);
            if verdict != Verdict::Open {
                return (id + 1, verdict, compared.is_the_world(None));
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn without_labels_one_that_alone_is_less_sure_goes() {
        let (n, verdict, is_world) = tried(8, 0.5, 0.95);
        let Verdict::Bad(reason) = verdict else { panic!("it stays") };
        assert!(n <= 40 && !is_world && reason.contains("the last 30 windows"), "{n}: {reason}");
    }

    #[test]
    fn without_labels_both_less_sure_is_the_world_and_no_model_goes() {
        // They agree for half of the windows, which is too little where all is as usual.
        assert_eq!(tried(5, 0.5, 0.6), (100, Verdict::Good, true));
        // So it is if only the old one finds it strange.
        assert_eq!(tried(5, 0.95, 0.6), (100, Verdict::Good, false));
        let (n, verdict, is_world) = tried(5, 0.95, 0.95);
        assert!(n <= 60 && matches!(verdict, Verdict::Bad(_)) && !is_world, "{n}");
        // One that says what the other never says is bad also there.
        let (n, verdict, _) = tried(0, 0.5, 0.6);
        assert!(n <= 100 && matches!(verdict, Verdict::Bad(_)), "{n}");
    }

    #[test]
    fn a_candidate_waits_while_what_comes_is_strange() {
        let usual = {
            let mut before = Compared::new(3, &Past::default());
            (0..100).for_each(|id| before.window(id, (0, 0.9 + 0.001 * id as f32), (0, 0.9)));
            before.usual()
        };
        let mut compared = Compared::new(3, &Past { usual, ..Past::default() });
        for id in 0..1000 {
            assert_eq!(compared.may_answer(TERMS), Verdict::Open, "{id}");
            compared.window(id, (u32::from(id % 2 == 0), 0.5), (0, 0.5));
        }
        // In the end not knowing is a no.
        assert!(matches!(compared.may_answer(TERMS), Verdict::Bad(_)));
    }
}
