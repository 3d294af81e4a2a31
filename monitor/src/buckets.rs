//! Sums over windows that grow and shrink, in few buckets: those of the newest values are small, of older ones large.

/// Sizes of buckets: `2⁰` to `2⁴⁷` values.
pub(crate) const ROWS: usize = 48;

/// A row of buckets, each the sum and the squared deviations of `2^i` values, at most so many of each size; where
/// there is one too many, the two oldest become one of twice the size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Buckets {
    /// Buckets of one size.
    most: u32,
    /// Buckets of each size, `[ROWS, most + 1]`, the oldest first.
    places: Vec<Bucket>,
    /// Buckets in use, of each size.
    used: [u32; ROWS],
    /// Sizes in use: all above are empty.
    rows: usize,
    /// Values of all.
    pub(crate) n: f64,
    /// Their sum.
    pub(crate) sum: f64,
    /// The sum of their squared deviations from their mean.
    pub(crate) squares: f64,
}

/// Some values that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Bucket {
    pub(crate) sum: f64,
    /// Sum of squared deviations from their mean.
    pub(crate) squares: f64,
}

impl Buckets {
    /// Without values, for so many buckets of a size.
    pub(crate) fn new(most: u32) -> Self {
        let places = vec![Bucket::default(); ROWS * (most as usize + 1)];
        let (n, sum, squares) = (0.0, 0.0, 0.0);
        Self { most, places, used: [0; ROWS], rows: 1, n, sum, squares }
    }

    /// Forgets all values.
    pub(crate) fn clear(&mut self) {
        (self.used, self.rows) = ([0; ROWS], 1);
        (self.n, self.sum, self.squares) = (0.0, 0.0, 0.0);
    }

    /// Buckets of a size, the oldest first, and one place more.
    fn row(&mut self, row: usize) -> &mut [Bucket] {
        let width = self.most as usize + 1;
        &mut self.places[row * width..(row + 1) * width]
    }

    /// Of each size in use, from the largest on, the values of a bucket and the buckets, the oldest first.
    #[inline]
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = (f64, &[Bucket])> {
        let width = self.most as usize + 1;
        let of = move |row: usize| {
            (size_of(row), &self.places[row * width..][..self.used[row] as usize])
        };
        (0..self.rows).rev().map(of)
    }

    /// Adds a value.
    pub(crate) fn insert(&mut self, x: f64) {
        let before = self.n;
        self.n += 1.0;
        if before > 0.0 {
            let off = x - self.sum / before;
            self.squares += before * off * off / self.n;
        }
        self.sum += x;
        let used = self.used[0] as usize;
        self.row(0)[used] = Bucket { sum: x, squares: 0.0 };
        self.used[0] += 1;
        self.join();
    }

    /// Makes one of the two oldest buckets of a size where there is one too many, from the smallest on.
    fn join(&mut self) {
        for row in 0..self.rows {
            if self.used[row] <= self.most {
                return;
            }
            if row + 1 == ROWS {
                self.drop_oldest();
                return;
            }
            let size = size_of(row);
            let [a, b] = [self.row(row)[0], self.row(row)[1]];
            let apart = a.sum / size - b.sum / size;
            let between = size * 0.5 * apart * apart;
            self.row(row).copy_within(2.., 0);
            self.used[row] -= 2;
            let at = self.used[row + 1] as usize;
            self.row(row + 1)[at] =
                Bucket { sum: a.sum + b.sum, squares: a.squares + b.squares + between };
            self.used[row + 1] += 1;
            self.rows = self.rows.max(row + 2);
        }
    }

    /// Forgets the oldest bucket.
    pub(crate) fn drop_oldest(&mut self) {
        let row = self.rows - 1;
        let size = size_of(row);
        let Bucket { sum, squares } = self.row(row)[0];
        self.n -= size;
        self.sum -= sum;
        let apart = sum / size - self.sum / self.n;
        self.squares -= squares + size * self.n * apart * apart / (size + self.n);
        self.row(row).copy_within(1.., 0);
        self.used[row] -= 1;
        while self.rows > 1 && self.used[self.rows - 1] == 0 {
            self.rows -= 1;
        }
    }

    /// The buckets in use, of each size from that of one value on, the oldest first.
    #[cfg(feature = "serde")]
    pub(crate) fn by_size(&self) -> Vec<Vec<Bucket>> {
        let mut all: Vec<Vec<Bucket>> =
            self.oldest_first().map(|(_, buckets)| buckets.to_vec()).collect();
        all.reverse();
        all
    }

    /// Takes up buckets as [`by_size`](Self::by_size) gives them, with the sums of all values: at most as many of a
    /// size, and sizes, as there may be.
    #[cfg(feature = "serde")]
    pub(crate) fn take_up(&mut self, by_size: &[Vec<Bucket>], sum: f64, squares: f64) {
        self.clear();
        for (i, row) in by_size.iter().enumerate() {
            self.row(i)[..row.len()].copy_from_slice(row);
            self.used[i] = row.len() as u32;
            self.n += size_of(i) * row.len() as f64;
        }
        (self.rows, self.sum, self.squares) = (by_size.len(), sum, squares);
    }
}

/// The number of values in a bucket.
fn size_of(row: usize) -> f64 {
    (1_u64 << row) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_few_and_hold_all_values() {
        let mut buckets = Buckets::new(5);
        for n in 1..3000_u64 {
            buckets.insert(1.0);
            assert!(buckets.used.iter().all(|&used| used <= 5));
            let held: u64 = (0..ROWS).map(|row| u64::from(buckets.used[row]) << row).sum();
            assert_eq!((held, buckets.n as u64), (n, n));
        }
    }

    #[test]
    fn sums_are_those_of_the_values_that_are_held() {
        let mut buckets = Buckets::new(5);
        let values: Vec<f64> = testkit::sequence(3, 5000).into_iter().map(f64::from).collect();
        for &x in &values {
            buckets.insert(x);
        }
        for dropped in 0..7 {
            let kept = &values[values.len() - buckets.n as usize..];
            let n = kept.len() as f64;
            let sum = kept.iter().sum::<f64>();
            let squares = kept.iter().map(|x| (x - sum / n).powi(2)).sum::<f64>();
            let found = [buckets.sum / n, buckets.squares / n];
            let name = format!("without {dropped} buckets");
            testkit::assert_close(&name, &found, &[sum / n, squares / n], 1e-9, 1e-9);
            buckets.drop_oldest();
        }
    }
}
