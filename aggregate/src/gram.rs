//! Scalar products of all updates' changes: what every rule by distance needs, in one pass.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, MatMut, MatRef, Par};

use crate::Error;
use crate::base::Base;
use crate::blocks::{Block, Blocks, pass};
use crate::cohort::Cohort;
use crate::dtype::{Kind, kind};
use crate::kernels::subtract;
use crate::rows::Element;

/// Sums that are kept apart, so that threads can work side by side; a constant, so that the order
/// of additions is always the same. Of many updates there are fewer, as each sum is their square.
const N_LANES: usize = 16;
/// Updates from which on there are fewer lanes.
const MANY: usize = 256;
/// Columns of a product: the rows stay in the second-level cache.
const COLUMNS: usize = 512;

/// `⟨Δ_i, Δ_j⟩` of all members, summed in f64 over all float tensors that are merged.
///
/// The products are those of changes and not of weights: with `‖Δ‖/‖x‖` at 1e-3, distances from
/// products of weights would have lost six digits, enough to pick the wrong update.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Gram {
    n: usize,
    values: Vec<f64>,
}

/// What changes are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The base, or the older one that a member started from.
    Base,
    /// A member.
    Member(usize),
}

impl Gram {
    /// The products of points on a line.
    #[cfg(test)]
    pub(crate) fn on_a_line(points: &[f64]) -> Self {
        let values = points.iter().flat_map(|a| points.iter().map(move |b| a * b)).collect();
        Self { n: points.len(), values }
    }

    pub(crate) fn len(&self) -> usize {
        self.n
    }

    /// `⟨Δ_i, Δ_j⟩`
    pub(crate) fn dot(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.n + j]
    }

    /// `‖Δ_i‖`
    fn norm(&self, i: usize) -> f64 {
        self.dot(i, i).sqrt()
    }

    /// `‖Δ_i‖` of all.
    pub(crate) fn norms(&self) -> Vec<f64> {
        (0..self.n).map(|i| self.norm(i)).collect()
    }

    /// `‖Δ_i − Δ_j‖²`, the same to the bit as that of j and i.
    pub(crate) fn square_distance(&self, i: usize, j: usize) -> f64 {
        ((self.dot(i, i) + self.dot(j, j)) - 2.0 * self.dot(i, j)).max(0.0)
    }

    /// `‖Σ_j c_j Δ_j − Δ_i‖` for every i.
    pub(crate) fn distances_from(&self, coefficients: &[f64]) -> Vec<f64> {
        let products: Vec<f64> = self
            .values
            .chunks_exact(self.n)
            .map(|row| row.iter().zip(coefficients).map(|(g, c)| g * c).sum())
            .collect();
        let square: f64 = products.iter().zip(coefficients).map(|(p, c)| p * c).sum();
        products
            .iter()
            .enumerate()
            .map(|(i, product)| ((square + self.dot(i, i)) - 2.0 * product).max(0.0).sqrt())
            .collect()
    }

    /// The products of averages: `rows[b]` has the coefficients of average b.
    pub(crate) fn of_averages(&self, rows: &[Vec<f64>]) -> Self {
        let n = rows.len();
        let mut values = vec![0.0; n * n];
        for (i, a) in rows.iter().enumerate() {
            let products: Vec<f64> = self
                .values
                .chunks_exact(self.n)
                .map(|row| row.iter().zip(a).map(|(g, c)| g * c).sum())
                .collect();
            for (j, b) in rows.iter().enumerate().skip(i) {
                let value = products.iter().zip(b).map(|(p, c)| p * c).sum();
                values[i * n + j] = value;
                values[j * n + i] = value;
            }
        }
        Self { n, values }
    }

    /// Whether all products are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }

    /// The member that lies best among the others, if the origin lies so far from all of them that
    /// their differences have lost digits.
    pub(crate) fn better_origin(&self) -> Option<usize> {
        if self.n < 3 {
            return None;
        }
        let middle = |i: usize| {
            let mut squares: Vec<f64> = (0..self.n).map(|j| self.square_distance(i, j)).collect();
            squares.sort_by(f64::total_cmp);
            squares[self.n / 2]
        };
        let nearest = (0..self.n).min_by(|&a, &b| middle(a).total_cmp(&middle(b)))?;
        let (far, near) = (self.dot(nearest, nearest), middle(nearest));
        // Of 16 digits ten are left.
        (far > 1e6 * near && near > 0.0 || far > 0.0 && near == 0.0).then_some(nearest)
    }
}

/// `min(1, limit/norm)`
pub(crate) fn clip_scale(limit: f64, norm: f64) -> f64 {
    if norm <= limit { 1.0 } else { limit / norm }
}

struct Worker {
    bytes: Vec<u8>,
    lane: Vec<f64>,
    changes: Vec<f64>,
    narrow: (Vec<f32>, Vec<f32>),
    wide: (Vec<f64>, Vec<f64>),
}

/// Makes the products in one pass over all members.
pub(crate) fn gram(cohort: &Cohort<'_>, order: &[usize], origin: Origin) -> Result<Gram, Error> {
    let n = cohort.len();
    let blocks = Blocks::new(cohort.tensors, order.iter().copied(), n + 1);
    let n_lanes = if n > MANY { N_LANES / 4 } else { N_LANES };
    let per_lane = blocks.len().div_ceil(n_lanes).max(1);
    let mut values = vec![0.0; n * n];
    // A worker takes a whole lane; the sums of lanes are added in their order.
    let mut workers = crate::blocks::workers(|| Worker {
        bytes: Vec::new(),
        lane: Vec::new(),
        changes: Vec::new(),
        narrow: (Vec::new(), Vec::new()),
        wide: (Vec::new(), Vec::new()),
    });
    workers.truncate(n_lanes);
    pass(
        n_lanes,
        &mut workers,
        |worker, lane| {
            worker.lane.clear();
            worker.lane.resize(n * n, 0.0);
            for index in lane * per_lane..((lane + 1) * per_lane).min(blocks.len()) {
                let block = blocks.get(index);
                let Worker { bytes, lane, changes, narrow, wide } = worker;
                match kind(cohort.tensors[block.tensor].dtype) {
                    Kind::Integer | Kind::Opaque => {}
                    Kind::Float if cohort.is_wide(block.tensor) => {
                        let (row, start) = (&mut wide.0, &mut wide.1);
                        add(cohort, block, origin, Rows { bytes, row, start, changes }, lane)?;
                    }
                    Kind::Float => {
                        let (row, start) = (&mut narrow.0, &mut narrow.1);
                        add(cohort, block, origin, Rows { bytes, row, start, changes }, lane)?;
                    }
                }
            }
            Ok(worker.lane.clone())
        },
        |_, lane| {
            for (value, one) in values.iter_mut().zip(lane) {
                *value += one;
            }
            Ok(())
        },
    )?;
    // Only the lower half was made.
    for i in 0..n {
        for j in i + 1..n {
            values[i * n + j] = values[j * n + i];
        }
    }
    Ok(Gram { n, values })
}

/// Buffers for one kind of element.
struct Rows<'a, E> {
    bytes: &'a mut Vec<u8>,
    row: &'a mut Vec<E>,
    start: &'a mut Vec<E>,
    changes: &'a mut Vec<f64>,
}

/// Adds the products over one block.
fn add<E: Element>(
    cohort: &Cohort<'_>,
    block: Block,
    origin: Origin,
    rows: Rows<'_, E>,
    sums: &mut [f64],
) -> Result<(), Error> {
    let Rows { bytes, row, start, changes } = rows;
    let (n, len) = (cohort.len(), block.n_elements);
    row.resize(len, E::default());
    start.resize(len, E::default());
    changes.resize(n * len, 0.0);
    let read_base = |base: &Base, bytes: &mut Vec<u8>, row: &mut [E]| {
        E::read(&base.file, &base.file.tensors()[block.tensor], block.start, bytes, row)
    };
    match (origin, cohort.base) {
        (Origin::Base, Some(base)) => read_base(base, bytes, start)?,
        (Origin::Base, None) => cohort.read(0, block, bytes, start)?,
        (Origin::Member(i), _) => cohort.read(i, block, bytes, start)?,
    }
    let mut older: Vec<E> = Vec::new();
    for (i, change) in changes.chunks_exact_mut(len).enumerate() {
        if cohort.info(i, block.tensor).is_none() {
            change.fill(0.0);
            continue;
        }
        cohort.read(i, block, bytes, row)?;
        let from: &[E] = match cohort.members[i].origin {
            Some(o) if origin == Origin::Base => {
                older.resize(len, E::default());
                read_base(&cohort.older[o], bytes, &mut older)?;
                &older
            }
            _ => start,
        };
        subtract(change, row, from);
    }
    for at in (0..len).step_by(COLUMNS) {
        let width = COLUMNS.min(len - at);
        let part = MatRef::from_row_major_slice_with_stride(&changes[at..], n, width, len);
        let sums = MatMut::from_row_major_slice_mut(sums, n, n);
        let (lower, full) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
        matmul(sums, lower, Accum::Add, part, full, part.transpose(), full, 1.0, Par::Seq);
    }
    Ok(())
}
