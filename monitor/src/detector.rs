//! The one shape of all detectors.

/// What a detector says of a value.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing unusual so far.
    Quiet,
    /// The values changed. The next value begins anew, see [`Detector::update`].
    Alarm,
    /// The value cannot be used, as it is NaN, infinite or beyond [`LARGEST`]: it changed nothing.
    Refused,
}

impl Verdict {
    /// Whether it is an alarm.
    pub fn is_alarm(self) -> bool {
        self == Self::Alarm
    }

    /// An alarm if `alarms`, or quiet.
    pub(crate) fn of(alarms: bool) -> Self {
        if alarms { Self::Alarm } else { Self::Quiet }
    }
}

/// Values whose magnitude is larger are refused: their squares would overflow and silence a detector
/// for ever.
pub const LARGEST: f64 = 1e100;

/// Whether a detector takes a value.
pub(crate) fn is_usable(x: f64) -> bool {
    x.abs() <= LARGEST
}

/// Something that looks at one value after the other and says when they changed.
///
/// No detector allocates in [`update`](Self::update), and all can be stored and go on (feature `serde`).
///
/// ```
/// use monitor::{Cusum, Detector, Side, Verdict};
///
/// // Confidence was 0.9 ± 0.1 on held-out data; is it falling?
/// let mut cusum = Cusum::new(0.9, 0.1, Side::Down, 0.5, 5.0)?;
/// assert_eq!(cusum.update(0.92), Verdict::Quiet);
/// assert_eq!(cusum.update(f64::NAN), Verdict::Refused);
/// let alarm = (1..20).find(|_| cusum.update(0.7).is_alarm());
/// assert_eq!(alarm, Some(4));
/// # Ok::<(), monitor::Error>(())
/// ```
pub trait Detector {
    /// Looks at the next value. After an alarm the statistic stays as it is to be looked at, and the next
    /// value is the first of a new beginning, as after [`reset`](Self::reset) ([`Adwin`](crate::Adwin)
    /// keeps what it found to be recent).
    fn update(&mut self, x: f64) -> Verdict;

    /// How unusual the last values are; an alarm is given above [`threshold`](Self::threshold). 0 as long
    /// as there are too few values to say.
    fn statistic(&self) -> f64;

    /// What the statistic must exceed for an alarm.
    fn threshold(&self) -> f64;

    /// Forgets all values, and keeps options and reference.
    fn reset(&mut self);
}
