//! `sign(x)·ln(1 + |x|)`.

use serde::{Deserialize, Serialize};

use crate::each_value::EachValue;
use crate::scale::Undo;
use crate::spec::Plain;
use crate::{Error, Stage, Step};

/// `sign(x)·ln(1 + |x|)`, as numpy's `sign(x)*log1p(abs(x))`: amounts and counts over several magnitudes
/// come close together, and values below zero keep their sign.
///
/// [`Pipeline::invert`](crate::Pipeline::invert) undoes it. Missing values stay missing.
///
/// ```
/// use preprocess::{Log1p, Pipeline, Rows, Stage};
///
/// let counts = Rows::of_series(1, None, vec![0.0, 1.0, -1.0, 1e6]);
/// let pipeline = Pipeline::fit(&[Log1p {}.into()], &Stage::unnamed(1), vec![counts.clone()])?;
/// let out = pipeline.apply(counts.view())?;
/// assert_eq!(out.values()[..3], [0.0, 2_f64.ln(), -2_f64.ln()]);
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log1p {}

impl Plain for Log1p {
    fn plan(&self, input: &Stage) -> Result<Stage, Error> {
        Ok(input.clone())
    }

    fn start(&self, input: &Stage) -> Box<dyn Step> {
        EachValue::boxed(|_, x| x.abs().ln_1p().copysign(x), input)
    }

    fn undo(&self, input: &Stage) -> Undo {
        Undo::Values(vec![crate::scale::Back::Expm1; input.channels()])
    }
}
