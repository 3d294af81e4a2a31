//! Projection onto random directions.

use serde::{Deserialize, Serialize};

use crate::projection::{self, Projection};
use crate::random::{Random, normal_pair};
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// Projects each row onto random directions: `y_k = Σ_c r_kc·x_c` with `r_kc ~ N(0, 1/components)`, as
/// scikit-learn's `GaussianRandomProjection`. Distances are kept in the mean, and with n points to
/// within `±ε` from about `8·ln(n)/ε²` components on (Johnson and Lindenstrauss 1984; Dasgupta and
/// Gupta 2003).
///
/// The weights are a function of the seed, with the same bits on every machine: normal numbers by the
/// polar method, two at a time, from `SplitMix64`, row after row, times `√(1/components)`. Nothing is
/// fitted, so that all nodes project alike. Channels `random_0`, `random_1`, …; a row with a missing
/// value is missing.
///
/// ```
/// use preprocess::{Pipeline, RandomProjection, Rows, Stage};
///
/// let configs = [RandomProjection { components: 2, seed: 7 }.into()];
/// let pipeline = Pipeline::fit(&configs, &Stage::unnamed(5), vec![])?;
/// let rows = Rows::of_series(5, None, vec![0.0; 10]);
/// assert_eq!(pipeline.apply(rows.view())?.values(), [0.0; 4]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomProjection {
    /// How many channels are made: 1 to as many as come in, at most 4096.
    pub components: usize,
    /// What the weights are a function of.
    #[serde(default)]
    pub seed: u64,
}

impl Plain for RandomProjection {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        projection::plan("random-projection", "random", self.components, input)
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let channels = input.channels();
        let mut weights = self.weights(channels);
        let rows: Vec<Vec<f64>> =
            (0..self.components).map(|_| weights.by_ref().take(channels).collect()).collect();
        Projection::boxed(vec![0.0; channels], &rows, input)
    }
}

impl RandomProjection {
    fn weights(&self, channels: usize) -> impl Iterator<Item = f64> + use<> {
        let mut random = Random::new(self.seed);
        let scale = (1.0 / self.components as f64).sqrt();
        let n_pairs = (self.components * channels).div_ceil(2);
        let pairs = (0..n_pairs).flat_map(move |_| normal_pair(&mut || random.uniform()));
        pairs.map(move |v| v * scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;

    #[test]
    fn distances_are_kept_in_the_mean() {
        let channels = 300;
        let spec = RandomProjection { components: 200, seed: 3 };
        let mut step = spec.start(&Stage::unnamed(channels));
        let values = testkit::sequence(4, 20 * channels).iter().map(|&v| f64::from(v)).collect();
        let (rows, mut out) = (Rows::of_series(channels, None, values), Rows::new(200));
        step.push(rows.view(), &mut out);
        let square =
            |rows: &Rows, row: usize| rows.view().row(row).iter().map(|v| v * v).sum::<f64>();
        let shares: Vec<f64> = (0..20).map(|row| square(&out, row) / square(&rows, row)).collect();
        testkit::assert_close("shares", &shares, &[1.0; 20], 0.4, 0.0);
        let mean = shares.iter().sum::<f64>() / 20.0;
        testkit::assert_close("mean", &[mean], &[1.0], 0.08, 0.0);
    }

    #[test]
    fn more_channels_than_come_in_are_refused() {
        for components in [0, 4, 1 << 30] {
            let spec = RandomProjection { components, seed: 0 };
            assert!(spec.plan(&Stage::unnamed(3)).is_err(), "{components}");
        }
    }
}
