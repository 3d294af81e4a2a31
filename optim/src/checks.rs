//! Checks of options that optimizers and schedules share.

use crate::Error;

/// Passes if `found` is finite and in `range`; the message quotes `expected`.
pub(crate) fn check_option(
    owner: &'static str,
    option: &'static str,
    found: impl Into<f64>,
    in_range: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<(), Error> {
    let found = found.into();
    if found.is_finite() && in_range(found) {
        Ok(())
    } else {
        Err(Error::Option { owner, option, found, expected })
    }
}

/// Passes for a share that is kept from step to step.
pub(crate) fn check_beta(
    owner: &'static str,
    option: &'static str,
    beta: impl Into<f64>,
) -> Result<(), Error> {
    check_option(owner, option, beta, |v| (0.0..1.0).contains(&v), "at least 0 and below 1")
}

/// Passes for both shares of two moments.
pub(crate) fn check_betas(owner: &'static str, beta1: f64, beta2: f64) -> Result<(), Error> {
    check_beta(owner, "beta1", beta1)?;
    check_beta(owner, "beta2", beta2)
}

/// Passes for what is added to a divisor.
pub(crate) fn check_eps(owner: &'static str, eps: f32) -> Result<(), Error> {
    check_option(owner, "eps", eps, |v| v >= 0.0, "at least 0")
}

/// Passes for a weight decay.
pub(crate) fn check_decay(owner: &'static str, weight_decay: f32) -> Result<(), Error> {
    check_option(owner, "weight_decay", weight_decay, |v| v >= 0.0, "at least 0")
}

/// Passes for the options that Adam and its relatives share.
pub(crate) fn check_moments(
    owner: &'static str,
    [beta1, beta2]: [f64; 2],
    eps: f32,
    weight_decay: f32,
) -> Result<(), Error> {
    check_betas(owner, beta1, beta2)?;
    check_eps(owner, eps)?;
    check_decay(owner, weight_decay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_check_refuses_nan_whatever_the_range() {
        let check = |v: f32| check_option("sgd", "momentum", v, |_| true, "any finite number");
        assert_eq!(check(1.0), Ok(()));
        assert!(check(f32::NAN).is_err());
        assert_eq!(
            check(f32::INFINITY).unwrap_err().to_string(),
            "sgd: momentum is inf, expected any finite number"
        );
    }
}
