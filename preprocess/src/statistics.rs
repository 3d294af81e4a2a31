//! What a node hands out of its training rows so that a pipeline is fitted on all nodes' rows.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::cap::counted_rows;
use crate::covariance::Covariance;
use crate::known::{Channel, Known, Together, Wanted};
use crate::quantiles::{MOST_POINTS, Quantiles};
use crate::spec::Fitted;
use crate::stats::{ChannelStats, Needs, Stats};
use crate::tensors;
use crate::{Error, FittedImpute, ImputeMethod, Pipeline, Rounds, Rows, StepConfig, Tensor};

/// How many times the median of all nodes' rows one node's rows count at most, unless told otherwise:
/// as the weights of updates in a merge of models.
pub const MAX_WEIGHT: f64 = 10.0;

/// Values for each point of a summary of quantiles, at least: so a node does not hand out its data.
const VALUES_PER_POINT: u64 = 4;

/// What statistics are of: the steps to fit, and those that the rows had passed.
///
/// It stands beside the numbers in a file, as JSON; nodes' statistics are merged only if it is the
/// same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// All steps of the pipeline.
    pub configs: Vec<StepConfig>,
    /// The steps that the rows had passed, with the channels and the rate that came in.
    pub fitted: Pipeline,
}

impl Scope {
    /// Fails, and says what differs, unless the other is the same.
    pub(crate) fn check_same(&self, other: &Self) -> Result<(), Error> {
        let (ours, theirs) = (self.fitted.input(), other.fitted.input());
        let what = if ours.names != theirs.names {
            format!("the channels are {:?} here and {:?} there", ours.names, theirs.names)
        } else if ours.rate_hz != theirs.rate_hz {
            let rate =
                |rate: Option<f64>| rate.map_or("unknown".to_owned(), |hz| format!("{hz} Hz"));
            format!(
                "the sample rate is {} here and {} there; give [data] sample_rate_hz",
                rate(ours.rate_hz),
                rate(theirs.rate_hz)
            )
        } else if self.configs != other.configs {
            "the steps of preprocessing differ".to_owned()
        } else if self.fitted.steps().len() != other.fitted.steps().len() {
            let (ours, theirs) = (self.fitted.steps().len(), other.fitted.steps().len());
            format!("they are for step {theirs}, and those for step {ours} are due")
        } else if self != other {
            "the steps before were fitted otherwise".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Statistics { what })
    }

    /// Which statistics there are.
    pub(crate) fn wanted(&self) -> Wanted {
        let next = &self.configs[self.fitted.steps().len()..];
        Wanted::by(next, self.fitted.output().channels())
    }

    /// The channels of which it is known how they vary together, if not all: those of a step that is
    /// the first to be fitted, as it leaves out rows that miss something of them, and no others.
    pub(crate) fn together(&self) -> Result<Option<Vec<usize>>, Error> {
        match self.configs.get(self.fitted.steps().len()) {
            Some(next) if next.kind.needs() == Needs::Covariance => {
                Ok(self.fitted.next_input(next)?.0)
            }
            _ => Ok(None),
        }
    }
}

/// Statistics of a node's training rows for one of the [`Rounds`], and those of several nodes merged.
///
/// What leaves the node: the options of the steps and the names of channels; how many rows there are;
/// for each channel as it comes into the first step that is to be fitted, how many values are present,
/// their mean, sum of squared deviations, smallest and largest value; where a step needs quantiles, at
/// most 1025 evenly spaced ones, and never more than a quarter of the values has (but two, which are
/// the range); and the same of the values with gaps filled by `previous` or `linear`, where a step
/// fills them so; and, where a step needs it, how channels vary together. Of a node with a handful of rows these are nearly the rows themselves.
///
/// Counts, means, deviations, ranges and covariances of merged parts are those of all rows, to rounding. A quantile
/// of parts `k` with `n_k` of all `N` values, summarised by `m_k = min(1025, max(2, n_k/4))` points, is a
/// value whose rank among all `N` is off by at most
///
/// `Σ n_k/N · 1/(m_k − 1) + (K + 1)/N`
///
/// so that it is 1/1024 and `K + 1` values where every node has 4100 values or more. Each merge of what
/// was merged before adds 1/1024, but for the quarters and the median.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    scope: Scope,
    rows: u64,
    known: Known,
}

/// A node whose rows count less than it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capped {
    /// The name it was given.
    pub node: String,
    /// How many rows it says it has.
    pub claimed: u64,
    /// As how many they count.
    pub counted: u64,
}

impl Statistics {
    /// Of series that have passed the steps that are fitted.
    pub(crate) fn of(scope: Scope, passed: &[Rows]) -> Result<Self, Error> {
        let Wanted { needs, covariance, filled_by } = scope.wanted();
        let channels = scope.fitted.output().channels();
        let raw = Stats::of(needs, channels, passed).channels.into_iter().map(summarised);
        let filled = filled_by.map(|method| {
            let filled: Vec<Rows> = passed.iter().map(|rows| fill(rows, method)).collect();
            Stats::of(needs, channels, &filled).channels
        });
        let mut filled = filled.into_iter().flatten().map(summarised);
        let channels = raw.map(|now| Channel { now, filled: filled.next() }).collect();
        let covariance = if covariance { Some(together(&scope, passed)?) } else { None };
        let rows = passed.iter().map(|rows| rows.len() as u64).sum();
        Self::checked(scope, rows, Known { filled_by, channels, covariance })
    }

    /// Numbers that somebody else found.
    pub(crate) fn checked(scope: Scope, rows: u64, known: Known) -> Result<Self, Error> {
        tensors::check(&scope, rows, &known)?;
        Ok(Self { scope, rows, known })
    }

    /// What they are of.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How many training rows they are of.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn known(&self) -> Known {
        self.known.clone()
    }

    /// The numbers, to be stored beside the [`scope`](Self::scope); see [`from_tensors`](Self::from_tensors).
    pub fn to_tensors(&self) -> Vec<Tensor> {
        tensors::write(self.rows, &self.known)
    }

    /// Statistics from a file, which is not believed before it is checked.
    ///
    /// | tensor | shape | what it is |
    /// |---|---|---|
    /// | `rows` | `[1]` | training rows |
    /// | `count` | `[channels]` | present values |
    /// | `mean`, `mean_rest` | `[channels]` | their mean, and what it is more than that number |
    /// | `m2` | `[channels]` | `Σ (x − mean)²` |
    /// | `min`, `max` | `[channels]` | their range |
    /// | `points` | `[channels]` | how many quantiles are known, if a step needs them |
    /// | `quantiles` | `[Σ points]` | evenly spaced from `min` to `max`, channel by channel |
    /// | `filled.…` | | the same with gaps filled by neighbours, if a step does so |
    /// | `covariance.count` | `[1]` | rows without a missing value, if a step needs the covariance |
    /// | `covariance.mean`, `covariance.mean_rest` | `[n]` | means over these, of all channels or of those of the step that comes first |
    /// | `covariance.comoment` | `[n, n]` | `Σ (x − mean)(x − mean)ᵀ` over these |
    ///
    /// Of a channel without a value all are 0.
    ///
    /// # Errors
    /// If the scope is none that [`Rounds::scope`] gives, a tensor is missing, unknown or of another
    /// length, or its numbers are of no values: not finite or beyond 1e150, a count that is no whole
    /// number or more than the rows, a mean out of the range, a spread that the range does not allow,
    /// quantiles out of order.
    pub fn from_tensors(scope: Scope, tensors: &[Tensor]) -> Result<Self, Error> {
        let rounds = Rounds::resume(&scope.configs, scope.fitted.clone())?;
        if rounds.scope() != scope || rounds.finished().is_some() {
            return Err(Error::Statistics { what: "no step waits for them".to_owned() });
        }
        let (rows, known) = tensors::read(&scope, tensors)?;
        Self::checked(scope, rows, known)
    }

    /// The statistics of all nodes' rows together, and the nodes of which not all rows count.
    ///
    /// With `max_weight`, usually [`MAX_WEIGHT`], a node's rows count at most as so many times the
    /// median of all nodes' rows, and never more than those of all others together: what a node
    /// claims cannot outweigh the others. Ranges are those of all, whatever counts. A node without
    /// rows changes nothing, and the order of nodes changes no bit.
    ///
    /// # Errors
    /// If there are no nodes, or a node's statistics are of another [`Scope`]; the node is named.
    pub fn merge(
        parts: &[(&str, &Self)],
        max_weight: Option<f64>,
    ) -> Result<(Self, Vec<Capped>), Error> {
        let Some((_, first)) = parts.first() else {
            return Err(Error::Statistics { what: "there are none to merge".to_owned() });
        };
        for (node, part) in parts {
            first.scope.check_same(&part.scope).map_err(|source| Error::Node {
                node: (*node).to_owned(),
                source: Box::new(source),
            })?;
        }
        let claims: Vec<u64> = parts.iter().map(|(_, part)| part.rows).collect();
        let counted = counted_rows(&claims, max_weight);
        let both = parts.iter().zip(claims.iter().zip(&counted));
        let capped = both.filter(|(_, (claimed, counted))| counted < claimed);
        let capped = capped.map(|((node, _), (&claimed, &counted))| Capped {
            node: (*node).to_owned(),
            claimed,
            counted,
        });
        let capped = capped.collect();
        let rows = counted.iter().fold(0_u64, |sum, &rows| sum.saturating_add(rows));
        tensors::check_rows(rows)?;

        let counting = parts.iter().zip(&counted).map(|((_, part), &rows)| part.counting(rows));
        let mut sorted: Vec<(Vec<Tensor>, Known)> =
            counting.map(|(rows, known)| (tensors::write(rows, &known), known)).collect();
        sorted.sort_by(|(a, _), (b, _)| compare(a, b));
        let merged = |of: &dyn Fn(&Channel) -> Option<&ChannelStats>, channel: usize| {
            let all = sorted.iter().map(|(_, known)| of(&known.channels[channel]));
            all.collect::<Option<Vec<_>>>().map(|all| merged(&all))
        };
        let channels = (0..first.known.channels.len()).map(|channel| Channel {
            now: merged(&|c| Some(&c.now), channel).unwrap_or_else(ChannelStats::empty),
            filled: merged(&|c| c.filled.as_ref(), channel),
        });
        let channels = channels.collect();
        let covariance = first.known.covariance.clone().map(|mut all| {
            all.covariance = Covariance::empty(all.covariance.mean.len());
            for known in sorted.iter().filter_map(|(_, known)| known.covariance.as_ref()) {
                all.covariance.merge(&known.covariance);
            }
            all
        });
        let known = Known { filled_by: first.known.filled_by, channels, covariance };
        Ok((Self::checked(first.scope.clone(), rows, known)?, capped))
    }

    /// The same numbers as of fewer rows.
    fn counting(&self, rows: u64) -> (u64, Known) {
        let mut known = self.known.clone();
        if rows < self.rows {
            let share = rows as f64 / self.rows as f64;
            for channel in &mut known.channels {
                let both = std::iter::once(&mut channel.now).chain(&mut channel.filled);
                both.for_each(|stats| stats.count_as(share, rows));
            }
            if let Some(known) = &mut known.covariance {
                known.covariance.count_as(share, rows);
            }
        }
        (rows, known)
    }
}

/// Statistics with quantiles that do not hand out the values.
fn summarised(mut stats: ChannelStats) -> ChannelStats {
    let n_points = (stats.count / VALUES_PER_POINT).clamp(2, MOST_POINTS as u64);
    stats.quantiles = stats.quantiles.summary(n_points as usize);
    stats
}

/// How channels vary together.
fn together(scope: &Scope, passed: &[Rows]) -> Result<Together, Error> {
    let of = scope.together()?;
    let covariance = match &of {
        None => Covariance::of(scope.fitted.output().channels(), passed),
        Some(places) => {
            let some: Vec<Rows> = passed.iter().map(|rows| rows.of_channels(places)).collect();
            Covariance::of(places.len(), &some)
        }
    };
    Ok(Together { of, covariance, is_filled: false })
}

/// Rows with gaps filled from their neighbours; what these cannot fill stays missing.
fn fill(rows: &Rows, method: ImputeMethod) -> Rows {
    let fill = vec![f64::NAN; rows.channels()];
    let input = crate::Stage::unnamed(rows.channels());
    let mut step = FittedImpute { method, mask: false, fill }.start(&input);
    let mut out = Rows::new(rows.channels());
    step.push(rows.view(), &mut out);
    step.finish(&mut out);
    out
}

/// All of them together, quantiles too.
fn merged(all: &[&ChannelStats]) -> ChannelStats {
    let mut sum = ChannelStats::empty();
    for stats in all {
        sum.merge(stats);
    }
    let mut some = all.iter().filter(|stats| stats.count > 0);
    if let (Some(_), Some(_)) = (some.next(), some.next()) {
        sum.quantiles = Quantiles::mixed(all.iter().map(|s| &s.quantiles)).summary(MOST_POINTS);
    }
    sum
}

/// An order by content.
fn compare(a: &[Tensor], b: &[Tensor]) -> Ordering {
    let numbers = |all: &[Tensor]| all.iter().flat_map(|t| t.values.clone()).collect::<Vec<_>>();
    let (a, b) = (numbers(a), numbers(b));
    let mut orders = a.iter().zip(&b).map(|(a, b)| a.total_cmp(b));
    orders.find(|order| order.is_ne()).unwrap_or(a.len().cmp(&b.len()))
}
