//! Statistics as named arrays, and whether their numbers can be those of values.

use crate::covariance::Covariance;
use crate::known::{Channel, Known, Together, Wanted};
use crate::quantiles::{MOST_POINTS, Quantiles};
use crate::stats::{ChannelStats, Needs};
use crate::{Error, Scope};

/// A named array of numbers, as it stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// What it is called.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f64>,
}

/// Whole numbers up to this are exact in a file of f64.
const MOST_ROWS: u64 = 1 << 53;

/// Squares of values within this are finite.
const LARGEST: f64 = 1e150;

/// What rounding may put a mean out of its range, or a spread beyond what the range allows.
const SLACK: f64 = 1e-9;

const FILLED: &str = "filled.";
const TOGETHER: &str = "covariance.";

type Number = fn(&ChannelStats) -> f64;

/// One number for each channel.
const COLUMNS: [(&str, Number); 6] = [
    ("count", |s| s.count as f64),
    ("mean", |s| s.mean),
    ("mean_rest", |s| s.mean_rest),
    ("m2", |s| s.m2),
    ("min", |s| if s.count == 0 { 0.0 } else { s.min }),
    ("max", |s| if s.count == 0 { 0.0 } else { s.max }),
];

pub(crate) fn write(rows: u64, known: &Known) -> Vec<Tensor> {
    let mut tensors = vec![tensor("", "rows", vec![rows as f64])];
    let raw: Vec<&ChannelStats> = known.channels.iter().map(|channel| &channel.now).collect();
    write_channels("", &raw, &mut tensors);
    let filled = known.channels.iter().map(|channel| channel.filled.as_ref());
    if let Some(filled) = filled.collect::<Option<Vec<_>>>() {
        write_channels(FILLED, &filled, &mut tensors);
    }
    if let Some(Together { covariance, .. }) = &known.covariance {
        let channels = covariance.mean.len();
        tensors.push(tensor(TOGETHER, "count", vec![covariance.count as f64]));
        tensors.push(tensor(TOGETHER, "mean", covariance.mean.clone()));
        tensors.push(tensor(TOGETHER, "mean_rest", covariance.mean_rest.clone()));
        let comoment = tensor(TOGETHER, "comoment", covariance.comoment.clone());
        tensors.push(Tensor { shape: vec![channels, channels], ..comoment });
    }
    tensors
}

fn write_channels(prefix: &str, channels: &[&ChannelStats], tensors: &mut Vec<Tensor>) {
    for (name, number) in COLUMNS {
        tensors.push(tensor(prefix, name, channels.iter().map(|&stats| number(stats)).collect()));
    }
    if channels.iter().any(|stats| !stats.quantiles.is_empty()) {
        let points = || channels.iter().map(|stats| stats.quantiles.points());
        tensors.push(tensor(prefix, "points", points().map(|p| p.len() as f64).collect()));
        tensors.push(tensor(prefix, "quantiles", points().flatten().copied().collect()));
    }
}

fn tensor(prefix: &str, name: &str, values: Vec<f64>) -> Tensor {
    Tensor { name: format!("{prefix}{name}"), shape: vec![values.len()], values }
}

/// The numbers of a file; whether they can be is for [`check`].
pub(crate) fn read(scope: &Scope, tensors: &[Tensor]) -> Result<(u64, Known), Error> {
    let Wanted { needs, covariance, filled_by } = scope.wanted();
    let mut file = File { tensors, n_read: 0, channels: scope.fitted.output().channels() };
    let rows = whole("rows", 0, file.take("", "rows", &[1])?[0], MOST_ROWS)?;
    let raw = file.channels("", rows, needs)?;
    let filled = match filled_by {
        Some(_) => file.channels(FILLED, rows, needs)?.into_iter().map(Some).collect(),
        None => vec![None; raw.len()],
    };
    let covariance = if covariance { Some(file.together(rows, scope)?) } else { None };
    if file.n_read != tensors.len() {
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        return bad(format!("expected {} tensors, found {}", file.n_read, names.join(", ")));
    }
    let channels = raw.into_iter().zip(filled).map(|(now, filled)| Channel { now, filled });
    Ok((rows, Known { filled_by, channels: channels.collect(), covariance }))
}

struct File<'a> {
    tensors: &'a [Tensor],
    n_read: usize,
    channels: usize,
}

impl<'a> File<'a> {
    fn take(&mut self, prefix: &str, name: &str, shape: &[usize]) -> Result<&'a [f64], Error> {
        let name = format!("{prefix}{name}");
        let Some(found) = self.tensors.iter().find(|tensor| tensor.name == name) else {
            return bad(format!("{name} is missing"));
        };
        if found.shape != shape || found.values.len() != shape.iter().product::<usize>() {
            return bad(format!("{name} has the shape {:?}, expected {shape:?}", found.shape));
        }
        self.n_read += 1;
        Ok(&found.values)
    }

    fn channels(
        &mut self,
        prefix: &str,
        rows: u64,
        needs: Needs,
    ) -> Result<Vec<ChannelStats>, Error> {
        let mut columns = Vec::new();
        for (name, _) in COLUMNS {
            columns.push(self.take(prefix, name, &[self.channels])?);
        }
        let mut points = vec![0; self.channels];
        let mut quantiles: &[f64] = &[];
        let some = |count: &f64| *count > 0.0;
        if needs == Needs::Quantiles && columns[0].iter().any(some) {
            let found = self.take(prefix, "points", &[self.channels])?;
            for (at, (points, &found)) in points.iter_mut().zip(found).enumerate() {
                *points =
                    whole(&format!("{prefix}points"), at, found, MOST_POINTS as u64)? as usize;
            }
            quantiles = self.take(prefix, "quantiles", &[points.iter().sum()])?;
        }
        let mut all = Vec::new();
        for (at, n_points) in points.into_iter().enumerate() {
            let count = whole(&format!("{prefix}count"), at, columns[0][at], rows)?;
            let known;
            (known, quantiles) = quantiles.split_at(n_points);
            let mut stats = ChannelStats { missing: rows - count, ..ChannelStats::empty() };
            if count > 0 {
                let [_, mean, mean_rest, m2, min, max] = [0, 1, 2, 3, 4, 5].map(|i| columns[i][at]);
                let quantiles = Quantiles::evenly(count, known.to_vec());
                stats = ChannelStats { count, mean, mean_rest, m2, min, max, quantiles, ..stats };
            }
            let zeros = columns.iter().all(|column| column[at].to_bits() == 0) && n_points == 0;
            if count == 0 && !zeros {
                return bad(format!("{prefix}count is 0 at {at}, and other numbers there are not"));
            }
            all.push(stats);
        }
        Ok(all)
    }

    fn together(&mut self, rows: u64, scope: &Scope) -> Result<Together, Error> {
        let of = scope.together()?;
        let n = of.as_ref().map_or(self.channels, Vec::len);
        let count = whole("covariance.count", 0, self.take(TOGETHER, "count", &[1])?[0], rows)?;
        let covariance = Covariance {
            count,
            incomplete: rows - count,
            mean: self.take(TOGETHER, "mean", &[n])?.to_vec(),
            mean_rest: self.take(TOGETHER, "mean_rest", &[n])?.to_vec(),
            comoment: self.take(TOGETHER, "comoment", &[n, n])?.to_vec(),
        };
        Ok(Together { of, covariance, is_filled: false })
    }
}

/// Fails unless the numbers can be those of values.
pub(crate) fn check(scope: &Scope, rows: u64, known: &Known) -> Result<(), Error> {
    check_rows(rows)?;
    let needs = scope.wanted().needs;
    for (channel, name) in known.channels.iter().zip(&scope.fitted.output().names) {
        for stats in std::iter::once(&channel.now).chain(&channel.filled) {
            if let Some(what) = flaw(stats, needs) {
                return bad(format!("channel {name:?}: {what}"));
            }
        }
        if let Some(filled) = &channel.filled
            && filled.count < channel.now.count
        {
            return bad(format!("channel {name:?}: fewer values with gaps filled than without"));
        }
    }
    if let Some(together) = &known.covariance
        && let Some(what) = together_flaw(together, known)
    {
        return bad(what);
    }
    Ok(())
}

/// What is wrong with a covariance.
fn together_flaw(together: &Together, known: &Known) -> Option<String> {
    let Together { of, covariance: Covariance { count, mean, mean_rest, comoment, .. }, .. } =
        together;
    let n = mean.len();
    if *count == 0 {
        let is_empty = [mean, mean_rest, comoment].iter().all(|all| all.iter().all(|&v| v == 0.0));
        return (!is_empty).then(|| "covariance.count is 0, and other numbers are not".to_owned());
    }
    for at in 0..n {
        let place = of.as_ref().map_or(at, |places| places[at]);
        let ChannelStats { min, max, .. } = known.channels[place].now;
        let one = ChannelStats {
            count: *count,
            mean: mean[at],
            mean_rest: mean_rest[at],
            m2: comoment[at * n + at],
            min,
            max,
            ..ChannelStats::empty()
        };
        if let Some(what) = flaw(&one, Needs::Moments) {
            return Some(format!("covariance, at {at}: {what}"));
        }
        for other in 0..at {
            let (one, turned) = (comoment[at * n + other], comoment[other * n + at]);
            let most = comoment[at * n + at].sqrt() * comoment[other * n + other].sqrt();
            let is_bounded = one.abs() <= most * (1.0 + SLACK) + f64::MIN_POSITIVE;
            if one.to_bits() != turned.to_bits() || !is_bounded {
                return Some(format!(
                    "covariance.comoment at {at}, {other} is {one:e} and {turned:e}, expected the \
                     same twice, within {most:e}"
                ));
            }
        }
    }
    None
}

pub(crate) fn check_rows(rows: u64) -> Result<(), Error> {
    if rows > MOST_ROWS {
        return bad(format!("{rows} rows are more than {MOST_ROWS}"));
    }
    Ok(())
}

/// What is wrong with the numbers of one channel.
fn flaw(stats: &ChannelStats, needs: Needs) -> Option<String> {
    let ChannelStats { count, mean, mean_rest, m2, min, max, ref quantiles, .. } = *stats;
    if count == 0 {
        return None;
    }
    let sane = |v: f64| v.abs() <= LARGEST;
    for (name, value) in [("mean", mean), ("mean_rest", mean_rest), ("min", min), ("max", max)] {
        if !sane(value) {
            return Some(format!("{name} is {value:e}, expected a number within {LARGEST:e}"));
        }
    }
    if min > max {
        return Some(format!("min is {min} and max is {max}"));
    }
    let range = max - min;
    // A number's last digit may be out, too.
    let slack = SLACK * range + f64::EPSILON * min.abs().max(max.abs());
    if mean < min - slack || mean > max + slack {
        return Some(format!("the mean {mean} is not between min {min} and max {max}"));
    }
    if mean_rest.abs() > f64::EPSILON * mean.abs() + f64::MIN_POSITIVE {
        return Some(format!("mean_rest is {mean_rest:e}, more than the last digit of the mean"));
    }
    // Half the values at either end (Popoviciu).
    let most = 0.25 * range * range * count as f64;
    if !(m2 >= 0.0 && m2 <= most * (1.0 + SLACK) + f64::MIN_POSITIVE) {
        return Some(format!("m2 is {m2:e}, expected 0 to {most:e} by count and range"));
    }
    if needs != Needs::Quantiles {
        return None;
    }
    let points = quantiles.points();
    if points.len() < 2
        || points.iter().any(|&v| !sane(v))
        || points.windows(2).any(|p| p[0] > p[1])
    {
        return Some("its quantiles are not at least 2 numbers in order".to_owned());
    }
    if points[0] < min || points[points.len() - 1] > max {
        return Some("its quantiles leave its range".to_owned());
    }
    None
}

fn whole(name: &str, at: usize, value: f64, most: u64) -> Result<u64, Error> {
    if value >= 0.0 && value <= most as f64 && value.fract() == 0.0 {
        Ok(value as u64)
    } else {
        bad(format!("{name} is {value} at {at}, expected a whole number from 0 to {most}"))
    }
}

fn bad<T>(what: String) -> Result<T, Error> {
    Err(Error::Statistics { what })
}
