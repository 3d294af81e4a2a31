//! Rules that are written outside of the crate keep what is promised for them.

#![expect(clippy::inline_always, reason = "as the documentation of `Rule` asks")]

use optim::{
    AdagradConfig, Error, Fused, GroupConfig, Kept, Lanes, Optimizer, ParamGroups, Rule, Simd,
    Slot, Step,
};
use testkit::{assert_close, assert_same_bits, sequence};

/// Adagrad once more, with a count of steps to have all parts of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Own {
    first: f32,
}

impl Rule for Own {
    const NAME: &'static str = "own";
    type Factors = (f32, f32);

    fn check(&self) -> Result<(), Error> {
        let conflict = "first must be above 0";
        if self.first > 0.0 { Ok(()) } else { Err(Error::Conflict { owner: Self::NAME, conflict }) }
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::squared("sum").starting_at(self.first)]
    }

    fn scalars(&self) -> &'static [(&'static str, f64)] {
        &[("steps", 0.0)]
    }

    fn advance(&self, scalars: &mut [f64], _: Step) {
        scalars[0] += 1.0;
    }

    fn factors(&self, scalars: &[f64], step: Step) -> (f32, f32) {
        assert_eq!(scalars, [step.number as f64]);
        (step.lr as f32, step.decay(0.0) as f32)
    }

    #[inline(always)]
    fn update<S: Simd>(f: &(f32, f32), p: &mut Lanes<S>, g: Lanes<S>, [sum, ..]: &mut Kept<S>) {
        let (lr, weight_decay) = *f;
        let d = g + weight_decay * *p;
        *sum = *sum + d * d;
        *p = *p - lr * d / (sum.sqrt() + 1e-10);
    }

    fn average(&self, params: &mut [f32], slots: &[&[f32]]) {
        for (p, &sum) in params.iter_mut().zip(slots[0]) {
            *p += sum;
        }
    }
}

fn groups() -> ParamGroups {
    let a = GroupConfig { weight_decay: Some(0.1), lr_scale: 0.5, ..GroupConfig::new(&["a"]) };
    let b = GroupConfig { frozen: true, ..GroupConfig::new(&["b"]) };
    ParamGroups::by_name(&[("a", 40_000), ("b", 7), ("c", 33)], &[a, b], &[]).unwrap()
}

#[test]
fn it_steps_as_a_rule_of_the_crate() {
    let groups = groups();
    let mut own = Fused::new(Own { first: 0.25 }, &groups).unwrap();
    let config = AdagradConfig { initial_accumulator: 0.25, ..AdagradConfig::default() };
    let mut adagrad = config.build_for(&groups).unwrap();
    let mut params = sequence(1, groups.n_params());
    let mut expected = params.clone();
    for step in 0..5 {
        let grads = sequence(2 + step, params.len());
        own.step(&mut params, &grads, 0.1);
        adagrad.step(&mut expected, &grads, 0.1);
        // Threads that are asked for do not show.
        own.set_threads(1 + step as usize);
    }
    assert_same_bits("params", &params, &expected);
    assert_same_bits("sum", &own.state().tensors["sum"], &adagrad.state().tensors["sum"]);
    assert_eq!(own.name(), "own");
}

#[test]
fn it_resumes_and_averages_what_is_trained() {
    let groups = groups();
    let rule = Own { first: 1.0 };
    let mut optimizer = Fused::new(rule, &groups).unwrap();
    let mut params = vec![0.0; groups.n_params()];
    optimizer.average(&mut params);
    assert_close("before the first step", &params[..1], &[0.0], 0.0, 0.0);
    let grads = vec![2.0; params.len()];
    optimizer.step(&mut params, &grads, 0.0);
    let mut resumed = Fused::new(rule, &groups).unwrap();
    resumed.load_state(&optimizer.state()).unwrap();
    assert_eq!(resumed, optimizer);
    resumed.step(&mut params, &grads, 0.0);
    resumed.average(&mut params);
    assert_close("trained, frozen", &params[39_999..40_001], &[9.0, 0.0], 1e-6, 0.0);
}

#[test]
fn its_options_are_checked() {
    let message = Fused::new(Own { first: 0.0 }, &ParamGroups::whole(1)).unwrap_err().to_string();
    assert_eq!(message, "own: first must be above 0");
}

/// A rule that wants to remember more than there is room for.
struct Greedy;

impl Rule for Greedy {
    const NAME: &'static str = "greedy";
    type Factors = ();

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn slots(&self) -> Vec<Slot> {
        ["a", "b", "c", "d"].map(Slot::signed).to_vec()
    }

    fn factors(&self, _: &[f64], _: Step) {}

    fn update<S: Simd>(&(): &(), _: &mut Lanes<S>, _: Lanes<S>, _: &mut Kept<S>) {}
}

#[test]
#[should_panic(expected = "greedy has more than 3 slots")]
fn it_has_at_most_three_slots() {
    let _ = Fused::new(Greedy, &ParamGroups::whole(1));
}
