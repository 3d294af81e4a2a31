//! DDM: errors that become more frequent than they were at their rarest.

use crate::detector::{Detector, Verdict};
use crate::error::{Error, check_option};

/// DDM (Gama, Medas, Castillo and Rodrigues 2004) over error bits, as in river; kept to compare with.
///
/// With `p` the share of errors of the `n` answers so far and `s = √(p(1 − p)/n)`: it keeps `p_min` and `s_min`
/// of where `p + s` was smallest, and gives an alarm where `p + s > p_min + 3·s_min`, a warning
/// where it exceeds `p_min + 2·s_min`, after the first 30 answers.
///
/// Takes 0 (right) and 1 (wrong) and refuses all else.
///
/// ```
/// use monitor::{Ddm, Detector};
///
/// let mut ddm = Ddm::new(30, 2.0, 3.0)?;
/// let error = |i: u32| f64::from(u8::from(if i < 100 { i % 10 == 0 } else { i % 2 == 0 }));
/// let alarm = (0..200).find(|&i| ddm.update(error(i)).is_alarm());
/// assert_eq!(alarm, Some(114));
/// # Ok::<(), monitor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Stored", into = "Stored"))]
pub struct Ddm {
    warm_up: u32,
    warns_at: f64,
    rings_at: f64,
    seen: Seen,
}

/// What is kept of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
struct Seen {
    n: f64,
    p: f64,
    /// Share and deviation where their sum was smallest.
    rarest: Option<(f64, f64)>,
}

impl Seen {
    fn deviation(&self) -> f64 {
        if self.n > 0.0 { (self.p * (1.0 - self.p) / self.n).sqrt() } else { 0.0 }
    }
}

impl Ddm {
    /// A detector that has seen nothing: no alarm in the first `warm_up` answers, a warning and an alarm at
    /// so many deviations.
    ///
    /// # Errors
    /// If one of the two is not a finite number above 0.
    pub fn new(warm_up: u32, warns_at: f64, rings_at: f64) -> Result<Self, Error> {
        for (option, found) in [("warns_at", warns_at), ("rings_at", rings_at)] {
            let is_good = found > 0.0 && found.is_finite();
            check_option("ddm", option, found, is_good, "a finite number above 0")?;
        }
        Ok(Self { warm_up, warns_at, rings_at, seen: Seen::default() })
    }

    /// Whether errors are above the threshold of a warning, but not of an alarm.
    pub fn warns(&self) -> bool {
        self.is_above(self.warns_at) && !self.is_above(self.rings_at)
    }

    /// Whether errors are so many deviations above their rarest.
    fn is_above(&self, deviations: f64) -> bool {
        let Seen { p, rarest, .. } = self.seen;
        rarest.is_some_and(|(p_min, s_min)| p + self.seen.deviation() > p_min + deviations * s_min)
    }
}

impl Detector for Ddm {
    #[inline]
    fn update(&mut self, x: f64) -> Verdict {
        #[expect(clippy::float_cmp, reason = "an error bit is exactly 0 or 1")]
        let is_bit = x == 0.0 || x == 1.0;
        if !is_bit {
            return Verdict::Refused;
        }
        if self.is_above(self.rings_at) {
            self.reset();
        }
        let seen = &mut self.seen;
        seen.n += 1.0;
        seen.p += (1.0 / seen.n) * (x - seen.p);
        let (p, s) = (seen.p, seen.deviation());
        if seen.n > f64::from(self.warm_up)
            && seen.rarest.is_none_or(|(p_min, s_min)| p + s <= p_min + s_min)
        {
            seen.rarest = Some((p, s));
        }
        Verdict::of(self.is_above(self.rings_at))
    }

    /// By how many of its deviations the share of errors is above its rarest; 0 as long as it is not
    /// known.
    fn statistic(&self) -> f64 {
        let Seen { p, rarest, .. } = self.seen;
        rarest.map_or(0.0, |(p_min, s_min)| {
            let above = p + self.seen.deviation() - p_min;
            if above > 0.0 { above / s_min } else { 0.0 }
        })
    }

    fn threshold(&self) -> f64 {
        self.rings_at
    }

    fn reset(&mut self) {
        self.seen = Seen::default();
    }
}

/// What is stored.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    warm_up: u32,
    warns_at: f64,
    rings_at: f64,
    seen: Seen,
}

#[cfg(feature = "serde")]
impl From<Ddm> for Stored {
    fn from(Ddm { warm_up, warns_at, rings_at, seen }: Ddm) -> Self {
        Self { warm_up, warns_at, rings_at, seen }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Stored> for Ddm {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self, Error> {
        let Stored { warm_up, warns_at, rings_at, seen } = stored;
        let fresh = Self::new(warm_up, warns_at, rings_at)?;
        let is_share = |p: f64| (0.0..=1.0).contains(&p);
        let is_good = seen.n >= 0.0
            && seen.n.is_finite()
            && is_share(seen.p)
            && seen.rarest.is_none_or(|(p, s)| is_share(p) && is_share(s));
        crate::error::check_state("ddm", is_good, "a share is outside [0, 1]")?;
        Ok(Self { seen, ..fresh })
    }
}
