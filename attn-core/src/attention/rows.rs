//! Token rows inside a buffer: to read, and to write.

use faer::MatMut;

use super::tile::Strided;

/// Token rows of queries, keys, values or an output gradient: row `t` starts at
/// `values[t * stride]`, its heads side by side.
///
/// One fused buffer serves as all three without a copy:
///
/// ```
/// use attn_core::Rows;
/// let (seq, d_model) = (5, 8);
/// let qkv = vec![0.0; seq * 3 * d_model];
/// let q = Rows::new(&qkv, 3 * d_model);
/// let k = Rows::new(&qkv[d_model..], 3 * d_model);
/// let v = Rows::new(&qkv[2 * d_model..], 3 * d_model);
/// # let _ = (q, k, v);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows that start `stride` values apart.
    ///
    /// # Panics
    /// If `stride` is zero.
    pub fn new(values: &'a [f32], stride: usize) -> Self {
        assert!(stride > 0, "rows: stride is zero");
        Self { values, stride }
    }

    /// # Panics
    /// If the buffer does not hold `rows` rows of `width` values.
    pub(crate) fn check(&self, name: &str, rows: usize, width: usize) {
        let (found, stride) = (self.values.len(), self.stride);
        let needed = (rows - 1).checked_mul(stride).and_then(|n| n.checked_add(width));
        assert!(
            width <= stride && needed.is_some_and(|needed| needed <= found),
            "attention: {name} has {found} values with stride {stride}, {rows} rows of {width} are needed"
        );
    }

    /// `width` values of one row.
    pub(crate) fn get(&self, row: usize, column: usize, width: usize) -> &'a [f32] {
        &self.values[row * self.stride + column..][..width]
    }

    /// The buffer from one element on, as scalars of a product.
    pub(crate) fn from(&self, row: usize, column: usize) -> Strided<'a> {
        Strided { values: &self.values[row * self.stride + column..], stride: self.stride }
    }
}

/// Token rows that are written: [`Rows`] of a buffer that nobody else holds. Cut at columns, one
/// fused buffer takes several results at once.
///
/// ```
/// use attn_core::RowsMut;
/// let (seq, d_model) = (5, 8);
/// let mut d_qkv = vec![0.0; seq * 3 * d_model];
/// let (d_q, d_kv) = RowsMut::new(&mut d_qkv, 3 * d_model).split_at_column(d_model);
/// let (d_k, d_v) = d_kv.split_at_column(d_model);
/// assert_eq!([d_q.width(), d_k.width(), d_v.width()], [d_model; 3]);
/// assert_eq!(d_v.len(), seq);
/// ```
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// Row-major: made from a slice, and cut into parts of it.
    matrix: MatMut<'a, f32>,
}

impl<'a> RowsMut<'a> {
    /// Rows of `width` values, one behind the other: `[values.len() / width, width]`.
    ///
    /// # Panics
    /// If `width` is zero, or the values are no whole rows.
    pub fn new(values: &'a mut [f32], width: usize) -> Self {
        let n = values.len();
        assert!(
            width > 0 && n.is_multiple_of(width),
            "rows: {n} values are no whole rows of {width}"
        );
        Self { matrix: MatMut::from_row_major_slice_mut(values, n / width, width) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.matrix.nrows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.matrix.ncols()
    }

    /// The first `column` columns of every row, and the others.
    ///
    /// # Panics
    /// If a row is shorter.
    #[must_use]
    pub fn split_at_column(self, column: usize) -> (Self, Self) {
        let (left, right) = self.matrix.split_at_col_mut(column);
        (Self { matrix: left }, Self { matrix: right })
    }

    /// The first `row` rows, and the others.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn split_at_row(self, row: usize) -> (Self, Self) {
        let (above, below) = self.matrix.split_at_row_mut(row);
        (Self { matrix: above }, Self { matrix: below })
    }

    /// One row.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        self.matrix
            .as_mut()
            .row_mut(row)
            .try_as_row_major_mut()
            .expect("rows of a slice are row-major")
            .as_slice_mut()
    }

    /// `width` columns from `column` on, of all rows.
    pub(crate) fn columns(&mut self, column: usize, width: usize) -> RowsMut<'_> {
        RowsMut { matrix: self.matrix.as_mut().subcols_mut(column, width) }
    }

    /// `[rows, width]` values whose first one is at `row` and `column`.
    pub(crate) fn part(
        &mut self,
        [row, column]: [usize; 2],
        [rows, width]: [usize; 2],
    ) -> RowsMut<'_> {
        RowsMut { matrix: self.matrix.as_mut().submatrix_mut(row, column, rows, width) }
    }

    /// # Panics
    /// If these are not `rows` rows of `width` values.
    pub(crate) fn check(&self, name: &str, rows: usize, width: usize) {
        let (found_rows, found_width) = (self.len(), self.width());
        assert!(
            (found_rows, found_width) == (rows, width),
            "attention: {name} has {found_rows} rows of {found_width}, {rows} rows of {width} are needed"
        );
    }
}

#[cfg(test)]
mod tests {
    use testkit::assert_same_bits;

    use super::*;

    #[test]
    fn parts_write_where_they_lie() {
        let mut values = vec![0.0; 12]; // [3, 4]
        let (left, right) = RowsMut::new(&mut values, 4).split_at_column(1);
        let (mut above, mut below) = right.split_at_row(1);
        assert_eq!([left.len(), above.len(), below.len()], [3, 1, 2]);
        above.row_mut(0).fill(1.0);
        below.row_mut(1)[2] = 2.0;
        below.part([0, 1], [2, 1]).row_mut(0)[0] = 3.0;
        below.columns(0, 1).row_mut(1)[0] = 4.0;
        let expected = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 3.0, 0.0, 0.0, 4.0, 0.0, 2.0];
        assert_same_bits("values", &values, &expected);
    }

    #[test]
    #[should_panic(expected = "7 values are no whole rows of 3")]
    fn part_of_a_row_panics() {
        let _ = RowsMut::new(&mut [0.0; 7], 3);
    }

    #[test]
    #[should_panic(expected = "d_q has 2 rows of 3, 3 rows of 2 are needed")]
    fn rows_of_another_shape_panic() {
        RowsMut::new(&mut [0.0; 6], 3).check("d_q", 3, 2);
    }

    #[test]
    #[should_panic(expected = "q has 11 values with stride 4, 3 rows of 4 are needed")]
    fn too_few_rows_panic() {
        Rows::new(&[0.0; 11], 4).check("q", 3, 4);
    }
}
