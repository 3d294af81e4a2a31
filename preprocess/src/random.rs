//! Random numbers that are a function of a seed, with the same bits on every machine.

/// The generator `SplitMix64` of Steele, Lea and Flood (2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`: the upper 53 bits.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

/// Two standard normal numbers by the polar method of Marsaglia and Bray (1964), from numbers uniform
/// in `[0, 1)`.
///
/// Nothing but a logarithm is needed beside what every processor rounds alike.
pub(crate) fn normal_pair(uniform: &mut impl FnMut() -> f64) -> [f64; 2] {
    // Of two uniform numbers 79 % lie within the circle; a source that never does is no source.
    const MOST_TRIES: usize = 1000;
    for _ in 0..MOST_TRIES {
        let (u, v) = (2.0 * uniform() - 1.0, 2.0 * uniform() - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            let factor = (-2.0 * ln(s) / s).sqrt();
            return [u * factor, v * factor];
        }
    }
    [0.0; 2]
}

/// The natural logarithm of a normal number above 0, to two units in the last place.
///
/// The standard library's is the platform's, and differs between them.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh t = 2 (t + t³/3 + t⁵/5 + …), with |t| ≤ 0.172: the 12th term is below 1e-18.
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let series = (0..12).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * t * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_the_logarithm() {
        let mut random = Random::new(1);
        let mut xs: Vec<f64> = (0..10_000).map(|_| random.uniform()).collect();
        xs.extend([0.5, 0.25, 1.0, f64::MIN_POSITIVE, 1.0 - f64::EPSILON, 1.0 + f64::EPSILON, 3e9]);
        let ours: Vec<f64> = xs.iter().map(|&x| ln(x)).collect();
        let library: Vec<f64> = xs.iter().map(|x| x.ln()).collect();
        testkit::assert_close("ln", &ours, &library, 1e-14, 0.0);
    }

    /// The first numbers for seed 1234567, as the reference implementation gives them.
    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973];
        assert_eq!(expected, [random.bits(), random.bits()]);
    }

    /// As computed in Python, which rounds every operation.
    #[test]
    fn normal_numbers_are_the_same_bits_everywhere() {
        let mut random = Random::new(7);
        let mut uniform = || random.uniform();
        let all: Vec<f64> = (0..500).flat_map(|_| normal_pair(&mut uniform)).collect();
        let first = [-0.041_741_523_381_452_33, -0.183_080_209_109_247_52];
        testkit::assert_same_bits("first", &all[..2], &first);
        let mix = |sum: u64, v: &f64| sum.wrapping_mul(31).wrapping_add(v.to_bits());
        assert_eq!(all.iter().fold(0, mix), 0xf9be_cbff_c3c5_4274);
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let mut random = Random::new(5);
        let mut uniform = || random.uniform();
        let all: Vec<f64> = (0..50_000).flat_map(|_| normal_pair(&mut uniform)).collect();
        let moment = |p: i32| all.iter().map(|x| x.powi(p)).sum::<f64>() / all.len() as f64;
        let moments = [moment(1), moment(2), moment(3), moment(4)];
        testkit::assert_same_bits("no source", &normal_pair(&mut || 0.0), &[0.0; 2]);
        testkit::assert_close("moments", &moments, &[0.0, 1.0, 0.0, 3.0], 0.02, 0.03);
    }
}
