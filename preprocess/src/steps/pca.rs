//! Principal components of the training rows.

use faer::{MatRef, Side};
use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_option};
use crate::projection::{self, Projection};
use crate::spec::{Fitted, Spec};
use crate::stats::{Needs, Stats};
use crate::{Error, Stage, Step};

/// Most channels of which a covariance is held.
const MOST_CHANNELS: usize = 1 << 12;

/// Projects each row onto the directions in which the training rows vary most, as scikit-learn's `PCA`:
/// `y_k = Σ_c (x_c − mean_c)·v_kc`.
///
/// The directions are the eigenvectors of the covariance over `n − 1`, which merges exactly between
/// pieces and between nodes; the largest of the weights of each is positive (`svd_flip` by components).
/// An eigenvalue below about `1e-16` of the largest is lost, where a singular value decomposition of the
/// rows themselves would keep those down to `1e-32`. Training rows with a missing value are left out; a
/// row with a missing value becomes missing. Channels `pca_0`, `pca_1`, …, by falling variance.
///
/// Rows that are far longer in one channel than in the others are described by that one alone: put
/// [`ZScore`](crate::ZScore) first unless all channels have one unit.
///
/// ```
/// use preprocess::{Pca, Pipeline, Rows, Stage};
///
/// // All rows lie on a line of slope 1 through (2, 3).
/// let rows = Rows::of_series(2, None, vec![1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
/// let pca = Pca { components: 1, whiten: false };
/// let pipeline = Pipeline::fit(&[pca.into()], &Stage::unnamed(2), vec![rows.clone()])?;
/// let along = pipeline.apply(rows.view())?;
/// assert!((along.values()[2] - 2.0_f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pca {
    /// How many channels are made: 1 to as many as come in.
    pub components: usize,
    /// Whether each is divided by its standard deviation over the training rows. One that did not vary
    /// is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whiten: bool,
}

/// A fitted [`Pca`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedPca {
    /// Whether each component is divided by its standard deviation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whiten: bool,
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// A direction for each component, `[components, channels]`, of length 1 and at right angles.
    pub directions: Vec<Vec<f64>>,
    /// Variance of the training rows along each direction, over `n − 1`.
    pub explained_variance: Vec<f64>,
    /// Variance of the training rows in all directions: the share that a component explains is its own
    /// variance over this.
    pub total_variance: f64,
}

const NAME: &str = "pca";

impl Spec for Pca {
    type Fitted = FittedPca;

    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        let channels = input.channels();
        let expected = "at most 4096; make fewer with random-projection or resize first";
        check_option(NAME, "channels", channels as f64, channels <= MOST_CHANNELS, expected)?;
        projection::plan(NAME, "pca", self.components, input)
    }

    fn needs(&self) -> Needs {
        Needs::Covariance
    }

    fn fit(&self, input: &Stage, stats: &Stats) -> Result<FittedPca, Error> {
        let refuse = |reason: String| Error::Fit { step: NAME, reason };
        let channels = input.channels();
        let Some(covariance) = &stats.covariance else {
            return Err(refuse("the covariance of the training rows is not known".into()));
        };
        let needed = self.components.max(2) as u64;
        if covariance.count < needed {
            return Err(refuse(format!(
                "{} training rows have a value in every channel, and {needed} are needed; put impute \
                 first, or train on more rows",
                covariance.count
            )));
        }
        let over = 1.0 / (covariance.count - 1) as f64;
        let scaled: Vec<f64> = covariance.comoment.iter().map(|v| v * over).collect();
        if !scaled.iter().all(|v| v.is_finite()) {
            return Err(refuse(
                "values are so large that their squares overflow; scale first".into(),
            ));
        }
        let matrix = MatRef::from_row_major_slice(&scaled, channels, channels);
        let eigen = matrix
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| refuse("the eigenvalues of the covariance do not converge".into()))?;
        // Eigenvalues come from the smallest to the largest.
        let places = (0..channels).rev().take(self.components);
        let direction =
            |place: usize| oriented((0..channels).map(|c| eigen.U()[(c, place)]).collect());
        Ok(FittedPca {
            whiten: self.whiten,
            mean: covariance.mean.clone(),
            directions: places.clone().map(direction).collect(),
            // Rounding may take a variance of nothing below it.
            explained_variance: places.map(|place| eigen.S()[place].max(0.0)).collect(),
            total_variance: (0..channels).map(|c| scaled[c * channels + c]).sum(),
        })
    }
}

/// The direction or its opposite: the first of the largest weights is positive.
fn oriented(mut direction: Vec<f64>) -> Vec<f64> {
    let largest =
        direction.iter().fold(0.0_f64, |most, v| if v.abs() > most.abs() { *v } else { most });
    if largest < 0.0 {
        for v in &mut direction {
            *v = -*v;
        }
    }
    direction
}

impl FittedPca {
    /// What each component is divided by.
    fn scales(&self) -> impl Iterator<Item = f64> {
        // What rounding leaves of a direction without variance says nothing of its scale.
        let least = 1e-14 * self.total_variance;
        self.explained_variance.iter().map(move |&variance| {
            if self.whiten && variance > least { variance.sqrt() } else { 1.0 }
        })
    }
}

impl Fitted for FittedPca {
    type Spec = Pca;

    fn spec(&self) -> Pca {
        Pca { components: self.directions.len(), whiten: self.whiten }
    }

    fn check(&self, input: &Stage) -> Result<(), Error> {
        let made = self.spec().plan(input)?;
        check_finite(NAME, "mean", &self.mean, input)?;
        for direction in &self.directions {
            check_finite(NAME, "directions", direction, input)?;
        }
        check_finite(NAME, "explained_variance", &self.explained_variance, &made)?;
        let values = self.explained_variance.iter().copied().chain([self.total_variance]);
        match values.into_iter().find(|v| !(v.is_finite() && *v >= 0.0)) {
            None => Ok(()),
            Some(found) => Err(Error::Fit {
                step: NAME,
                reason: format!("a stored variance is {found}, expected a finite number from 0"),
            }),
        }
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        let scaled =
            |(direction, scale): (&Vec<f64>, f64)| direction.iter().map(|v| v / scale).collect();
        let rows: Vec<Vec<f64>> = self.directions.iter().zip(self.scales()).map(scaled).collect();
        Projection::boxed(self.mean.clone(), &rows, input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pipeline, Rows};
    use testkit::assert_close;

    fn fit(pca: Pca, channels: usize, values: &[f64]) -> Result<Pipeline, Error> {
        let rows = Rows::of_series(channels, None, values.to_vec());
        Pipeline::fit(&[pca.into()], &Stage::unnamed(channels), vec![rows])
    }

    #[test]
    fn a_row_with_a_gap_is_missing_and_not_fitted_on() {
        let values = [1.0, 2.0, 2.0, 3.0, 1e9, f64::NAN, 3.0, 4.0];
        let pipeline = fit(Pca { components: 1, whiten: false }, 2, &values).unwrap();
        let out = pipeline.apply(Rows::of_series(2, None, values.to_vec()).view()).unwrap();
        assert!(out.values()[2].is_nan());
        let root = 2.0_f64.sqrt();
        let present = [out.values()[0], out.values()[1], out.values()[3]];
        assert_close("along", &present, &[-root, 0.0, root], 1e-12, 1e-12);
    }

    #[test]
    fn what_does_not_vary_is_not_blown_up_by_whitening() {
        let values = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0];
        let pipeline = fit(Pca { components: 2, whiten: true }, 2, &values).unwrap();
        let out = pipeline.apply(Rows::of_series(2, None, values.to_vec()).view()).unwrap();
        let across: Vec<f64> = out.values().iter().skip(1).step_by(2).copied().collect();
        assert_close("across", &across, &[0.0; 4], 0.0, 1e-12);
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let say = |pca, values: &[f64]| fit(pca, 2, values).unwrap_err().to_string();
        let one = Pca { components: 1, whiten: false };
        assert!(say(one, &[1.0, 2.0]).contains("1 training rows"));
        assert!(say(one, &[1e200, 2.0, -1e200, 3.0]).contains("overflow"));
        assert!(say(Pca { components: 3, ..one }, &[1.0; 8]).contains("components is 3"));
        assert!(one.plan(&Stage::unnamed(5000)).is_err());
    }

    #[test]
    fn stored_parameters_are_checked() {
        let good = FittedPca {
            whiten: false,
            mean: vec![0.0; 2],
            directions: vec![vec![1.0, 0.0]],
            explained_variance: vec![1.0],
            total_variance: 1.0,
        };
        let input = Stage::unnamed(2);
        good.check(&input).unwrap();
        for bad in [
            FittedPca { mean: vec![0.0], ..good.clone() },
            FittedPca { directions: vec![vec![1.0]], ..good.clone() },
            FittedPca { directions: vec![], ..good.clone() },
            FittedPca { directions: vec![vec![f64::NAN, 0.0]], ..good.clone() },
            FittedPca { explained_variance: vec![], ..good.clone() },
            FittedPca { explained_variance: vec![-1.0], ..good.clone() },
            FittedPca { total_variance: f64::INFINITY, ..good.clone() },
        ] {
            assert!(bad.check(&input).is_err(), "{bad:?}");
        }
    }
}
