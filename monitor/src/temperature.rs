//! The temperature of a model's answers: one number by which logits are divided, so that probabilities are
//! as large as answers are right.

use crate::probabilities::{argmax, log_softmax};

/// The smallest and the largest temperature.
pub const BOUNDS: (f64, f64) = (0.05, 20.0);

/// With fewer windows nothing is fitted: chance would decide.
pub const FEWEST_WINDOWS: usize = 20;

/// Halvings of the range of log T, whose length is 6.
const HALVINGS: usize = 40;

/// What a fit found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// What logits are to be divided by; 1 where nothing could be fitted.
    pub temperature: f64,
    /// Why nothing could be fitted.
    pub kept: Option<&'static str>,
}

/// The temperature `T` within [`BOUNDS`] with the smallest mean cross-entropy of `logits / T`
/// ([arXiv 1706.04599](https://arxiv.org/abs/1706.04599), section 4.2), to six decimals.
///
/// In `1/T` the cross-entropy is convex, and its derivative is the mean of `Σ_c p_c·l_c − l_target`: the root
/// of that is found by halving the range of `log T`, the same bits for the same logits.
///
/// # Shapes
/// `logits`: `[targets, n_classes]`.
///
/// # Panics
/// If the lengths do not fit together.
///
/// ```
/// // Of 25 answers, each given with a probability of 0.98, 20 are right: as large it should be.
/// let logits: Vec<f32> = [4.0, 0.0].repeat(25);
/// let targets: Vec<u32> = (0..25).map(|i| u32::from(i % 5 == 0)).collect();
/// let found = monitor::temperature::fit(2, &logits, &targets);
/// let p = 1.0 / (1.0 + (-4.0 / found.temperature).exp());
/// assert!((p - 0.8).abs() < 1e-5);
/// ```
pub fn fit(n_classes: usize, logits: &[f32], targets: &[u32]) -> Fitted {
    assert_eq!(logits.len(), n_classes * targets.len(), "temperature: logits and targets");
    if let Some(why) = cannot(n_classes, logits, targets) {
        return Fitted { temperature: 1.0, kept: Some(why) };
    }
    Fitted { temperature: best(n_classes, logits, targets), kept: None }
}

/// The least mean cross-entropy of `logits / T` over all temperatures within [`BOUNDS`]: what a loss is apart from how
/// sure answers are. Where all answers are right, it is close to 0.
///
/// # Panics
/// If the lengths do not fit together.
pub fn least_loss(n_classes: usize, logits: &[f32], targets: &[u32]) -> f64 {
    assert_eq!(logits.len(), n_classes * targets.len(), "temperature: logits and targets");
    let mut divided = logits.to_vec();
    divide(&mut divided, Some(best(n_classes, logits, targets)));
    let rows = divided.chunks_exact(n_classes).zip(targets);
    let sum: f64 = rows.map(|(logits, &t)| -f64::from(log_softmax(logits)[t as usize])).sum();
    sum / targets.len().max(1) as f64
}

/// The temperature with the least cross-entropy, or the bound that is closest to it.
fn best(n_classes: usize, logits: &[f32], targets: &[u32]) -> f64 {
    let rows = || logits.chunks_exact(n_classes).zip(targets);
    let slope = |temperature: f64| -> f64 {
        rows().map(|(logits, &target)| expected_over(logits, target as usize, temperature)).sum()
    };
    let (mut low, mut high) = (BOUNDS.0.ln(), BOUNDS.1.ln());
    // A larger T makes the slope smaller: above the root it is below 0.
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if slope(middle.exp()) > 0.0 { low = middle } else { high = middle }
    }
    let temperature = f64::midpoint(low, high).exp().clamp(BOUNDS.0, BOUNDS.1);
    (temperature * 1e6).round() / 1e6
}

/// Why there is nothing to fit.
fn cannot(n_classes: usize, logits: &[f32], targets: &[u32]) -> Option<&'static str> {
    let rows = || logits.chunks_exact(n_classes.max(1)).zip(targets);
    if targets.len() < FEWEST_WINDOWS {
        return Some("fewer than 20 held-out windows");
    }
    if logits.iter().any(|logit| !logit.is_finite()) {
        return Some("the answers are not finite");
    }
    if targets.iter().all(|target| *target == targets[0]) {
        return Some("the held-out windows are of one class");
    }
    // Whatever is right is the better the colder it is.
    if rows().all(|(logits, &target)| argmax(logits) == target as usize) {
        return Some("all answers for the held-out windows are right");
    }
    if rows().all(|(logits, _)| logits.iter().all(|logit| (logit - logits[0]).abs() <= 0.0)) {
        return Some("all answers for the held-out windows are alike");
    }
    None
}

/// `Σ_c p_c·l_c − l_target` with `p = softmax(l / T)`.
fn expected_over(logits: &[f32], target: usize, temperature: f64) -> f64 {
    let top = f64::from(logits[argmax(logits)]);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for &logit in logits {
        let below = f64::from(logit) - top;
        let p = (below / temperature).exp();
        (sum, weighted) = (sum + p, weighted + p * below);
    }
    weighted / sum - (f64::from(logits[target]) - top)
}

/// Divides logits by a model's temperature, in place; without one they stay as they are.
///
/// ```
/// let mut logits = [3.0, -1.5];
/// monitor::temperature::divide(&mut logits, Some(1.5));
/// assert_eq!(logits, [2.0, -1.0]);
/// ```
pub fn divide(logits: &mut [f32], temperature: Option<f64>) {
    if let Some(temperature) = temperature {
        for logit in logits {
            *logit = (f64::from(*logit) / temperature) as f32;
        }
    }
}

/// Whether a file may claim this temperature.
pub fn is_valid(temperature: f64) -> bool {
    (BOUNDS.0..=BOUNDS.1).contains(&temperature)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noisy logits of three classes, and targets that they favour.
    fn noisy(n: usize, factor: f32) -> (Vec<f32>, Vec<u32>) {
        let values = testkit::sequence(5, 4 * n);
        let (mut logits, mut targets) = (Vec::new(), Vec::new());
        for row in values.chunks_exact(4) {
            let target = ((row[3] + 1.0) * 1.5).clamp(0.0, 2.0) as u32;
            let of = |c: u32| factor * (2.0 * row[c as usize] + f32::from(u8::from(c == target)));
            logits.extend([0, 1, 2].map(of));
            targets.push(target);
        }
        (logits, targets)
    }

    fn loss(logits: &[f32], targets: &[u32], temperature: f64) -> f64 {
        let mut logits = logits.to_vec();
        divide(&mut logits, Some(temperature));
        let each = logits.chunks_exact(3).zip(targets);
        each.map(|(logits, &t)| -f64::from(log_softmax(logits)[t as usize])).sum()
    }

    #[test]
    fn no_temperature_has_a_smaller_loss() {
        for factor in [0.3, 1.0, 4.0] {
            let (logits, targets) = noisy(200, factor);
            let found = fit(3, &logits, &targets);
            let best = loss(&logits, &targets, found.temperature);
            assert!(found.kept.is_none() && best.is_finite(), "{found:?}");
            for other in [0.05, 0.5, 0.99, 1.01, 2.0, 20.0].map(|by| by * found.temperature) {
                if is_valid(other) {
                    assert!(best < loss(&logits, &targets, other), "{found:?} and {other}");
                }
            }
        }
    }

    #[test]
    fn logits_of_another_scale_have_a_temperature_of_that_scale() {
        let (logits, targets) = noisy(200, 1.0);
        let (larger, _) = noisy(200, 3.0);
        let [one, three] = [&logits, &larger].map(|logits| fit(3, logits, &targets).temperature);
        assert!((three / one - 3.0).abs() < 1e-3, "{one} and {three}");
    }

    #[test]
    fn the_least_loss_is_that_at_the_best_temperature_whatever_the_scale() {
        let (logits, targets) = noisy(200, 1.0);
        let least = least_loss(3, &logits, &targets);
        let at = fit(3, &logits, &targets).temperature;
        assert!((least - loss(&logits, &targets, at) / 200.0).abs() < 1e-9, "{least}");
        let (sure, _) = noisy(200, 3.0);
        assert!((least_loss(3, &sure, &targets) - least).abs() < 1e-4);
        let right: Vec<f32> = [1.0, 0.0, 0.0, 1.0].repeat(10);
        let halves: Vec<u32> = (0..20).map(|i| i % 2).collect();
        assert!((0.0..1e-6).contains(&least_loss(2, &right, &halves)));
    }

    #[test]
    fn it_stays_in_its_bounds() {
        let (mut logits, targets) = noisy(200, 1000.0);
        assert_eq!(fit(3, &logits, &targets).temperature.to_bits(), BOUNDS.1.to_bits());
        for logit in &mut logits {
            *logit *= 1e-6;
        }
        assert_eq!(fit(3, &logits, &targets).temperature.to_bits(), BOUNDS.0.to_bits());
        assert!(!is_valid(f64::NAN) && !is_valid(0.049) && !is_valid(20.1) && is_valid(0.05));
    }

    #[test]
    fn what_has_nothing_to_fit_keeps_its_probabilities() {
        let right: Vec<f32> = [1.0, 0.0, 0.0, 1.0].repeat(10);
        let halves: Vec<u32> = (0..20).map(|i| i % 2).collect();
        let (nan, flat) = ([f32::NAN, 0.0].repeat(20), [0.5; 40]);
        for (logits, targets, part) in [
            (&right[..38], &halves[..19], "fewer"),
            (&right[..], &halves[..], "right"),
            (&right[..], &[1; 20][..], "one class"),
            (&nan[..], &halves[..], "finite"),
            (&flat[..], &halves[..], "alike"),
        ] {
            let found = fit(2, logits, targets);
            assert_eq!(found.temperature.to_bits(), 1.0_f64.to_bits());
            assert!(found.kept.is_some_and(|why| why.contains(part)), "{found:?}");
        }
    }
}
