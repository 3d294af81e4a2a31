//! What claimed numbers of rows are believed: no node outweighs the others by a number alone.

/// What each number of rows counts: its claim, or less.
///
/// With `m` the median of all claims above 0, a claim counts at most `max_weight · m`, and if one of
/// these is more than all others together, it counts as much as they do: as the weights of updates
/// are capped in a merge of models. One claim alone counts as it is; without `max_weight` all do.
/// Order does not matter.
pub(crate) fn counted_rows(claims: &[u64], max_weight: Option<f64>) -> Vec<u64> {
    let mut counted = claims.to_vec();
    let mut sorted: Vec<u64> = claims.iter().copied().filter(|&rows| rows > 0).collect();
    sorted.sort_unstable();
    let Some(max_weight) = max_weight.filter(|_| !sorted.is_empty()) else { return counted };
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle] as f64
    } else {
        f64::midpoint(sorted[middle - 1] as f64, sorted[middle] as f64)
    };
    // Who claims something counts something.
    let most = (max_weight * median).max(1.0) as u64;
    for rows in &mut counted {
        *rows = (*rows).min(most);
    }
    let total = counted.iter().fold(0_u64, |sum, &rows| sum.saturating_add(rows));
    if let Some(largest) = counted.iter_mut().max() {
        let others = total - *largest;
        if others > 0 {
            *largest = (*largest).min(others);
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_capped_as_weights_of_updates_are() {
        for (claims, expected) in [
            (&[1_000_000][..], &[1_000_000][..]),
            (&[30, 10], &[10, 10]),
            (&[30, 10, 20], &[30, 10, 20]),
            (&[1 << 50, 8, 10, 12], &[30, 8, 10, 12]),
            (&[50, 10, 10], &[20, 10, 10]),
            (&[0, 0, 8, 9, 9], &[0, 0, 8, 9, 9]),
            (&[], &[]),
            (&[0, 0], &[0, 0]),
        ] {
            assert_eq!(counted_rows(claims, Some(10.0)), expected, "{claims:?}");
            assert_eq!(counted_rows(claims, None), claims);
        }
        let twenty = [vec![10; 20], vec![1 << 50]].concat();
        assert_eq!(counted_rows(&twenty, Some(10.0))[20], 100);
        assert_eq!(counted_rows(&twenty, Some(1e-9)), [1; 21]);
    }
}
