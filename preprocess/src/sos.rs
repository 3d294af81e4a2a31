//! Recursive filters as second-order sections: their coefficients, and the state they settle in.

mod design;
mod filter;
mod section;
mod step;
mod zero_phase;

pub use filter::SosFilter;
pub use section::{Band, Section};
pub(crate) use step::Filtering;

use crate::Error;
use crate::error::check_option;
use design::Prototype;

/// Highest order of a filter: beyond it the poles of a narrow filter cannot be told apart in f64.
const MOST_ORDER: usize = 12;

/// A recursive filter as a chain of second-order sections, the form that keeps its digits.
///
/// ```
/// use preprocess::{Band, Sos, SosFilter};
///
/// // Readings of two sensors at 100 Hz, smoothed below 5 Hz as they come.
/// let sos = Sos::butterworth(Band::LowPass, 4, &[5.0], 100.0)?;
/// let mut filter = SosFilter::new(&sos, 2);
/// for t in 0..50 {
///     let mut row = [20.0, 1000.0 + f64::from(t % 2)];
///     filter.run(&mut row);
///     assert!((row[0] - 20.0).abs() < 1e-9 && (row[1] - 1000.5).abs() < 0.6);
/// }
/// # Ok::<(), preprocess::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sos {
    sections: Vec<Section>,
}

impl Sos {
    /// A Butterworth filter, as `scipy.signal.butter(order, cutoff_hz, band, fs=rate_hz, output="sos")`:
    /// analog prototype, pre-warped cut-offs, bilinear transform, poles paired with the nearest zeros.
    ///
    /// A band-pass has two cut-offs and twice the order.
    ///
    /// # Errors
    /// If the order is not 1 to 12, a cut-off is not between 0 and half the rate, or lies so near
    /// to either that the filter would not be stable in f64.
    pub fn butterworth(
        band: Band,
        order: usize,
        cutoff_hz: &[f64],
        rate_hz: f64,
    ) -> Result<Self, Error> {
        const OWNER: &str = "butterworth";
        check_order(OWNER, order)?;
        check_cutoffs(OWNER, band, cutoff_hz, rate_hz)?;
        let sections = design::digital(&Prototype::butterworth(order), band, cutoff_hz, rate_hz);
        Self::checked(OWNER, "cutoff_hz", cutoff_hz[0], sections)
    }

    /// A Chebyshev low-pass of type I, as
    /// `scipy.signal.cheby1(order, ripple_db, cutoff_hz, fs=rate_hz, output="sos")`.
    ///
    /// # Errors
    /// As [`butterworth`](Self::butterworth), and if the ripple is not above 0 dB and finite.
    pub fn chebyshev_low_pass(
        order: usize,
        ripple_db: f64,
        cutoff_hz: f64,
        rate_hz: f64,
    ) -> Result<Self, Error> {
        const OWNER: &str = "chebyshev";
        check_order(OWNER, order)?;
        let is_good = ripple_db > 1e-9 && ripple_db <= 60.0;
        check_option(OWNER, "ripple_db", ripple_db, is_good, "1e-9 to 60 dB")?;
        check_cutoffs(OWNER, Band::LowPass, &[cutoff_hz], rate_hz)?;
        let prototype = Prototype::chebyshev(order, ripple_db);
        let sections = design::digital(&prototype, Band::LowPass, &[cutoff_hz], rate_hz);
        Self::checked(OWNER, "cutoff_hz", cutoff_hz, sections)
    }

    /// Takes out one frequency, as `scipy.signal.iirnotch(freq_hz, q, fs=rate_hz)`: `q` is the frequency
    /// over the width of what is taken out at −3 dB.
    ///
    /// # Errors
    /// If the frequency is not between 0 and half the rate, `q` is not above 0, or the poles come too
    /// near the unit circle.
    pub fn notch(freq_hz: f64, q: f64, rate_hz: f64) -> Result<Self, Error> {
        const OWNER: &str = "notch";
        check_rate(OWNER, rate_hz)?;
        let is_good = freq_hz > 0.0 && freq_hz < rate_hz / 2.0;
        let accepted = || format!("more than 0 and less than half the rate, {} Hz", rate_hz / 2.0);
        check_option(OWNER, "freq_hz", freq_hz, is_good, accepted())?;
        let width = freq_hz / q;
        // The tangent of a quarter turn and more means nothing.
        let is_good = q.is_finite() && q > 0.0 && width < rate_hz / 2.0;
        let accepted = "a number above 0 that makes freq_hz/q less than half the rate";
        check_option(OWNER, "q", q, is_good, accepted)?;
        let beta = (std::f64::consts::PI * width / rate_hz).tan();
        let gain = 1.0 / (1.0 + beta);
        let middle = -2.0 * (std::f64::consts::TAU * freq_hz / rate_hz).cos();
        let section =
            Section { b: [gain, gain * middle, gain], a: [gain * middle, 2.0 * gain - 1.0] };
        Self::checked(OWNER, "q", q, vec![section])
    }

    fn checked(
        owner: &'static str,
        option: &'static str,
        found: f64,
        sections: Vec<Section>,
    ) -> Result<Self, Error> {
        let is_good = sections.iter().all(Section::is_stable);
        let accepted = "one that gives a stable filter in f64; this one is too near to 0, to half the \
                        rate or to the other cut-off (too narrow), so take a lower order or resample \
                        to another rate first";
        check_option(owner, option, found, is_good, accepted)?;
        Ok(Self { sections })
    }

    /// The sections in order.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The memory of each section, in transposed direct form II, once an endless 1 has come in; as
    /// `scipy.signal.sosfilt_zi`.
    pub fn steady_state(&self) -> Vec<[f64; 2]> {
        let mut level = 1.0;
        let settle = |section: &Section| {
            let out = section.gain();
            let ([b0, _, b2], [_, a2]) = (section.b, section.a);
            let state = [level * (out - b0), level * (b2 - a2 * out)];
            level *= out;
            state
        };
        self.sections.iter().map(settle).collect()
    }
}

fn check_order(owner: &'static str, order: usize) -> Result<(), Error> {
    let is_good = (1..=MOST_ORDER).contains(&order);
    check_option(owner, "order", order as f64, is_good, format!("1 to {MOST_ORDER}"))
}

fn check_rate(owner: &'static str, rate_hz: f64) -> Result<(), Error> {
    let is_good = rate_hz.is_finite() && rate_hz > 0.0;
    check_option(owner, "sample_rate_hz", rate_hz, is_good, "a finite number above 0")
}

fn check_cutoffs(
    owner: &'static str,
    band: Band,
    cutoff_hz: &[f64],
    rate_hz: f64,
) -> Result<(), Error> {
    check_rate(owner, rate_hz)?;
    let (needed, words) = match band {
        Band::BandPass => (2, "two cut-offs, [low, high], for a band-pass"),
        _ => (1, "one cut-off for a low-pass or high-pass"),
    };
    let found = cutoff_hz.len();
    check_option(owner, "the number of cutoff_hz", found as f64, found == needed, words)?;
    for &cutoff in cutoff_hz {
        let is_good = cutoff > 0.0 && cutoff < rate_hz / 2.0;
        let accepted = format!("more than 0 and less than half the rate, {} Hz", rate_hz / 2.0);
        check_option(owner, "cutoff_hz", cutoff, is_good, accepted)?;
    }
    if let [low, high] = *cutoff_hz {
        check_option(owner, "the second cutoff_hz", high, high > low, format!("above {low}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_cutoffs_are_stable_or_refused() {
        for share in [1e-300, 1e-12, 1e-9, 1e-7, 1e-6, 1e-4, 0.25, 0.4999, 0.499_999_999] {
            for order in 1..=12 {
                for band in [Band::LowPass, Band::HighPass] {
                    let Ok(sos) = Sos::butterworth(band, order, &[share * 50.0], 50.0) else {
                        // What a user can ask for in earnest is not refused.
                        assert!(!(1e-6..=0.4999).contains(&share), "{share} {order} {band:?}");
                        continue;
                    };
                    // Long after an impulse nothing is left, and nothing was ever large.
                    let mut filter = SosFilter::new(&sos, 1);
                    filter.run(&mut [0.0]);
                    let mut values = vec![0.0; 200_000];
                    values[0] = 1.0;
                    filter.run(&mut values);
                    let largest = values.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
                    assert!(largest <= 1.5, "{share} {order} {band:?}: {largest}");
                    assert!(values.iter().all(|v| v.is_finite()), "{share} {order} {band:?}");
                }
            }
        }
    }

    #[test]
    fn a_constant_stays_one() {
        let sos = Sos::butterworth(Band::LowPass, 7, &[3.0], 50.0).unwrap();
        let mut values = [4.25; 100];
        SosFilter::new(&sos, 1).run(&mut values);
        testkit::assert_close("constant", &values, &[4.25; 100], 1e-12, 0.0);
    }

    #[test]
    fn what_makes_no_filter_is_refused() {
        let refused = [
            Sos::butterworth(Band::LowPass, 0, &[5.0], 50.0),
            Sos::butterworth(Band::LowPass, 13, &[5.0], 50.0),
            Sos::butterworth(Band::LowPass, 4, &[0.0], 50.0),
            Sos::butterworth(Band::LowPass, 4, &[25.0], 50.0),
            Sos::butterworth(Band::LowPass, 4, &[f64::NAN], 50.0),
            Sos::butterworth(Band::LowPass, 4, &[1.0, 2.0], 50.0),
            Sos::butterworth(Band::BandPass, 4, &[1.0], 50.0),
            Sos::butterworth(Band::BandPass, 4, &[2.0, 2.0], 50.0),
            Sos::butterworth(Band::BandPass, 4, &[2.0, 2.0 + 1e-13], 50.0),
            Sos::butterworth(Band::LowPass, 4, &[5.0], f64::INFINITY),
            Sos::chebyshev_low_pass(8, 0.0, 5.0, 50.0),
            Sos::notch(0.0, 30.0, 50.0),
            Sos::notch(5.0, 0.0, 50.0),
            Sos::notch(5.0, 0.1, 50.0),
            Sos::notch(5.0, 1e15, 50.0),
        ];
        for (i, result) in refused.iter().enumerate() {
            assert!(matches!(result, Err(Error::Option { .. })), "{i}: {result:?}");
        }
    }
}
