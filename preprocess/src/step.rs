//! A step at work on one series.

use crate::{Rows, RowsRef};

/// How far a step's rows lie behind those it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// A row comes out at the latest when so many rows more have come in.
    Rows(usize),
    /// Rows come out when the series has ended: the step cannot run on a stream.
    WholeSeries,
}

/// A step at work: rows of one series go in, in any pieces, and what is ready comes out.
///
/// How the rows are cut into pieces changes no bit of what comes out. Every row keeps the time that it
/// stands for, also where it comes out later or at another rate.
///
/// ```
/// use preprocess::{Latency, Rows, RowsRef, Step};
///
/// /// The sum of all rows so far.
/// struct Sum(f64);
///
/// impl Step for Sum {
///     fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows) {
///         for (time, row) in rows.iter() {
///             self.0 += row[0];
///             out.push(time, &[self.0]);
///         }
///     }
///     fn finish(&mut self, _out: &mut Rows) {}
///     fn reset(&mut self) {
///         self.0 = 0.0;
///     }
///     fn latency(&self) -> Latency {
///         Latency::Rows(0)
///     }
///     fn out_channels(&self) -> usize {
///         1
///     }
///     fn out_rate_hz(&self) -> Option<f64> {
///         None
///     }
/// }
///
/// let mut out = Rows::new(1);
/// Sum(0.0).push(RowsRef::new(1, &[0.0, 1.0], &[2.0, 3.0]), &mut out);
/// assert_eq!(out.values(), [2.0, 5.0]);
/// ```
pub trait Step: Send {
    /// Takes the next rows of the series, and adds what is ready to `out`.
    fn push(&mut self, rows: RowsRef<'_>, out: &mut Rows);

    /// The series has ended: adds what was held back to `out`.
    fn finish(&mut self, out: &mut Rows);

    /// Forgets all rows: another series begins.
    fn reset(&mut self);

    /// How long rows are held back, in rows that come in.
    fn latency(&self) -> Latency;

    /// Values in a row that comes out.
    fn out_channels(&self) -> usize;

    /// Rows per second that come out, where that is known.
    fn out_rate_hz(&self) -> Option<f64>;
}
