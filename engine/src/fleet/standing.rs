//! Whether a merged model is taken: it must not be worse than the one that stands.

use rounds::Metrics;

/// How much worse a model may be than the one that stands, in accuracy; `None` takes any.
pub(super) fn is_worse(
    merged: Option<Metrics>,
    standing: Option<Metrics>,
    max_drop: Option<f64>,
) -> Option<String> {
    let (merged, standing, max_drop) = (merged?, standing?, max_drop?);
    let drop = standing.accuracy - merged.accuracy;
    // Also where it is not a number.
    if drop <= max_drop {
        return None;
    }
    Some(format!(
        "accuracy {:.4} on the center's rows, {:.4} before: more than {:.4} worse (--max-drop)",
        merged.accuracy, standing.accuracy, max_drop
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_drop_beyond_the_limit_is_worse() {
        let of = |accuracy| Some(Metrics { n: 10, accuracy, loss: 1.0 });
        assert_eq!(is_worse(of(0.5), None, Some(0.02)), None);
        assert_eq!(is_worse(of(0.1), of(0.9), None), None);
        assert_eq!(is_worse(of(0.75), of(0.75), Some(0.0)), None);
        assert!(is_worse(of(0.7), of(0.9), Some(0.02)).is_some_and(|why| why.contains("0.7000")));
        assert!(is_worse(of(f64::NAN), of(0.9), Some(0.02)).is_some());
    }
}
