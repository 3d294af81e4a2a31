//! LAMB: Adam's direction, with a step as long as the layer's weights demand.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched loop is compiled for the oldest processor"
)]

use pulp::Simd;

use crate::checks::check_moments;
use crate::decay::DecayKind;
use crate::group::Group;
use crate::lanes::Lanes;
use crate::memory::Memory;
use crate::moments::{Moments, slots};
use crate::optimizer::check_lengths;
use crate::parts::in_parts;
use crate::pass::{Slices, run};
use crate::rule::{Kept, Rule};
use crate::slices::{add_scaled, square_sum};
use crate::slot::Slot;
use crate::step::Step;
use crate::{Error, Optimizer, ParamGroups, State};

/// Options of [`Lamb`]; the default is the paper's, 0.9, 0.999, 1e-6 and weight decay 0.01.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct LambConfig {
    /// Decay of the mean of gradients, at least 0 and below 1.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, at least 0 and below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, at least 0.
    pub eps: f32,
    /// Share of each weight in the direction, at least 0.
    pub weight_decay: f32,
}

impl Default for LambConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-6, weight_decay: 0.01 }
    }
}

impl LambConfig {
    pub(crate) const NAME: &'static str = "lamb";

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_moments(Self::NAME, [self.beta1, self.beta2], self.eps, self.weight_decay)
    }

    /// An optimizer for `n_params` parameters, taken as one layer, that has not taken a step.
    ///
    /// # Errors
    /// If an option is not finite or out of range.
    pub fn build(&self, n_params: usize) -> Result<Lamb, Error> {
        self.build_for(&ParamGroups::whole(n_params))
    }

    /// The same with each tensor of the groups as a layer, see
    /// [`ParamGroups::by_name`](crate::ParamGroups::by_name).
    ///
    /// # Errors
    /// If an option is not finite or out of range.
    pub fn build_for(&self, groups: &ParamGroups) -> Result<Lamb, Error> {
        self.check()?;
        let n_params = groups.n_params();
        let memory = Memory::new(Self::NAME, n_params, slots(0.0), &[]);
        let layers = groups.tensors();
        let longest = layers.iter().map(|layer| layer.range.len()).max().unwrap_or(0);
        let direction = vec![0.0; longest];
        Ok(Lamb { config: *self, n_params, layers, memory, direction, threads: None })
    }
}

/// LAMB, by the paper's second algorithm with `φ(z) = z`.
///
/// ```text
/// m = beta1·m + (1 − beta1)·g
/// v = beta2·v + (1 − beta2)·g²
/// u = m/(1 − beta1^t) / (√(v/(1 − beta2^t)) + eps) + weight_decay·p       t = 1, 2, …
/// p = p − lr · ‖p‖/‖u‖ · u           with the norms over a layer; 1 where one of them is 0
/// ```
/// You et al., <https://arxiv.org/abs/1904.00962>. For large batches. The one optimizer here that
/// needs two passes over memory, as the norms must be known first, and that does not treat each
/// parameter alone: build it with [`ParamGroups`] that know the tensors.
///
/// ```
/// use optim::{LambConfig, Optimizer};
///
/// let mut lamb = LambConfig { weight_decay: 0.0, ..LambConfig::default() }.build(2)?;
/// let mut params = [3.0, 4.0];
/// lamb.step(&mut params, &[1e-3, 1e-3], 0.1);
/// // The first direction is (1, 1); the step is a tenth as long as the weights.
/// let step = 0.1 * 5.0 / 2_f32.sqrt();
/// assert!((params[0] - 3.0 + step).abs() < 1e-3 && (params[1] - 4.0 + step).abs() < 1e-3);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Lamb {
    config: LambConfig,
    n_params: usize,
    layers: Vec<Group>,
    memory: Memory,
    /// Scratch for the direction of the longest layer.
    direction: Vec<f32>,
    threads: Option<usize>,
}

/// The first pass: the moments, and the direction `u` into a slot of its own.
struct Direction(LambConfig);

#[derive(Clone, Copy)]
struct Factors {
    moments: Moments,
    mean_scale: f32,
    weight_decay: f32,
}

impl Rule for Direction {
    const NAME: &'static str = LambConfig::NAME;
    type Factors = Factors;

    fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    fn slots(&self) -> Vec<Slot> {
        [slots(0.0), vec![Slot::signed("direction")]].concat()
    }

    fn factors(&self, _: &[f64], step: Step) -> Factors {
        let LambConfig { beta1, beta2, eps, weight_decay } = self.0;
        let betas = [beta1, beta2];
        let moments = Moments::new(betas, eps, step).corrected(betas, step);
        Factors {
            moments: moments.decayed(DecayKind::L2, 0.0, step),
            mean_scale: (1.0 / step.correction(beta1)) as f32,
            weight_decay: step.decay(weight_decay) as f32,
        }
    }

    #[inline(always)]
    fn update<S: Simd>(f: &Factors, p: &mut Lanes<S>, g: Lanes<S>, [m, v, u]: &mut Kept<S>) {
        f.moments.mean(m, g);
        f.moments.mean_square(v, g);
        *u = f.mean_scale * *m / f.moments.root(*v) + f.weight_decay * *p;
    }
}

impl Optimizer for Lamb {
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        check_lengths(self.n_params, params, grads);
        let Self { config, layers, memory, direction, threads, .. } = self;
        memory.step = memory.step.saturating_add(1);
        let step = Step { number: memory.step, lr: lr.into(), group_decay: None };
        for layer in &*layers {
            let step = layer.of(step);
            let factors = Direction(*config).factors(&[], step);
            let params = &mut params[layer.range.clone()];
            let direction = &mut direction[..params.len()];
            let [m, v, _] = memory.slices(&layer.range);
            let slots = [m, v, &mut *direction];
            let slices = Slices { params: &mut *params, grads: &grads[layer.range.clone()], slots };
            in_parts(slices, *threads, &|slices| run::<Direction>(3, factors, slices));

            let (weights, length) = (square_sum(params), square_sum(direction));
            let trust = if weights > 0.0 && length > 0.0 { (weights / length).sqrt() } else { 1.0 };
            let factor = (step.lr * trust) as f32;
            add_scaled(params, direction, -factor, *threads);
        }
    }

    fn set_threads(&mut self, threads: usize) {
        self.threads = Some(threads);
    }

    fn state(&self) -> State {
        self.memory.state()
    }

    fn load_state(&mut self, state: &State) -> Result<(), Error> {
        self.memory.load(state)
    }

    fn name(&self) -> &'static str {
        LambConfig::NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_or_directions_of_zero_take_the_plain_step() {
        let config = LambConfig { weight_decay: 0.0, ..LambConfig::default() };
        let mut params = [0.0, 0.0];
        config.build(2).unwrap().step(&mut params, &[1.0, -1.0], 0.1);
        testkit::assert_close("params", &params, &[-0.1, 0.1], 1e-5, 0.0);
        let mut params = [1.0, 2.0];
        config.build(2).unwrap().step(&mut params, &[0.0, 0.0], 0.1);
        testkit::assert_same_bits("params", &params, &[1.0, 2.0]);
    }

    #[test]
    fn each_tensor_is_a_layer() {
        let layers = [("a", 2), ("b", 3)];
        let groups = ParamGroups::by_name(&layers, &[], &[]).unwrap();
        let config = LambConfig::default();
        let start = [1.0, -2.0, 30.0, 40.0, 50.0];
        let grads = [1.0, 2.0, -3.0, 1.0, 0.5];
        let mut whole = start;
        config.build_for(&groups).unwrap().step(&mut whole, &grads, 0.1);
        let mut alone = start;
        config.build(2).unwrap().step(&mut alone[..2], &grads[..2], 0.1);
        config.build(3).unwrap().step(&mut alone[2..], &grads[2..], 0.1);
        testkit::assert_same_bits("params", &whole, &alone);
    }
}
