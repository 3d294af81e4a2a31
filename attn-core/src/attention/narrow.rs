//! The two products of the backward pass that sum over queries, for heads whose row is at most one
//! AVX-512 register long: `d_v += pᵀ·d_out` and `d_k += d_scoreᵀ·q`.
//!
//! A row of such a head feeds one multiply-add for each scalar that is loaded, so nothing but loads
//! and multiply-adds may be left in the loop: rows of scalars lie a constant number of values apart,
//! which turns the addresses of 16 of them into one register and 16 constants. And where a row is at
//! most half a register long, two queries share one ([`Terms::Pairs`]), lane by lane beside each
//! other, since a pair of scalars is loaded into all pairs of lanes by one instruction.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Simd, WithSimd};

use super::panel::{PANEL, copy_short};
use super::rows::RowsMut;
use crate::simd::{LANES, vectorize};

/// What a row of the panel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// One query.
    Single,
    /// Two queries side by side, as [`pair_rows`] leaves them; sums of even and odd ones stay apart
    /// until [`store_pairs`].
    Pairs,
}

impl Terms {
    /// How rows of so many values are multiplied; `None` where they are longer than a register.
    pub(crate) fn of(head_dim: usize) -> Option<Self> {
        if head_dim <= HALF {
            Some(Self::Pairs)
        } else {
            (head_dim <= LANES).then_some(Self::Single)
        }
    }
}

/// Values of a row of which two share a register.
const HALF: usize = LANES / 2;

/// `c[n][lane] += Σₖ a[k][lane] · b[n][k]` for all rows of `c`; with [`Terms::Pairs`], even lanes
/// take `b[n][2k]` and odd ones `b[n][2k + 1]`.
///
/// Rows of `c` and `a` are [`LANES`] long, those of `b` `stride`.
///
/// # Panics
/// If `stride` is no width of a panel, or `b` is too small.
pub(crate) fn add_narrow(c: &mut [f32], a: &[f32], b: &[f32], stride: usize, terms: Terms) {
    let (c, a) = (c.as_chunks_mut().0, a.as_chunks().0);
    match (stride, terms) {
        (16, Terms::Single) => run::<16, false>(c, a, b),
        (32, Terms::Single) => run::<32, false>(c, a, b),
        (48, Terms::Single) => run::<48, false>(c, a, b),
        (PANEL, Terms::Single) => run::<PANEL, false>(c, a, b),
        (16, Terms::Pairs) => run::<16, true>(c, a, b),
        (32, Terms::Pairs) => run::<32, true>(c, a, b),
        (48, Terms::Pairs) => run::<48, true>(c, a, b),
        (PANEL, Terms::Pairs) => run::<PANEL, true>(c, a, b),
        _ => panic!("narrow: {stride} is no width of a panel"),
    }
}

fn run<const STRIDE: usize, const PAIRS: bool>(
    c: &mut [[f32; LANES]],
    a: &[[f32; LANES]],
    b: &[f32],
) {
    let b = &b.as_chunks::<STRIDE>().0[..c.len()];
    let most = if PAIRS { STRIDE / 2 } else { STRIDE };
    assert!(a.len() <= most, "narrow: {} rows are more than the {most} of a panel", a.len());
    pulp::Arch::new().dispatch(Narrow::<STRIDE, PAIRS> { c, a, b });
}

struct Narrow<'a, const STRIDE: usize, const PAIRS: bool> {
    c: &'a mut [[f32; LANES]],
    a: &'a [[f32; LANES]],
    b: &'a [[f32; STRIDE]],
}

impl<const STRIDE: usize, const PAIRS: bool> WithSimd for Narrow<'_, STRIDE, PAIRS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match S::F32_LANES {
            16 => self.outputs::<S, 1, 16>(simd),
            8 => self.outputs::<S, 2, 4>(simd),
            4 => self.outputs::<S, 4, 4>(simd),
            _ => self.plain(),
        }
    }
}

impl<const STRIDE: usize, const PAIRS: bool> Narrow<'_, STRIDE, PAIRS> {
    #[inline(always)]
    fn outputs<S: Simd, const VECTORS: usize, const OUTPUTS: usize>(&mut self, simd: S) {
        let mut n = 0;
        while n + OUTPUTS <= self.c.len() {
            self.sums::<S, VECTORS, OUTPUTS>(simd, n);
            n += OUTPUTS;
        }
        while OUTPUTS > 4 && n + 4 <= self.c.len() {
            self.sums::<S, VECTORS, 4>(simd, n);
            n += 4;
        }
        while n < self.c.len() {
            self.sums::<S, VECTORS, 1>(simd, n);
            n += 1;
        }
    }

    /// The innermost block: `OUTPUTS` rows of sums in registers.
    #[inline(always)]
    fn sums<S: Simd, const VECTORS: usize, const OUTPUTS: usize>(&mut self, simd: S, n: usize) {
        let (c, _) = self.c[n..].split_first_chunk_mut::<OUTPUTS>().expect("so many outputs");
        let (b, _) = self.b[n..].split_first_chunk::<OUTPUTS>().expect("as many as outputs");
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; OUTPUTS];
        for (sums, c) in sums.iter_mut().zip(&*c) {
            sums.copy_from_slice(&S::as_simd_f32s(c).0[..VECTORS]);
        }
        for (k, a) in self.a.iter().enumerate() {
            let a = &S::as_simd_f32s(a).0[..VECTORS];
            for (sums, b) in sums.iter_mut().zip(b) {
                let scalars = if PAIRS {
                    // Registers of both types are of one size wherever this runs.
                    let pair = simd.splat_u64s(pulp::cast(b.as_chunks::<2>().0[k]));
                    pulp::cast_lossy(pair)
                } else {
                    simd.splat_f32s(b[k])
                };
                for (sum, &a) in sums.iter_mut().zip(a) {
                    *sum = simd.mul_add_e_f32s(a, scalars, *sum);
                }
            }
        }
        for (sums, c) in sums.iter().zip(c) {
            S::as_mut_simd_f32s(c).0[..VECTORS].copy_from_slice(sums);
        }
    }

    /// The same without vectors.
    fn plain(&mut self) {
        for (c, b) in self.c.iter_mut().zip(self.b) {
            for (k, a) in self.a.iter().enumerate() {
                for (lane, (c, a)) in c.iter_mut().zip(a).enumerate() {
                    *c += a * if PAIRS { b[2 * k + lane % 2] } else { b[k] };
                }
            }
        }
    }
}

/// Rows of [`LANES`] values two by two into one: the first halves of both, lane by lane beside each
/// other. The result is at the start of `rows`.
pub(crate) fn pair_rows(rows: &mut [f32]) {
    let rows = rows.as_chunks_mut::<LANES>().0;
    vectorize(
        #[inline(always)]
        || {
            for i in 0..rows.len() / 2 {
                let (first, second) = (rows[2 * i], rows[2 * i + 1]);
                rows[i] = std::array::from_fn(
                    #[inline(always)]
                    |lane| if lane % 2 == 0 { first[lane / 2] } else { second[lane / 2] },
                );
            }
        },
    );
}

/// Adds the sums of even and odd queries, times `factor`, into rows of `to`.
pub(crate) fn store_pairs(to: &mut RowsMut<'_>, from: &[f32], head_dim: usize, factor: f32) {
    vectorize(
        #[inline(always)]
        || {
            for (i, from) in from.as_chunks::<LANES>().0.iter().enumerate() {
                let sums: [f32; HALF] = std::array::from_fn(
                    #[inline(always)]
                    |d| factor * (from[2 * d] + from[2 * d + 1]),
                );
                let to = to.row_mut(i);
                // The usual length straight from the register.
                match <&mut [f32; HALF]>::try_from(&mut *to) {
                    Ok(to) => *to = sums,
                    Err(_) => copy_short(to, &sums[..head_dim]),
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, sequence};

    use super::*;

    /// Plain sums over single queries.
    fn expected(c: &[f32], rows: &[f32], b: &[f32], stride: usize, n: usize) -> Vec<f32> {
        let mut sums = c.to_vec();
        for (sums, b) in sums.chunks_exact_mut(LANES).zip(b.chunks_exact(stride)) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let terms = (0..n).map(|k| f64::from(rows[k * LANES + lane]) * f64::from(b[k]));
                *sum = (f64::from(*sum) + terms.sum::<f64>()) as f32;
            }
        }
        sums
    }

    #[test]
    fn both_kinds_of_terms_equal_plain_sums_over_odd_sizes() {
        for stride in [16, 32, 48, 64] {
            for (outputs, n) in [(1, 1), (5, 2), (16, 7), (22, 16), (39, 15), (64, stride)] {
                let mut rows = sequence(1, stride * LANES);
                rows[n * LANES..].fill(0.0);
                let mut b = sequence(2, outputs * stride);
                let c = sequence(3, outputs * LANES);
                let name = format!("{outputs} x {n}, {stride} apart");
                let expected = expected(&c, &rows, &b, stride, n);
                let mut found = c.clone();
                add_narrow(&mut found, &rows[..n * LANES], &b, stride, Terms::Single);
                assert_close(&name, &found, &expected, 1e-5, 1e-5);

                // The lane of a last pair without a second query is 0.
                if n % 2 == 1 {
                    b.chunks_exact_mut(stride).for_each(|b| b[n] = 0.0);
                }
                pair_rows(&mut rows);
                let mut sums = vec![0.0; outputs * LANES];
                let paired = &rows[..n.div_ceil(2) * LANES];
                add_narrow(&mut sums, paired, &b, stride, Terms::Pairs);
                for head_dim in [1, 3, 4, 7, 8] {
                    let mut found = vec![f32::NAN; outputs * head_dim];
                    store_pairs(&mut RowsMut::new(&mut found, head_dim), &sums, head_dim, 2.0);
                    for (row, found) in found.chunks_exact(head_dim).enumerate() {
                        let first = row * LANES;
                        let halves: Vec<f32> =
                            (first..first + head_dim).map(|i| 2.0 * (expected[i] - c[i])).collect();
                        assert_close(&name, found, &halves, 1e-5, 1e-5);
                    }
                }
            }
        }
    }

    /// The narrower vectors of other processors, which this one would not pick.
    #[test]
    fn every_vector_width_gives_the_same_sums() {
        fn run<const PAIRS: bool>(width: &str) -> Option<Vec<f32>> {
            let (a, b) = (sequence(1, 16 * LANES), sequence(2, 23 * 48));
            let mut c = sequence(3, 23 * LANES);
            let mut job = Narrow::<48, PAIRS> {
                c: c.as_chunks_mut().0,
                a: a.as_chunks().0,
                b: b.as_chunks().0,
            };
            match width {
                "plain" => job.plain(),
                #[cfg(target_arch = "x86_64")]
                "AVX2" => Simd::vectorize(pulp::x86::V3::try_new()?, job),
                #[cfg(target_arch = "x86_64")]
                "AVX-512" => Simd::vectorize(pulp::x86::V4::try_new()?, job),
                #[cfg(target_arch = "aarch64")]
                "NEON" => Simd::vectorize(pulp::aarch64::Neon::try_new()?, job),
                _ => return None,
            }
            Some(c)
        }
        for width in ["AVX2", "AVX-512", "NEON"] {
            for run in [run::<false>, run::<true>] {
                if let (Some(found), Some(expected)) = (run(width), run("plain")) {
                    assert_close(width, &found, &expected, 1e-5, 1e-5);
                }
            }
        }
    }
}
