//! The weighted mean of one block of one tensor, with one input in memory at a time.

use crate::admit::Input;
use crate::dtype::{decode_floats, decode_integers, element_width};
use crate::{Dtype, Error, TensorInfo};

/// Some consecutive elements of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Block {
    /// Which tensor, in order of names.
    pub(crate) tensor: usize,
    /// The first element.
    pub(crate) start: usize,
    pub(crate) n_elements: usize,
}

/// The inputs that have a weight above 0, in the order in which they are summed.
#[derive(Debug)]
pub(crate) struct Cohort<'a> {
    /// Each with its weight times a power of two, so that the largest is in 1 to 2.
    members: Vec<(&'a Input, f64)>,
    total: f64,
}

impl<'a> Cohort<'a> {
    /// A cohort of inputs that are sorted already; at least one weighs more than 0.
    pub(crate) fn new(inputs: &'a [Input]) -> Self {
        let mut members: Vec<_> = inputs
            .iter()
            .map(|input| (input, input.update.weight))
            .filter(|&(_, weight)| weight > 0.0)
            .collect();
        normalize(members.iter_mut().map(|(_, weight)| weight));
        let total = members.iter().map(|&(_, weight)| weight).sum();
        Self { members, total }
    }

    /// The members that hold a tensor, with the sum of their weights.
    fn holding(&self, name: &str) -> (Vec<Member<'a>>, f64) {
        let mut members: Vec<Member<'a>> = self
            .members
            .iter()
            .filter_map(|&(input, _)| {
                // As given: beside a far heavier update that lacks the tensor, the scaled weight of
                // this one may have vanished.
                let weight = input.update.weight;
                let place = input.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
                Some(Member { input, tensor: &input.tensors[place], weight })
            })
            .collect();
        normalize(members.iter_mut().map(|member| &mut member.weight));
        let total = members.iter().map(|member| member.weight).sum();
        (members, total)
    }

    /// Whether any member holds a tensor; if none does, it stays as it is in the base.
    pub(crate) fn moves(&self, name: &str) -> bool {
        self.members
            .iter()
            .any(|(input, _)| input.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).is_ok())
    }

    /// The share `p_i` of every member in the mean; they sum to 1.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (&'a Input, f64)> {
        self.members.iter().map(|&(input, weight)| (input, weight / self.total))
    }
}

/// Multiplies weights by a power of two, so that the largest is in 1 to 2: whole numbers stay exact,
/// and no sum of weights overflows.
fn normalize<'w>(weights: impl Iterator<Item = &'w mut f64>) {
    let mut weights: Vec<&mut f64> = weights.collect();
    let mut largest = weights.iter().map(|weight| **weight).fold(0.0, f64::max);
    while largest > 0.0 && !(1.0..2.0).contains(&largest) {
        let factor = if largest < 1.0 { 2.0 } else { 0.5 };
        largest *= factor;
        for weight in &mut weights {
            **weight *= factor;
        }
    }
}

/// An input that holds the tensor at hand.
struct Member<'a> {
    input: &'a Input,
    tensor: &'a TensorInfo,
    weight: f64,
}

/// Buffers that are used again from block to block.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) floats: Buffers<f64>,
    pub(crate) integers: Buffers<i128>,
    halves: Vec<f64>,
}

/// One number per element of the block: of the input at hand, of the first, and of all so far.
#[derive(Debug, Default)]
pub(crate) struct Buffers<T> {
    pub(crate) values: Vec<T>,
    first: Vec<T>,
    low: Vec<T>,
    high: Vec<T>,
    /// `Σ w_i (x_i − x_first)`.
    sum: Vec<f64>,
    pub(crate) mean: Vec<T>,
}

impl<T: Copy + PartialOrd> Buffers<T> {
    /// Takes the first input's values.
    fn begin(&mut self) {
        for buffer in [&mut self.first, &mut self.low, &mut self.high] {
            buffer.clone_from(&self.values);
        }
        self.sum.clear();
        self.sum.resize(self.values.len(), 0.0);
    }

    /// Adds another input's values.
    fn add(&mut self, weight: f64, difference: impl Fn(T, T) -> f64) {
        let extremes = self.low.iter_mut().zip(&mut self.high);
        let cells = self.values.iter().zip(&self.first).zip(extremes).zip(&mut self.sum);
        for (((&value, &first), (low, high)), sum) in cells {
            *sum += weight * difference(value, first);
            *low = if value < *low { value } else { *low };
            *high = if value > *high { value } else { *high };
        }
    }
}

/// Leaves the mean of a block of floats in `scratch.floats.mean`, not yet rounded to their dtype.
///
/// `x_1 + Σ w_i (x_i − x_1) / Σ w_i`, between the smallest and the largest `x_i`: where all inputs
/// are equal, it is exactly that value.
pub(crate) fn mean_of_floats(
    cohort: &Cohort<'_>,
    block: Block,
    tensor: &TensorInfo,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let Scratch { bytes, floats, halves, .. } = scratch;
    let dtype = tensor.dtype;
    halves.clear();
    let (members, total) = cohort.holding(&tensor.name);
    for (i, &Member { input, tensor, weight }) in members.iter().enumerate() {
        read_block(input, tensor, block, bytes)?;
        decode_floats(dtype, bytes, &mut floats.values);
        if floats.values.iter().any(|value| !value.is_finite()) {
            // All were finite when the file was checked.
            return Err(Error::Changed { path: input.update.path.clone() });
        }
        if i == 0 {
            floats.begin();
            halves.resize(if dtype == Dtype::F64 { block.n_elements } else { 0 }, 0.0);
            continue;
        }
        floats.add(weight, |value, first| value - first);
        // The differences of huge f64 overflow, those of their halves do not.
        let share = weight / total;
        for ((half, &value), &first) in halves.iter_mut().zip(&floats.values).zip(&floats.first) {
            *half += share * (0.5 * value - 0.5 * first);
        }
    }
    floats.mean.clear();
    floats.mean.extend((0..block.n_elements).map(|j| {
        let (first, low, high) = (floats.first[j], floats.low[j], floats.high[j]);
        if low >= high {
            // Not `first + 0`, which would turn -0 into 0.
            return first;
        }
        let mut mean = first + floats.sum[j] / total;
        if !mean.is_finite() {
            mean = 2.0 * (0.5 * first + halves.get(j).copied().unwrap_or(0.0));
        }
        mean.clamp(low, high)
    }));
    Ok(())
}

/// Leaves the mean of a block of integers in `scratch.integers.mean`, rounded to the nearest, ties
/// to even. Equal inputs come back exactly, however large they are.
pub(crate) fn mean_of_integers(
    cohort: &Cohort<'_>,
    block: Block,
    tensor: &TensorInfo,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let Scratch { bytes, integers, .. } = scratch;
    let (members, total) = cohort.holding(&tensor.name);
    for (i, &Member { input, tensor, weight }) in members.iter().enumerate() {
        read_block(input, tensor, block, bytes)?;
        decode_integers(tensor.dtype, bytes, &mut integers.values);
        if i == 0 {
            integers.begin();
        } else {
            integers.add(weight, |value, first| (value - first) as f64);
        }
    }
    integers.mean.clear();
    integers.mean.extend((0..block.n_elements).map(|j| {
        let offset = integers.sum[j] / total;
        let below = integers.first[j] + offset.floor() as i128;
        let rest = offset - offset.floor();
        let up = rest > 0.5 || (rest >= 0.5 && below % 2 != 0);
        (below + i128::from(up)).clamp(integers.low[j], integers.high[j])
    }));
    Ok(())
}

fn read_block(
    input: &Input,
    tensor: &TensorInfo,
    block: Block,
    bytes: &mut Vec<u8>,
) -> Result<(), Error> {
    bytes.resize(block.n_elements * element_width(tensor.dtype), 0);
    input.source.read_exact_at(bytes, tensor.offset(block.start))
}
