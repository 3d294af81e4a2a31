//! A learning rate that falls when a metric stops becoming better.

use crate::Error;
use crate::checks::check_option;

/// Options of [`Plateau`]; the default is that of `torch`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct PlateauConfig {
    /// What the rate is multiplied by, above 0 and below 1.
    pub factor: f32,
    /// Epochs without a better metric that are let pass.
    pub patience: u32,
    /// What counts as better: below `best·(1 − threshold)`, in 0 to 1.
    pub threshold: f32,
    /// Epochs after a cut in which nothing is counted.
    pub cooldown: u32,
    /// The rate falls no lower than to this share, in 0 to 1.
    pub min_ratio: f32,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self { factor: 0.1, patience: 10, threshold: 1e-4, cooldown: 0, min_ratio: 0.0 }
    }
}

impl PlateauConfig {
    /// Checks the options.
    ///
    /// # Errors
    /// If one is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        const OWNER: &str = "reduce-on-plateau";
        let is_share = |v: f64| (0.0..=1.0).contains(&v);
        let factor = self.factor;
        check_option(OWNER, "factor", factor, |v| v > 0.0 && v < 1.0, "above 0 and below 1")?;
        check_option(OWNER, "threshold", self.threshold, is_share, "between 0 and 1")?;
        check_option(OWNER, "min_ratio", self.min_ratio, is_share, "between 0 and 1")
    }
}

/// The account of [`Schedule::ReduceOnPlateau`](crate::Schedule::ReduceOnPlateau): what the rate is
/// multiplied by, given the metric (a loss) at the end of each epoch.
///
/// As `torch.optim.lr_scheduler.ReduceLROnPlateau` in its relative mode with `eps=0`. It can be saved with serde.
///
/// ```
/// use optim::{Plateau, PlateauConfig};
///
/// let config = PlateauConfig { factor: 0.5, patience: 1, ..PlateauConfig::default() };
/// let mut plateau = Plateau::default();
/// let ratios: Vec<f64> =
///     [0.9, 0.8, 0.8, 0.8, 0.7].iter().map(|&loss| plateau.observe(&config, loss)).collect();
/// assert_eq!(ratios, [1.0, 1.0, 1.0, 0.5, 0.5]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Plateau {
    ratio: f64,
    best: Option<f64>,
    bad_epochs: u32,
    cooldown: u32,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { ratio: 1.0, best: None, bad_epochs: 0, cooldown: 0 }
    }
}

impl Plateau {
    /// What the base learning rate is multiplied by now.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Notes the loss of an epoch; returns the ratio from now on. NaN and infinity are never better.
    pub fn observe(&mut self, config: &PlateauConfig, loss: f64) -> f64 {
        let limit = 1.0 - f64::from(config.threshold);
        let better = loss < self.best.map_or(f64::INFINITY, |best| best * limit);
        if better {
            self.best = Some(loss);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs = self.bad_epochs.saturating_add(1);
        }
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.bad_epochs = 0;
        }
        if self.bad_epochs > config.patience {
            let lower = self.ratio * f64::from(config.factor);
            self.ratio = self.ratio.min(lower.max(config.min_ratio.into()));
            self.cooldown = config.cooldown;
            self.bad_epochs = 0;
        }
        self.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_counts_as_no_better() {
        let config = PlateauConfig { patience: 0, factor: 0.5, ..PlateauConfig::default() };
        let mut plateau = Plateau::default();
        let ratios = [f64::INFINITY, 1.0, 2.0].map(|loss| plateau.observe(&config, loss));
        assert_eq!(ratios.map(f64::to_bits), [0.5, 0.5, 0.25].map(f64::to_bits));
        let mut plateau = Plateau::default();
        let ratios = [f64::NAN, 1.0, f64::NAN].map(|loss| plateau.observe(&config, loss));
        assert_eq!(ratios.map(f64::to_bits), [0.5, 0.5, 0.25].map(f64::to_bits));
    }
}
