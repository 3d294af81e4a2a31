//! From an analog prototype to sections: band transform, bilinear transform, pairing.

use std::f64::consts::PI;

use realfft::num_complex::Complex64;

use super::section::{Band, Section};

/// A pole on the real line, or two that are each other's conjugates: the one above the line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pole {
    Real(f64),
    Pair(Complex64),
}

impl Pole {
    /// A pole, or a pair of them, elsewhere.
    fn map(self, f: impl Fn(Complex64) -> Complex64) -> Self {
        match self {
            Self::Real(p) => Self::Real(f(p.into()).re),
            Self::Pair(p) => Self::pair(f(p)),
        }
    }

    fn pair(p: Complex64) -> Self {
        Self::Pair(Complex64::new(p.re, p.im.abs()))
    }

    fn place(self) -> Complex64 {
        match self {
            Self::Real(p) => p.into(),
            Self::Pair(p) => p,
        }
    }

    /// `value − p`, times the same for the conjugate of a pair.
    fn product(self, value: f64) -> f64 {
        match self {
            Self::Real(p) => value - p,
            Self::Pair(p) => (Complex64::from(value) - p).norm_sqr(),
        }
    }
}

/// An analog low-pass with its edge at 1 rad/s and no zeros.
pub(super) struct Prototype {
    poles: Vec<Pole>,
    gain: f64,
}

impl Prototype {
    /// Poles evenly on the left half of the unit circle (Butterworth 1930).
    pub(super) fn butterworth(order: usize) -> Self {
        Self { poles: on_left_half(order, |angle| -Complex64::cis(angle)), gain: 1.0 }
    }

    /// Poles on an ellipse.
    pub(super) fn chebyshev(order: usize, ripple_db: f64) -> Self {
        let eps = (10_f64.powf(0.1 * ripple_db) - 1.0).sqrt();
        let mu = (1.0 / eps).asinh() / order as f64;
        let poles = on_left_half(order, |angle| -Complex64::new(mu, angle).sinh());
        let at_zero: f64 = poles.iter().map(|pole| pole.product(0.0)).product();
        let ripple = if order.is_multiple_of(2) { (1.0 + eps * eps).sqrt() } else { 1.0 };
        Self { poles, gain: at_zero / ripple }
    }
}

/// One of each pair, and the real one where the order is odd.
fn on_left_half(order: usize, place: impl Fn(f64) -> Complex64) -> Vec<Pole> {
    let angle = |m: usize| PI * m as f64 / (2 * order) as f64;
    let first = 1 - order % 2;
    let pole = |m| match m {
        0 => Pole::Real(place(0.0).re),
        m => Pole::pair(place(angle(m))),
    };
    (first..order).step_by(2).map(pole).collect()
}

/// The digital filter of a prototype: cut-offs are pre-warped, so that the bilinear transform puts them
/// where they were asked for.
pub(super) fn digital(
    prototype: &Prototype,
    band: Band,
    cutoff_hz: &[f64],
    rate_hz: f64,
) -> Vec<Section> {
    // Twice a rate of 2: frequencies are shares of half the sample rate.
    const TWICE: f64 = 4.0;
    let warped = |hz: f64| TWICE * (PI * hz / rate_hz).tan();
    let edge = warped(cutoff_hz[0]);
    let order: usize = prototype.poles.iter().map(|p| 1 + usize::from(is_pair(p))).sum();
    let power = |base: f64| (0..order).fold(1.0, |power, _| power * base);
    let (poles, zeros, gain): (Vec<Pole>, Vec<f64>, f64) = match band {
        Band::LowPass => {
            let poles = prototype.poles.iter().map(|pole| pole.map(|p| p * edge));
            (poles.collect(), vec![-1.0; order], prototype.gain * power(edge))
        }
        Band::HighPass => {
            let poles = prototype.poles.iter().map(|pole| pole.map(|p| edge / p));
            let at_zero: f64 = prototype.poles.iter().map(|pole| pole.product(0.0)).product();
            (poles.collect(), vec![1.0; order], prototype.gain / at_zero * power(TWICE))
        }
        Band::BandPass => {
            let high = warped(cutoff_hz[1]);
            let poles = prototype.poles.iter().flat_map(|pole| band_pass(*pole, edge, high));
            let zeros = [vec![-1.0; order], vec![1.0; order]].concat();
            (poles.collect(), zeros, prototype.gain * power(high - edge) * power(TWICE))
        }
    };
    let below: f64 = poles.iter().map(|pole| pole.product(TWICE)).product();
    let poles = poles.into_iter().map(|pole| pole.map(|p| (TWICE + p) / (TWICE - p)));
    let mut sections = pair(poles.collect(), zeros);
    sections[0].b = sections[0].b.map(|b| b * (gain / below));
    sections
}

fn is_pair(pole: &Pole) -> bool {
    matches!(pole, Pole::Pair(_))
}

/// The roots of `s² − p·(high − low)·s + low·high`, for `p` and its conjugate.
fn band_pass(pole: Pole, low: f64, high: f64) -> Vec<Pole> {
    let square = low * high;
    let half = pole.place() * (high - low) / 2.0;
    let root = (half * half - square).sqrt();
    // The larger root has no cancellation; the product of both is known.
    let (sum, difference) = (half + root, half - root);
    let large = if sum.norm_sqr() >= difference.norm_sqr() { sum } else { difference };
    let small = square / large;
    match pole {
        Pole::Real(_) if root.im == 0.0 => vec![Pole::Real(large.re), Pole::Real(small.re)],
        Pole::Real(_) => vec![Pole::pair(large)],
        Pole::Pair(_) => vec![Pole::pair(large), Pole::pair(small)],
    }
}

/// Poles and as many real zeros as sections, in the order of `scipy.signal.zpk2sos`: the poles nearest
/// the unit circle last, each with the zeros nearest to it.
fn pair(mut poles: Vec<Pole>, mut zeros: Vec<f64>) -> Vec<Section> {
    if !zeros.len().is_multiple_of(2) {
        poles.push(Pole::Real(0.0));
        zeros.push(0.0);
    }
    // Pairs first, then by place: what decides between poles equally near the circle.
    let key = |pole: &Pole| (u8::from(!is_pair(pole)), pole.place());
    poles.sort_by(|a, b| {
        let ((a_kind, a), (b_kind, b)) = (key(a), key(b));
        a_kind.cmp(&b_kind).then(a.re.total_cmp(&b.re)).then(a.im.total_cmp(&b.im))
    });
    zeros.sort_by(f64::total_cmp);
    let mut sections = Vec::with_capacity(zeros.len() / 2);
    let from_circle = |pole: &Pole| (1.0 - pole.place().norm()).abs();
    while let Some(worst) = nearest(poles.iter().map(from_circle)) {
        let pole = poles.remove(worst);
        let a = match pole {
            Pole::Pair(p) => [-2.0 * p.re, p.norm_sqr()],
            Pole::Real(p) => {
                let left = poles.iter().map(|pole| match pole {
                    Pole::Real(_) => from_circle(pole),
                    Pole::Pair(_) => f64::INFINITY,
                });
                // Real poles are even in number.
                let second = nearest(left).map_or(0.0, |at| poles.remove(at).place().re);
                [-(p + second), p * second]
            }
        };
        let mut take = || {
            let away = zeros.iter().map(|&zero| (pole.place() - zero).norm());
            nearest(away).map_or(0.0, |at| zeros.remove(at))
        };
        let (first, second) = (take(), take());
        sections.push(Section { b: [1.0, -(first + second), first * second], a });
    }
    sections.reverse();
    sections
}

/// The place of the smallest, the first of equals.
fn nearest(distances: impl Iterator<Item = f64>) -> Option<usize> {
    distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}
