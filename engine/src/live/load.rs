//! Whether windows come faster than they are answered, by what is counted each second: a rule without a clock.

use std::collections::VecDeque;

/// Windows that made room or were late, of which one in so many due ones is overload, and fewest.
const ONE_IN: u64 = 20;
const FEWEST: u64 = 2;

/// Seconds over which the share of the time is taken that answers need, and below which it has to be with more windows.
const CALM: usize = 5;
const SHARE: f64 = 0.6;

/// Seconds without overload before more windows are due again: as many, and twice as many each time that this was too
/// early.
const PATIENCE: u32 = CALM as u32;
const MOST_PATIENCE: u32 = 80;

/// What was counted in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Second {
    /// Windows that were due.
    pub due: u64,
    /// Windows that made room for newer ones, or were late.
    pub missed: u64,
    /// The share of the time in which the model answered.
    pub busy: f64,
}

/// Every how many-th window is to be due from now on, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Every how many-th.
    pub every: u64,
    /// For people.
    pub reason: String,
}

/// Decides every how many-th window is due, of 1, 2, 4 … and a most.
///
/// More are left out where in a second more than one window in 20, and at least 2, made room or were late; not again
/// in the second behind, whose windows may be older. Fewer are left out where the model answered for less than 0.6 of
/// the last 5 seconds, reckoned with as many windows more, and there was no overload meanwhile. If that was too early,
/// it takes twice as long the next time, up to 80 seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    most: u64,
    every: u64,
    /// Shares of the last seconds without overload.
    busy: VecDeque<f64>,
    /// Seconds since the last overload or turn, and since the last turn.
    calm: u32,
    since: u32,
    patience: u32,
    /// Whether the last turn was to more windows.
    was_back: bool,
}

impl Load {
    /// All windows are due, and later at least every `most`-th.
    pub fn new(most: u64) -> Self {
        Self {
            most,
            every: 1,
            busy: VecDeque::with_capacity(CALM),
            calm: 0,
            since: u32::MAX,
            patience: PATIENCE,
            was_back: false,
        }
    }

    /// Takes what was counted in the next second.
    pub fn second(&mut self, second: Second) -> Option<Turn> {
        self.since = self.since.saturating_add(1);
        if second.missed >= FEWEST && second.missed * ONE_IN > second.due {
            self.calm = 0;
            self.busy.clear();
            let settles = self.since <= 1 && !self.was_back;
            return (self.every < self.most && !settles).then(|| self.fewer(second));
        }
        self.calm = self.calm.saturating_add(1);
        if self.busy.len() == CALM {
            self.busy.pop_front();
        }
        self.busy.push_back(second.busy);
        let before = (self.every.next_power_of_two() / 2).max(1);
        let busy = self.busy.iter().sum::<f64>() / CALM as f64;
        let then = busy * self.every as f64 / before as f64;
        // Seconds in which nothing is answered say nothing.
        let is_calm = self.calm >= self.patience && busy > 0.0 && then < SHARE;
        (self.every > 1 && is_calm).then(|| {
            let reason = format!(
                "no overload for {} s, and all that will be due take {:.0} % of the time",
                self.calm,
                100.0 * then
            );
            self.turn(before, true);
            Turn { every: before, reason }
        })
    }

    fn fewer(&mut self, second: Second) -> Turn {
        if self.was_back {
            let is_early = self.since <= 2 * self.patience;
            let twice = (2 * self.patience).min(MOST_PATIENCE);
            self.patience = if is_early { twice } else { PATIENCE };
        }
        self.turn((2 * self.every).min(self.most), false);
        let Second { due, missed, .. } = second;
        let reason =
            format!("{missed} windows made room for newer ones or were late, and {due} were due");
        Turn { every: self.every, reason }
    }

    fn turn(&mut self, every: u64, is_back: bool) {
        (self.every, self.was_back) = (every, is_back);
        (self.calm, self.since) = (0, 0);
        self.busy.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that takes `cost` seconds for each of `rate` windows a second: answers what it can of those that are due.
    fn second(load: &Load, rate: u64, cost: f64) -> Second {
        let due = rate / load.every;
        let busy = (due as f64 * cost).min(1.0);
        Second { due, missed: due.saturating_sub((1.0 / cost) as u64), busy }
    }

    /// Every how many-th window is due behind each of some seconds.
    fn course(load: &mut Load, seconds: impl IntoIterator<Item = (u64, f64)>) -> Vec<u64> {
        let each = seconds.into_iter().map(|(rate, cost)| {
            let second = second(load, rate, cost);
            load.second(second);
            load.every
        });
        each.collect()
    }

    #[test]
    fn overload_leaves_out_as_many_as_needed_and_no_more() {
        let mut load = Load::new(8);
        // Three times too slow: every fourth window is answered in three quarters of the time, and stays so.
        let every = course(&mut load, [(100, 0.03); 60]);
        assert_eq!((&every[..4], every[59]), (&[2, 2, 4, 4][..], 4));
        assert!(every[3..].iter().all(|&every| every == 4), "{every:?}");
        // However slow, not more than was said.
        for (most, expected) in [(1, 1), (3, 3), (8, 8)] {
            let every = course(&mut Load::new(most), [(100, 1.0); 20]);
            assert_eq!(every.into_iter().max(), Some(expected));
        }
    }

    #[test]
    fn once_there_is_time_all_windows_are_due_again() {
        let mut load = Load::new(4);
        course(&mut load, [(100, 0.03); 10]);
        assert_eq!(load.every, 4);
        // The mean of five seconds is low enough behind four, and again behind five.
        let every = course(&mut load, [(100, 0.001); 12]);
        assert_eq!(every, [4, 4, 4, 2, 2, 2, 2, 2, 1, 1, 1, 1]);
        // 0.59 of the time would do, 0.61 would not; from 3 the next is 2.
        for (cost, expected) in [(0.0059, 1), (0.0061, 2)] {
            let mut load = Load { every: 3, ..Load::new(3) };
            assert_eq!(course(&mut load, [(100, cost); 30])[29], expected);
        }
    }

    #[test]
    fn a_spike_is_over_five_seconds_later_and_few_are_none() {
        let mut load = Load::new(4);
        let calm = Second { due: 100, missed: 1, busy: 0.1 };
        assert_eq!(load.second(calm), None);
        assert_eq!(load.second(Second { missed: 5, ..calm }), None, "one in twenty");
        assert_eq!(load.second(Second { due: 3, missed: 1, ..calm }), None, "one alone");
        let turn = load.second(Second { missed: 30, ..calm }).expect("overload");
        assert_eq!(turn.every, 2);
        assert!(turn.reason.contains("30 windows") && turn.reason.contains("100 were due"));
        // What was older is missed in the second behind.
        assert_eq!(load.second(Second { due: 50, missed: 9, busy: 1.0 }), None);
        let turns: Vec<_> = (0..20).map(|_| load.second(Second { due: 50, ..calm })).collect();
        let backs: Vec<usize> = (0..20).filter(|&i| turns[i].is_some()).collect();
        assert_eq!((backs, load.every), (vec![4], 1));
    }

    #[test]
    fn a_load_that_comes_and_goes_does_not_let_it_flap() {
        let mut load = Load::new(4);
        // Overload whenever all windows are due, though the time would do.
        let mut turns = Vec::new();
        for second in 0..600 {
            let missed = if load.every == 1 { 50 } else { 0 };
            let turn = load.second(Second { due: 100 / load.every, missed, busy: 0.2 });
            turns.extend(turn.map(|turn| (second, turn.every)));
        }
        let waits: Vec<u32> = turns.windows(2).map(|two| two[1].0 - two[0].0).collect();
        assert_eq!(waits[..8], [5, 1, 10, 1, 20, 1, 40, 1]);
        assert!(waits[8..].iter().all(|&wait| wait == 80 || wait == 1), "{waits:?}");
        // Once all were due for long, it is as at first.
        let calm = Second { due: 100, missed: 0, busy: 0.2 };
        (0..1000).for_each(|_| drop(load.second(calm)));
        load.second(Second { missed: 50, ..calm }).expect("overload");
        let back = (1..100).find(|_| load.second(calm).is_some());
        assert_eq!((back, load.every), (Some(5), 1));
    }

    #[test]
    fn an_input_that_stands_still_changes_nothing() {
        let mut load = Load { every: 4, ..Load::new(4) };
        let nothing = Second { due: 0, missed: 0, busy: 0.0 };
        assert!((0..100).all(|_| load.second(nothing).is_none()));
    }
}
