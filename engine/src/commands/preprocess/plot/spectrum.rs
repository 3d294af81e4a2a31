//! A spectrum to be looked at.

use std::f64::consts::TAU;

use crate::plot::Curve;

/// Frequencies at which it is taken.
const N_FREQUENCIES: usize = 256;

/// What is this far below the strongest is not shown, in dB.
const FLOOR: f64 = -80.0;

/// The periodogram of values without their mean under a Hann window, at 256 frequencies up to half of
/// `rate_hz`: 10 log10(|X(f)|² / max |X|²), not below -80. Missing values count as the mean. Empty of fewer
/// than four values and of a constant.
pub(super) fn spectrum(values: &[f64], rate_hz: f64) -> Curve {
    let finite = values.iter().filter(|value| value.is_finite());
    let mean = finite.clone().sum::<f64>() / finite.count().max(1) as f64;
    let n = values.len() as f64;
    let windowed: Vec<f64> = values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            let centred = if value.is_finite() { value - mean } else { 0.0 };
            centred * (0.5 - 0.5 * (TAU * (i as f64 + 0.5) / n).cos())
        })
        .collect();
    let frequency = |k: usize| 0.5 * (k + 1) as f64 / N_FREQUENCIES as f64;
    let powers: Vec<f64> =
        (0..N_FREQUENCIES).map(|k| power(&windowed, TAU * frequency(k))).collect();
    let most = powers.iter().copied().fold(0.0, f64::max);
    if values.len() < 4 || most <= 0.0 || !most.is_finite() {
        return Vec::new();
    }
    let in_db = |power: f64| (10.0 * (power / most).log10()).max(FLOOR);
    powers.iter().enumerate().map(|(k, power)| (rate_hz * frequency(k), in_db(*power))).collect()
}

/// `|sum x_i exp(-j w i)|²`, by turning a pointer from value to value.
fn power(values: &[f64], omega: f64) -> f64 {
    let (turn_re, turn_im) = (omega.cos(), -omega.sin());
    let (mut re, mut im, mut sum_re, mut sum_im) = (1.0, 0.0, 0.0, 0.0);
    for value in values {
        sum_re += value * re;
        sum_im += value * im;
        (re, im) = (re * turn_re - im * turn_im, re * turn_im + im * turn_re);
    }
    sum_re * sum_re + sum_im * sum_im
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_is_strongest_at_its_frequency() {
        let values: Vec<f64> =
            (0..1000).map(|i| 7.0 + (TAU * 12.5 * f64::from(i) / 100.0).sin()).collect();
        let found = spectrum(&values, 100.0);
        assert_eq!(found.len(), N_FREQUENCIES);
        let strongest = found.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!((strongest.0 - 12.5).abs() < 0.2 && strongest.1.abs() < 1e-12, "{strongest:?}");
        assert!(found.iter().all(|(_, db)| (FLOOR..=0.0).contains(db)));
        assert!(found.iter().filter(|(hz, _)| (hz - 12.5).abs() > 5.0).all(|(_, db)| *db < -40.0));
    }

    #[test]
    fn what_has_none_is_empty() {
        for values in [&[][..], &[1.0, 2.0], &[3.0; 50], &[f64::NAN; 50]] {
            assert_eq!(spectrum(values, 1.0), [], "{values:?}");
        }
    }
}
