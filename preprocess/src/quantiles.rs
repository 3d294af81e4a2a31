//! Quantiles of one channel: exact from its values, or from a few points of several parts.

/// Points of the largest summary: a rank is then known to 1/1024, and the quarters are points
/// themselves.
pub(crate) const MOST_POINTS: usize = 1025;

/// The distribution of one channel's present values, as parts that are mixed by their counts.
///
/// A part of `m` points has its quantiles at `0, 1/(m − 1), …, 1`, and is linear between them; all the
/// sorted values are such points (`numpy.quantile`'s default). A rank read off a part is at most
/// `1/(m − 1)` from that of its values, as the true quantiles of two neighbouring points lie about
/// it, and `1/n` for the line between values; in a mixture of parts with `n_k` of all `N` values
/// that makes
///
/// `Σ n_k/N · 1/(m_k − 1) + (K + 1)/N`.
///
/// Which part comes first changes no bit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Quantiles {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
struct Part {
    count: f64,
    /// In order, at least 2.
    points: Vec<f64>,
}

impl Quantiles {
    /// Those of the values themselves.
    pub(crate) fn exact(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self::evenly(values.len() as u64, values)
    }

    /// Those of `count` values of which evenly spaced quantiles are known, in order.
    pub(crate) fn evenly(count: u64, mut points: Vec<f64>) -> Self {
        match points[..] {
            [] => return Self::default(),
            [only] => points.push(only),
            _ => {}
        }
        Self { parts: vec![Part { count: count as f64, points }] }
    }

    /// `count` times one number.
    pub(crate) fn atom(count: u64, value: f64) -> Self {
        if count == 0 { Self::default() } else { Self::evenly(count, vec![value; 2]) }
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The points, if there is one part.
    pub(crate) fn points(&self) -> &[f64] {
        match &self.parts[..] {
            [part] => &part.points,
            _ => &[],
        }
    }

    /// The mixture of all.
    pub(crate) fn mixed<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut parts: Vec<Part> = all.into_iter().flat_map(|one| one.parts.clone()).collect();
        parts.sort_by(Part::compare);
        Self { parts }
    }

    /// The same distribution, its parts counted as `count` values in all.
    pub(crate) fn counted(mut self, count: u64) -> Self {
        let total: f64 = self.parts.iter().map(|part| part.count).sum();
        for part in &mut self.parts {
            part.count *= count as f64 / total;
        }
        self
    }

    /// What becomes of them where every value is mapped by a function that never falls.
    pub(crate) fn mapped(&self, f: impl Fn(f64) -> f64) -> Self {
        let mut mapped = self.clone();
        mapped
            .parts
            .iter_mut()
            .flat_map(|part| &mut part.points)
            .for_each(|point| *point = f(*point));
        mapped
    }

    /// One part of so many points, at least 2, the first and last of which are the range.
    pub(crate) fn summary(&self, n_points: usize) -> Self {
        if self.parts.is_empty() {
            return Self::default();
        }
        let mixture = Mixture::of(&self.parts);
        let last = (n_points - 1) as f64;
        let mut points: Vec<f64> = (0..n_points).map(|i| mixture.at(i as f64 / last)).collect();
        // Rounding between two points may pass the next.
        let most = mixture.at(1.0);
        let mut least = mixture.at(0.0);
        for point in &mut points {
            least = point.clamp(least, most);
            *point = least;
        }
        let count = self.parts.iter().map(|part| part.count).sum();
        Self { parts: vec![Part { count, points }] }
    }

    /// The quantile `q`, from 0 to 1; NaN if nothing is known.
    pub(crate) fn at(&self, q: f64) -> f64 {
        if self.parts.is_empty() { f64::NAN } else { Mixture::of(&self.parts).at(q) }
    }
}

impl Part {
    /// An order by content.
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let by_points = || {
            let pairs = self.points.iter().zip(&other.points);
            let mut orders = pairs.map(|(a, b)| a.total_cmp(b));
            orders.find(|order| order.is_ne()).unwrap_or(self.points.len().cmp(&other.points.len()))
        };
        self.count.total_cmp(&other.count).then_with(by_points)
    }

    /// `numpy.quantile` of the points.
    fn at(&self, q: f64) -> f64 {
        let place = q * (self.points.len() - 1) as f64;
        let (below, share) = (place.floor() as usize, place.fract());
        let low = self.points[below];
        let high = self.points[self.points.len().min(below + 2) - 1];
        low + (high - low) * share
    }

    /// The share of values that are at most `x`, where `n_below` points are at most or below it.
    fn share(&self, n_below: usize, x: f64) -> f64 {
        let n_points = self.points.len();
        if n_below == 0 {
            return 0.0;
        }
        if n_below == n_points {
            return 1.0;
        }
        let (low, high) = (self.points[n_below - 1], self.points[n_below]);
        ((n_below - 1) as f64 + (x - low) / (high - low)) / (n_points - 1) as f64
    }
}

/// Parts, and all their points in order: between two of them the mixture is linear.
struct Mixture<'a> {
    parts: &'a [Part],
    total: f64,
    edges: Vec<f64>,
}

impl<'a> Mixture<'a> {
    fn of(parts: &'a [Part]) -> Self {
        let mut edges = Vec::new();
        if parts.len() > 1 {
            edges = parts.iter().flat_map(|part| part.points.iter().copied()).collect();
            edges.sort_unstable_by(f64::total_cmp);
            edges.dedup();
        }
        Self { parts, total: parts.iter().map(|part| part.count).sum(), edges }
    }

    /// The share of values at most `x`.
    fn up_to(&self, x: f64) -> f64 {
        self.share(|part| part.share(part.points.partition_point(|&point| point <= x), x))
    }

    /// The share of values below `x`.
    fn below(&self, x: f64) -> f64 {
        self.share(|part| part.share(part.points.partition_point(|&point| point < x), x))
    }

    fn share(&self, of_part: impl Fn(&Part) -> f64) -> f64 {
        self.parts.iter().map(|part| part.count * of_part(part)).sum::<f64>() / self.total
    }

    fn at(&self, q: f64) -> f64 {
        if let [only] = self.parts {
            return only.at(q);
        }
        let edge = self.edges.partition_point(|&edge| self.up_to(edge) < q);
        let Some(&high) = self.edges.get(edge) else { return self.edges[self.edges.len() - 1] };
        if edge == 0 {
            return high;
        }
        let low = self.edges[edge - 1];
        let (from, to) = (self.up_to(low), self.below(high));
        if q >= to || to <= from {
            return high;
        }
        let share = (q - from) / (to - from);
        (low + (high - low) * share).clamp(low, high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![3 => -10.0..10.0_f64, 2 => (-2..3_i32).prop_map(f64::from)];
        prop::collection::vec(value, 1..60)
    }

    /// The true quantile of values, also a little outside of 0 and 1.
    fn exact(values: &[f64], q: f64) -> f64 {
        Quantiles::exact(values.to_vec()).at(q.clamp(0.0, 1.0))
    }

    #[test]
    fn quantiles_of_known_values() {
        let all = Quantiles::exact(vec![9.0, 2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0]);
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| all.at(q));
        testkit::assert_close("numpy", &found, &[2.0, 4.0, 4.5, 5.5, 9.0], 1e-15, 0.0);
        assert!(Quantiles::default().at(0.5).is_nan());
    }

    #[test]
    fn a_mixture_jumps_at_atoms_and_is_linear_between() {
        let line = Quantiles::evenly(2, vec![0.0, 4.0]);
        let mixed = Quantiles::mixed([&line, &Quantiles::atom(2, 1.0)]);
        // A quarter of the line, then half of all at 1, then the rest of the line.
        let found = [0.0, 0.0625, 0.125, 0.4, 0.625, 0.8125, 1.0].map(|q| mixed.at(q));
        testkit::assert_close("mixed", &found, &[0.0, 0.5, 1.0, 1.0, 1.0, 2.5, 4.0], 1e-15, 0.0);
    }

    proptest! {
        #[test]
        fn ranks_are_within_the_bound(
            parts in prop::collection::vec((values(), 2..70_usize), 1..5),
            again in 2..70_usize,
            q in 0.0..=1.0_f64,
        ) {
            let all: Vec<f64> = parts.iter().flat_map(|(values, _)| values.clone()).collect();
            let n = all.len() as f64;
            let summaries: Vec<Quantiles> = parts
                .iter()
                .map(|(values, points)| Quantiles::exact(values.clone()).summary(*points))
                .collect();
            let mixed = Quantiles::mixed(&summaries);
            let of_part = |(values, points): &(Vec<f64>, usize)| values.len() as f64 / (points - 1) as f64;
            let bound = parts.iter().map(of_part).sum::<f64>() / n + (parts.len() + 1) as f64 / n;
            let within = |found: f64, bound: f64| {
                let (low, high) = (exact(&all, q - bound), exact(&all, q + bound));
                low - 1e-12 <= found && found <= high + 1e-12
            };
            prop_assert!(within(mixed.at(q), bound), "{} at {q} of {all:?}", mixed.at(q));
            let once_more = mixed.summary(again);
            prop_assert!(within(once_more.at(q), bound + 1.0 / (again - 1) as f64));
            // Where it has a point, a summary of the mixture is the mixture.
            let step = 1.0 / (again - 1) as f64;
            let diff = (once_more.at(step) - mixed.at(step)).abs();
            prop_assert!(diff <= 1e-9, "{diff}");
        }

        #[test]
        fn the_order_of_parts_changes_no_bit(
            (parts, order) in prop::collection::vec(values(), 1..6).prop_flat_map(|parts| {
                let order: Vec<usize> = (0..parts.len()).collect();
                (Just(parts), Just(order).prop_shuffle())
            }),
        ) {
            let parts: Vec<Quantiles> = parts.into_iter().map(Quantiles::exact).collect();
            let shuffled = Quantiles::mixed(order.iter().map(|&i| &parts[i]));
            let summary = Quantiles::mixed(&parts).summary(33);
            testkit::assert_same_bits("order", shuffled.summary(33).points(), summary.points());
            prop_assert!(summary.points().windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
