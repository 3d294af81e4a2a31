//! One block of the merge: the rows of all updates become one, and what they have to do with it.

use std::time::Instant;

use crate::Error;
use crate::blocks::Block;
use crate::cohort::{Cohort, normalize};
use crate::columns::TILE;
use crate::kernels::{
    add_scaled, add_two, all_finite, divide, moments, scale_to, square_sum, subtract, to_keys,
    widen,
};
use crate::plan::{Columns, Linear, Plan};
use crate::rows::Element;
use crate::spent::{Spent, lap};

/// Elements whose sums stay in the first-level cache while all rows are added.
const TILE_SUMS: usize = 1024;

/// Buffers of one worker for one kind of element.
#[derive(Debug, Default)]
pub(crate) struct Rows<E: Element> {
    /// `[holders + older bases + base, elements]`
    values: Vec<E>,
    keys: Vec<E::Key>,
}

/// Buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) narrow: Rows<f32>,
    pub(crate) wide: Rows<f64>,
    pub(crate) result: Reduced,
}

impl Scratch {
    /// Bytes of its buffers.
    pub(crate) fn n_bytes(&self) -> usize {
        fn of<E: Element>(rows: &Rows<E>) -> usize {
            size_of::<E>() * rows.values.capacity() + size_of::<E::Key>() * rows.keys.capacity()
        }
        let Reduced { values, base, moved, .. } = &self.result;
        let results = values.capacity() + base.capacity() + moved.capacity();
        self.bytes.capacity() + of(&self.narrow) + of(&self.wide) + 8 * results
    }
}

/// What a block was reduced to.
#[derive(Debug, Default)]
pub(crate) struct Reduced {
    /// The reduced values.
    pub(crate) values: Vec<f64>,
    /// The base's, if there is one.
    pub(crate) base: Vec<f64>,
    /// The reduced values less the base's.
    moved: Vec<f64>,
    /// Of each holder, with `o` the base or zero and `z` the reduced values: `‖x − o‖²` and
    /// `⟨x − o, z − o⟩`.
    pub(crate) moments: Vec<(usize, [f64; 2])>,
    /// `‖z − o‖²` and `‖base‖²`
    pub(crate) squares: [f64; 2],
    /// Of all blocks so far.
    pub(crate) spent: Spent,
}

/// Whether a block of the updates could be reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Reduced,
    /// An update holds NaN or infinity somewhere in it.
    NotFinite,
    /// No update that counts holds it, so that it stays as it is.
    Unmoved,
}

/// Reduces one block of floats into `result`.
pub(crate) fn reduce_block<E: Element>(
    cohort: &Cohort<'_>,
    plan: &Plan,
    block: Block,
    with_moments: bool,
    bytes: &mut Vec<u8>,
    rows: &mut Rows<E>,
    result: &mut Reduced,
) -> Result<Outcome, Error> {
    let mut clock = Instant::now();
    let len = block.n_elements;
    let holders: Vec<usize> = cohort.holders(block.tensor).collect();
    let n_older = match plan {
        Plan::Linear(linear) if linear.from_own_base => cohort.older.len(),
        _ => 0,
    };
    let n_rows = holders.len() + n_older + usize::from(cohort.base.is_some());
    rows.values.resize(n_rows * len, E::default());
    let mut each = rows.values.chunks_exact_mut(len);
    for (&holder, row) in holders.iter().zip(&mut each) {
        cohort.read(holder, block, bytes, row)?;
    }
    for base in cohort.older.iter().take(n_older).chain(cohort.base) {
        if let Some(row) = each.next() {
            let tensor = &base.file.tensors()[block.tensor];
            E::read(&base.file, tensor, block.start, bytes, row)?;
        }
    }
    result.spent.read_s += lap(&mut clock);
    let (updates, bases) = rows.values.split_at(holders.len() * len);
    let base = cohort.base.and_then(|_| bases.chunks_exact(len).last());

    result.values.resize(len, 0.0);
    let out = &mut result.values;
    match plan {
        Plan::Linear(linear) => {
            let Some((weights, total)) = row_weights(cohort, linear, &holders) else {
                return Ok(Outcome::Unmoved);
            };
            weighted_mean(&weights, total, &rows.values, out);
            if let Some(noise) = &linear.noise {
                noise.add(block, out);
            }
        }
        Plan::Sphere(sphere) => {
            weighted_mean(&sphere.coefficients[block.tensor], 1.0, updates, out);
        }
        Plan::Sparse(sparse) => {
            let members: Vec<(usize, f64)> =
                holders.iter().map(|&i| (i, cohort.members[i].weight)).collect();
            sparse.reduce(block, &members, updates, base.unwrap_or_default(), out);
        }
        Plan::Columns(columns) => {
            let groups = columns.holding(cohort, block.tensor);
            if groups.is_empty() {
                return Ok(Outcome::Unmoved);
            }
            sort_columns(columns, &groups, &holders, updates, &mut rows.keys, out);
        }
    }
    let finite = all_finite(&out[..]) && (matches!(plan, Plan::Linear(_)) || all_finite(updates));
    if !finite {
        return Ok(Outcome::NotFinite);
    }

    let Reduced { values, base: base_values, moved, moments: all_moments, squares, spent } = result;
    spent.reduce_s += lap(&mut clock);
    base_values.resize(base.map_or(0, |_| len), 0.0);
    let moved: &[f64] = match base {
        Some(base) => {
            widen(base_values, base);
            moved.resize(len, 0.0);
            subtract(moved, values, base_values);
            moved
        }
        None => values,
    };
    *squares = [moved, base_values].map(square_sum);
    all_moments.clear();
    if with_moments {
        all_moments.extend(holders.iter().map(|&holder| (holder, [0.0; 2])));
        let older: Vec<&[E]> = bases.chunks_exact(len).take(n_older).collect();
        let mut own_base = [0.0; TILE_SUMS];
        // Tile by tile, so that what all rows are compared with stays in the first-level cache.
        for at in (0..len).step_by(TILE_SUMS) {
            let tile = at..len.min(at + TILE_SUMS);
            for ((holder, sums), row) in all_moments.iter_mut().zip(updates.chunks_exact(len)) {
                let (row, moved) = (&row[tile.clone()], &moved[tile.clone()]);
                let late = cohort.members[*holder].origin.and_then(|origin| older.get(origin));
                let more = match (base, late) {
                    (_, Some(older)) => {
                        let origin = &mut own_base[..tile.len()];
                        widen(origin, &older[tile.clone()]);
                        moments(row, Some(origin), moved)
                    }
                    (Some(_), None) => {
                        let origin = &base_values[tile.clone()];
                        moments(row, Some(origin), moved)
                    }
                    (None, None) => moments(row, None, moved),
                };
                for (sum, more) in sums.iter_mut().zip(more) {
                    *sum += more;
                }
            }
        }
    }
    spent.report_s += lap(&mut clock);
    Ok(Outcome::Reduced)
}

/// What each row weighs, and what all weigh together; `None` if those that hold the tensor weigh
/// nothing.
fn row_weights(cohort: &Cohort<'_>, linear: &Linear, holders: &[usize]) -> Option<(Vec<f64>, f64)> {
    let mut weights: Vec<f64> = holders.iter().map(|&i| linear.weights[i]).collect();
    let (mut total, mut base) = (linear.total, linear.base_weight());
    if holders.len() < cohort.len() {
        let all: f64 = linear.weights.iter().sum();
        let held: f64 = weights.iter().sum();
        if linear.is_mean {
            // As given: beside a far heavier update that lacks the tensor, the scaled weight of
            // this one may have vanished.
            weights = holders.iter().map(|&i| cohort.members[i].counted).collect();
            normalize(weights.iter_mut());
            total = weights.iter().sum();
        } else {
            // Who lacks the tensor has not changed it.
            base += all - held;
        }
    }
    if holders.is_empty() || weights.iter().all(|&w| w == 0.0) {
        return None;
    }
    if linear.from_own_base {
        let mut older = vec![0.0; cohort.older.len()];
        for (&i, weight) in holders.iter().zip(&weights) {
            if let Some(origin) = cohort.members[i].origin {
                older[origin] -= weight;
            }
        }
        // What was taken from older bases is not missing at the base.
        base -= older.iter().sum::<f64>();
        weights.extend(older);
    }
    if cohort.base.is_some() {
        weights.push(base);
    }
    Some((weights, total))
}

/// `Σ w_r x_r / total` over the rows, of which those of weight 0 do not count.
///
/// Of f32 the sums of f64 are far more precise than what they are rounded to: equal values come
/// back bit for bit, and no mean leaves the bounds of its values. Of f64 the differences from the
/// first row are summed, and a mean is held within the bounds.
fn weighted_mean<E: Element>(weights: &[f64], total: f64, rows: &[E], out: &mut [f64]) {
    let len = out.len();
    let rows: Vec<(f64, &[E])> = weights
        .iter()
        .zip(rows.chunks_exact(len))
        .filter(|&(&weight, _)| weight != 0.0)
        .map(|(&weight, row)| (weight, row))
        .collect();
    let Some((&(weight, first), others)) = rows.split_first() else {
        out.fill(0.0);
        return;
    };
    if !E::WIDE {
        for at in (0..len).step_by(TILE_SUMS) {
            let tile = at..len.min(at + TILE_SUMS);
            let out = &mut out[tile.clone()];
            scale_to(out, &first[tile.clone()], weight);
            let mut pairs = others.chunks_exact(2);
            for pair in &mut pairs {
                let (w, rows) = ([pair[0].0, pair[1].0], [pair[0].1, pair[1].1]);
                let rows = rows.map(|row| &row[tile.clone()]);
                add_two(out, rows, w);
            }
            for (weight, row) in pairs.remainder() {
                add_scaled(out, &row[tile.clone()], *weight);
            }
            if total.to_bits() != 1f64.to_bits() {
                divide(out, total);
            }
        }
        return;
    }
    let all: f64 = rows.iter().map(|&(weight, _)| weight).sum();
    if (all - total).abs() > 1e-12 * total.abs() {
        // On a sphere, not between the rows.
        for (j, out) in out.iter_mut().enumerate() {
            *out = rows.iter().map(|&(weight, row)| weight * row[j].into()).sum::<f64>() / total;
        }
        return;
    }
    let convex = rows.iter().all(|&(weight, _)| weight > 0.0);
    for (j, out) in out.iter_mut().enumerate() {
        let first: f64 = first[j].into();
        let others =
            || others.iter().map(|&(weight, row)| -> (f64, f64) { (weight, row[j].into()) });
        let (mut low, mut high) = (first, first);
        let mut sum = 0.0;
        for (weight, value) in others() {
            sum += weight * (value - first);
            low = if value < low { value } else { low };
            high = if value > high { value } else { high };
        }
        // NaN is not among the bounds; the sum has it.
        if low >= high && sum == 0.0 {
            // Not `first + 0`, which would turn −0 into 0.
            *out = first;
            continue;
        }
        let mut mean = first + sum / total;
        if !mean.is_finite() {
            // The differences of huge values overflow, those of their halves do not.
            let half = |(weight, value): (f64, f64)| weight / total * (0.5 * value - 0.5 * first);
            mean = 2.0 * (0.5 * first + others().map(half).sum::<f64>());
        }
        *out = if convex && low <= high { mean.clamp(low, high) } else { mean };
    }
}

/// Sorts each coordinate and applies the rule, a tile of coordinates at a time.
fn sort_columns<E: Element>(
    columns: &Columns,
    groups: &[Vec<usize>],
    holders: &[usize],
    updates: &[E],
    keys: &mut Vec<E::Key>,
    out: &mut [f64],
) {
    let len = out.len();
    let row_of = |member: usize| {
        let place = holders.binary_search(&member).unwrap_or(0);
        &updates[place * len..(place + 1) * len]
    };
    let sorter = columns.sorter(groups.len());
    if groups.iter().all(|group| group.len() == 1) {
        let rows: Vec<&[E]> = groups.iter().map(|group| row_of(group[0])).collect();
        keys.resize(rows.len() * TILE, E::Key::default());
        for at in (0..len).step_by(TILE) {
            let tile = at..len.min(at + TILE);
            for (keys, row) in keys.chunks_exact_mut(TILE).zip(&rows) {
                to_keys(keys, &row[tile.clone()]);
            }
            sorter.reduce::<E>(keys, &mut out[tile]);
        }
        return;
    }
    // Averages of buckets are f64, whatever the updates are.
    let mut keys = vec![0i64; groups.len() * TILE];
    let mut mean = [0.0f64; TILE];
    for at in (0..len).step_by(TILE) {
        let tile = at..len.min(at + TILE);
        for (keys, group) in keys.chunks_exact_mut(TILE).zip(groups) {
            let rows: Vec<E> =
                group.iter().flat_map(|&member| row_of(member)[tile.clone()].to_vec()).collect();
            let mean = &mut mean[..tile.len()];
            weighted_mean(&vec![1.0; group.len()], group.len() as f64, &rows, mean);
            to_keys(keys, mean);
        }
        sorter.reduce::<f64>(&mut keys, &mut out[tile]);
    }
}
