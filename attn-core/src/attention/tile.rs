//! The matrix product of one tile: a panel of lanes times scalars that are broadcast.
//!
//! All five products of the tiled attention have this form, so that nothing but queries and
//! output gradients is ever transposed. Sums stay in registers; each vector of the panel serves
//! several scalars, each scalar several vectors.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Simd, WithSimd};

use crate::simd::LANES;

/// Where the scalars `b(k, n)` of a product lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalars {
    /// At `b[n * stride + k]`.
    RowPerOutput,
    /// At `b[k * stride + n]`.
    RowPerTerm,
}

/// Whether a product starts from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// `c = …`
    Zero,
    /// `c += …`
    Add,
}

/// Rows of a panel or of scalars inside a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
}

/// `c[n][lane] (+)= Σₖ a[k][lane] · b(k, n)` for `n < outputs`, `k < terms`, `lane < width`.
///
/// # Panics
/// If `width` is no multiple of [`LANES`] (panel rows are whole AVX-512 registers), or a buffer is
/// too short.
#[inline]
pub(crate) fn multiply(
    c: &mut [f32],
    c_stride: usize,
    start: Start,
    a: Strided<'_>,
    b: Strided<'_>,
    scalars: Scalars,
    [outputs, terms, width]: [usize; 3],
) {
    assert_eq!(width % LANES, 0, "tile: width {width} is no multiple of {LANES}");
    let holds = |of: Strided<'_>, rows: usize, columns: usize| {
        rows == 0 || columns <= of.stride && (rows - 1) * of.stride + columns <= of.values.len()
    };
    let (b_rows, b_columns) = match scalars {
        Scalars::RowPerOutput => (outputs, terms),
        Scalars::RowPerTerm => (terms, outputs),
    };
    // A short `a` or `b` would drop terms without a word.
    assert!(
        holds(a, terms, width) && holds(b, b_rows, b_columns),
        "tile: {} and {} values do not hold {outputs} x {terms} x {width}",
        a.values.len(),
        b.values.len()
    );
    let arch = pulp::Arch::new();
    let sizes = Sizes { c_stride, outputs, terms, width };
    match (scalars, start) {
        (Scalars::RowPerOutput, Start::Zero) => {
            arch.dispatch(Multiply::<true, false> { c, a, b, sizes });
        }
        (Scalars::RowPerOutput, Start::Add) => {
            arch.dispatch(Multiply::<true, true> { c, a, b, sizes });
        }
        (Scalars::RowPerTerm, Start::Zero) => {
            arch.dispatch(Multiply::<false, false> { c, a, b, sizes });
        }
        (Scalars::RowPerTerm, Start::Add) => {
            arch.dispatch(Multiply::<false, true> { c, a, b, sizes });
        }
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    c_stride: usize,
    outputs: usize,
    terms: usize,
    width: usize,
}

struct Multiply<'a, const ROW_PER_OUTPUT: bool, const ADD: bool> {
    c: &'a mut [f32],
    a: Strided<'a>,
    b: Strided<'a>,
    sizes: Sizes,
}

impl<const ROW_PER_OUTPUT: bool, const ADD: bool> WithSimd for Multiply<'_, ROW_PER_OUTPUT, ADD> {
    type Output = ();

    /// Cuts the panel into groups of vectors and the outputs into groups of scalars, such that 16
    /// sums (8 where there are 16 registers) hide the latency of multiply-add.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = S::F32_LANES;
        let mut column = 0;
        while column < self.sizes.width {
            let vectors = (self.sizes.width - column) / lanes;
            if vectors >= 4 && S::REGISTER_COUNT >= 32 {
                self.outputs::<S, 4, 4>(simd, column);
                column += 4 * lanes;
            } else if vectors >= 2 {
                if S::REGISTER_COUNT >= 32 {
                    self.outputs::<S, 2, 8>(simd, column);
                } else {
                    self.outputs::<S, 2, 4>(simd, column);
                }
                column += 2 * lanes;
            } else {
                if S::REGISTER_COUNT >= 32 {
                    self.outputs::<S, 1, 16>(simd, column);
                } else {
                    self.outputs::<S, 1, 8>(simd, column);
                }
                column += lanes;
            }
        }
    }
}

impl<const ROW_PER_OUTPUT: bool, const ADD: bool> Multiply<'_, ROW_PER_OUTPUT, ADD> {
    /// All outputs for one group of vectors.
    #[inline(always)]
    fn outputs<S: Simd, const VECTORS: usize, const OUTPUTS: usize>(
        &mut self,
        simd: S,
        column: usize,
    ) {
        let mut n = 0;
        while n + OUTPUTS <= self.sizes.outputs {
            self.sums::<S, VECTORS, OUTPUTS>(simd, column, n);
            n += OUTPUTS;
        }
        while OUTPUTS > 4 && n + 4 <= self.sizes.outputs {
            self.sums::<S, VECTORS, 4>(simd, column, n);
            n += 4;
        }
        while n < self.sizes.outputs {
            self.sums::<S, VECTORS, 1>(simd, column, n);
            n += 1;
        }
    }

    /// The innermost block: `OUTPUTS` times `VECTORS` sums in registers.
    #[inline(always)]
    fn sums<S: Simd, const VECTORS: usize, const OUTPUTS: usize>(
        &mut self,
        simd: S,
        column: usize,
        n: usize,
    ) {
        let Sizes { c_stride, terms, .. } = self.sizes;
        let width = VECTORS * S::F32_LANES;
        let c = &mut self.c[n * c_stride + column..];
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; OUTPUTS];
        if ADD {
            for (i, sums) in sums.iter_mut().enumerate() {
                let row = S::as_simd_f32s(&c[i * c_stride..][..width]).0;
                sums.copy_from_slice(&row[..VECTORS]);
            }
        }
        let panel = self.a.values[column..].chunks(self.a.stride).take(terms);
        if ROW_PER_OUTPUT {
            let b = &self.b.values[n * self.b.stride..];
            let rows: [&[f32]; OUTPUTS] = std::array::from_fn(|i| &b[i * self.b.stride..][..terms]);
            for (k, a) in panel.enumerate() {
                let a = &S::as_simd_f32s(&a[..width]).0[..VECTORS];
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let scalar = simd.splat_f32s(row[k]);
                    for (sum, &a) in sums.iter_mut().zip(a) {
                        *sum = simd.mul_add_e_f32s(a, scalar, *sum);
                    }
                }
            }
        } else {
            let rows = self.b.values[n..].chunks(self.b.stride);
            for (a, row) in panel.zip(rows) {
                let a = &S::as_simd_f32s(&a[..width]).0[..VECTORS];
                for (sums, &scalar) in sums.iter_mut().zip(&row[..OUTPUTS]) {
                    let scalar = simd.splat_f32s(scalar);
                    for (sum, &a) in sums.iter_mut().zip(a) {
                        *sum = simd.mul_add_e_f32s(a, scalar, *sum);
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let row = S::as_mut_simd_f32s(&mut c[i * c_stride..][..width]).0;
            row[..VECTORS].copy_from_slice(sums);
        }
    }
}

/// `to[j * to_stride + i] = from[i * from_stride + j]` for `i < rows`, `j < columns`, both
/// multiples of 4.
pub(crate) fn transpose(
    to: &mut [f32],
    to_stride: usize,
    from: &[f32],
    from_stride: usize,
    [rows, columns]: [usize; 2],
) {
    assert!(
        rows.is_multiple_of(4) && columns.is_multiple_of(4),
        "transpose: {rows} x {columns} is not cut into 4 x 4"
    );
    crate::simd::vectorize(
        #[inline(always)]
        || {
            for i in (0..rows).step_by(4) {
                let block: [&[f32]; 4] = std::array::from_fn(
                    #[inline(always)]
                    |r| &from[(i + r) * from_stride..][..columns],
                );
                for j in (0..columns).step_by(4) {
                    let to = &mut to[j * to_stride + i..];
                    for c in 0..4 {
                        let column =
                            [block[0][j + c], block[1][j + c], block[2][j + c], block[3][j + c]];
                        to[c * to_stride..][..4].copy_from_slice(&column);
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use testkit::{assert_close, sequence};

    use super::*;

    #[test]
    fn products_equal_plain_loops_over_odd_sizes() {
        for width in [16, 32, 48, 64, 80] {
            for (outputs, terms) in [(1, 1), (3, 7), (4, 16), (5, 1), (17, 9), (23, 33)] {
                let (a_stride, b_stride) = (width + 3, outputs.max(terms) + 2);
                let a = sequence(1, terms * a_stride);
                let b = sequence(2, outputs.max(terms) * b_stride);
                let before = sequence(3, outputs * (width + 1));
                for scalars in [Scalars::RowPerOutput, Scalars::RowPerTerm] {
                    for start in [Start::Zero, Start::Add] {
                        let mut expected = before.clone();
                        for n in 0..outputs {
                            for lane in 0..width {
                                let sum: f64 = (0..terms)
                                    .map(|k| {
                                        let b = match scalars {
                                            Scalars::RowPerOutput => b[n * b_stride + k],
                                            Scalars::RowPerTerm => b[k * b_stride + n],
                                        };
                                        f64::from(a[k * a_stride + lane]) * f64::from(b)
                                    })
                                    .sum();
                                let c = &mut expected[n * (width + 1) + lane];
                                *c = match start {
                                    Start::Zero => sum as f32,
                                    Start::Add => (f64::from(*c) + sum) as f32,
                                };
                            }
                        }
                        let mut c = before.clone();
                        multiply(
                            &mut c,
                            width + 1,
                            start,
                            Strided { values: &a, stride: a_stride },
                            Strided { values: &b, stride: b_stride },
                            scalars,
                            [outputs, terms, width],
                        );
                        let name = format!("{outputs} x {terms} x {width} {scalars:?} {start:?}");
                        assert_close(&name, &c, &expected, 1e-5, 1e-5);
                    }
                }
            }
        }
    }

    /// The narrower vectors of other processors, which this one would not pick.
    #[test]
    fn every_vector_width_gives_the_same_products() {
        fn run<S: Simd>(
            simd: S,
            a: &[f32],
            b: &[f32],
            [outputs, terms, width]: [usize; 3],
        ) -> Vec<f32> {
            let mut c = vec![0.0; 2 * outputs * width];
            let (row, column) = c.split_at_mut(outputs * width);
            let sizes = Sizes { c_stride: width, outputs, terms, width };
            let a = Strided { values: a, stride: width };
            let by_output = Strided { values: b, stride: terms };
            simd.vectorize(Multiply::<true, false> { c: row, a, b: by_output, sizes });
            let by_term = Strided { values: b, stride: outputs };
            simd.vectorize(Multiply::<false, true> { c: column, a, b: by_term, sizes });
            c
        }
        for sizes in [[7, 9, 16], [17, 5, 48], [4, 30, 64], [19, 8, 112]] {
            let [outputs, terms, width] = sizes;
            let (a, b) = (sequence(1, terms * width), sequence(2, outputs * terms));
            let expected = run(pulp::Scalar::new(), &a, &b, sizes);
            let check = |name: &str, found: &[f32]| {
                assert_close(name, found, &expected, 1e-5, 1e-5);
            };
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    check("AVX2", &run(simd, &a, &b, sizes));
                }
                if let Some(simd) = pulp::x86::V4::try_new() {
                    check("AVX-512", &run(simd, &a, &b, sizes));
                }
            }
            #[cfg(target_arch = "aarch64")]
            if let Some(simd) = pulp::aarch64::Neon::try_new() {
                check("NEON", &run(simd, &a, &b, sizes));
            }
        }
    }

    #[test]
    fn transposes_every_element() {
        let from = sequence(1, 16 * 30);
        let mut to = vec![f32::NAN; 12 * 20];
        transpose(&mut to, 20, &from, 30, [16, 12]);
        for i in 0..16 {
            for j in 0..12 {
                assert_eq!(to[j * 20 + i].to_bits(), from[i * 30 + j].to_bits(), "{i}, {j}");
            }
        }
    }
}
