//! SLERP: spherical interpolation of two models.

use serde::{Deserialize, Serialize};

use super::rule::{Needs, Rule};
use crate::Error;
use crate::basis::Basis;
use crate::plan::Plan;
use crate::sphere::Sphere;

/// `(sin((1 − t)ω)·x_0 + sin(tω)·x_1)/sin ω`, from the first to the second of two updates in the order
/// of the list, tensor by tensor, with the angle `ω` between them; where they are nearly parallel,
/// straight: `(1 − t)·x_0 + t·x_1`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slerp {
    /// Where between the first (0) and the second (1).
    pub t: f64,
}

impl Default for Slerp {
    fn default() -> Self {
        Self { t: 0.5 }
    }
}

impl Rule for Slerp {
    fn name(&self) -> &'static str {
        "slerp"
    }

    fn needs(&self) -> Needs {
        Needs { offline: true, ..Needs::default() }
    }

    fn check(&self) -> Result<(), Error> {
        let holds = (0.0..=1.0).contains(&self.t);
        holds.then_some(()).ok_or_else(|| self.out_of_range("t", self.t, "0 to 1"))
    }

    fn check_number(&self, n: usize, parts: bool) -> Result<(), Error> {
        if n != 2 {
            return Err(self.too_few("exactly two updates".to_owned(), n));
        }
        if parts {
            return Err(self.too_few("two whole models, not parts".to_owned(), n));
        }
        Ok(())
    }

    fn plan(&self, basis: &Basis<'_>) -> Result<Plan, Error> {
        Ok(Plan::Sphere(Sphere::new(basis.cohort, basis.order, self.t)?))
    }
}
