//! Changes of what sensors say, put into rows on purpose: to show, test and measure what is found.

use std::fmt;
use std::str::FromStr;

use anyhow::{bail, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// What changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// `mirror`: the sensor is worn on the other side. Of each triple of channels `…x`, `…y`, `…z` the second is
    /// negated; of one that turns (it begins with `w` or `g`) the first and the third are.
    Mirror,
    /// `tilt:DEGREES`: each triple is turned about its second axis.
    Tilt(f64),
    /// `gain:FACTOR`: all values are multiplied.
    Gain(f64),
    /// `stuck:CHANNEL`, or all that begin with it: they keep the value they have.
    Stuck(String),
    /// `noise:DEVIATIONS`: normal noise is added, in deviations of each channel.
    Noise(f64),
    /// `offset:CHANNEL:VALUE`: a value is added to a channel.
    Offset(String, f64),
    /// `half-rate`: every second row is as the one before.
    HalfRate,
}

/// A change and the row, counted from 0, with which it begins: `tilt:30@2000`.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// What changes.
    pub change: Change,
    /// The first row that is changed.
    pub at: u64,
}

impl FromStr for Shift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "give mirror, tilt:DEGREES, gain:FACTOR, stuck:CHANNEL, noise:DEVIATIONS, offset:CHANNEL:VALUE or \
             half-rate, each with @ROW if not from the first row on"
                .to_owned()
        };
        let (what, at) = match text.rsplit_once('@') {
            None => (text, 0),
            Some((what, at)) => (what, at.parse().map_err(|_| wrong())?),
        };
        let number = |text: &str| match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(wrong()),
        };
        let change = match what.split_once(':') {
            None if what == "mirror" => Change::Mirror,
            None if what == "half-rate" => Change::HalfRate,
            Some(("tilt", degrees)) => Change::Tilt(number(degrees)?),
            Some(("gain", factor)) => Change::Gain(number(factor)?),
            Some(("noise", deviations)) => Change::Noise(number(deviations)?),
            Some(("stuck", channel)) if !channel.is_empty() => Change::Stuck(channel.to_owned()),
            Some(("offset", rest)) => {
                let (channel, value) = rest.rsplit_once(':').ok_or_else(wrong)?;
                Change::Offset(channel.to_owned(), number(value)?)
            }
            _ => return Err(wrong()),
        };
        Ok(Self { change, at })
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::Mirror => f.write_str("mirror")?,
            Change::Tilt(degrees) => write!(f, "tilt:{degrees}")?,
            Change::Gain(factor) => write!(f, "gain:{factor}")?,
            Change::Stuck(channel) => write!(f, "stuck:{channel}")?,
            Change::Noise(deviations) => write!(f, "noise:{deviations}")?,
            Change::Offset(channel, value) => write!(f, "offset:{channel}:{value}")?,
            Change::HalfRate => f.write_str("half-rate")?,
        }
        if self.at > 0 { write!(f, "@{}", self.at) } else { Ok(()) }
    }
}

/// Three channels of one sensor, and whether they tell how it turns.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Triple {
    at: [usize; 3],
    turns: bool,
}

/// Changes the rows of one series.
#[derive(Debug, Clone)]
pub struct Shifter {
    shift: Shift,
    triples: Vec<Triple>,
    /// Channels that the change names.
    named: Vec<usize>,
    deviations: Vec<f64>,
    rows: u64,
    /// The last row that was not as the one before.
    last: Vec<f64>,
    random: ChaCha8Rng,
}

impl Shifter {
    /// For rows of these channels, whose values have these deviations. What is random is a function of `seed`.
    ///
    /// # Errors
    /// If the change needs channels that there are not.
    pub fn new(
        shift: &Shift,
        names: &[String],
        deviations: &[f64],
        seed: u64,
    ) -> anyhow::Result<Self> {
        let triples = triples(names);
        let named: Vec<usize> = match &shift.change {
            Change::Mirror | Change::Tilt(_) => {
                ensure!(
                    !triples.is_empty(),
                    "{shift}: no three channels are called alike but for x, y and z at the end"
                );
                Vec::new()
            }
            Change::Stuck(name) => {
                (0..names.len()).filter(|&i| names[i].starts_with(name)).collect()
            }
            Change::Offset(name, _) => (0..names.len()).filter(|&i| names[i] == *name).collect(),
            Change::Gain(_) | Change::Noise(_) | Change::HalfRate => Vec::new(),
        };
        if let (Change::Stuck(name) | Change::Offset(name, _), true) =
            (&shift.change, named.is_empty())
        {
            bail!("{shift}: there is no channel {name:?}, only {}", names.join(", "));
        }
        if let Change::Noise(_) = shift.change {
            ensure!(deviations.len() == names.len(), "{shift}: a deviation for each channel");
        }
        Ok(Self {
            shift: shift.clone(),
            triples,
            named,
            deviations: deviations.to_vec(),
            rows: 0,
            last: vec![f64::NAN; names.len()],
            random: ChaCha8Rng::seed_from_u64(seed),
        })
    }

    /// Changes the next row in place, if the change has begun. Missing values stay missing.
    pub fn row(&mut self, values: &mut [f64]) {
        let (n, begun) = (self.rows, self.rows >= self.shift.at);
        self.rows += 1;
        if !begun {
            self.last.copy_from_slice(values);
            return;
        }
        match self.shift.change {
            Change::Mirror => {
                for Triple { at: [x, y, z], turns } in &self.triples {
                    let turned = if *turns { vec![*x, *z] } else { vec![*y] };
                    for channel in turned {
                        values[channel] = -values[channel];
                    }
                }
            }
            Change::Tilt(degrees) => {
                let (sin, cos) = degrees.to_radians().sin_cos();
                for &Triple { at: [x, _, z], .. } in &self.triples {
                    (values[x], values[z]) =
                        (cos * values[x] + sin * values[z], cos * values[z] - sin * values[x]);
                }
            }
            Change::Gain(factor) => values.iter_mut().for_each(|value| *value *= factor),
            Change::Stuck(_) => {
                for &channel in &self.named {
                    // From the first row on: it never said anything else.
                    if self.last[channel].is_nan() {
                        self.last[channel] = values[channel];
                    }
                    values[channel] = self.last[channel];
                }
            }
            Change::Noise(deviations) => {
                for (value, deviation) in values.iter_mut().zip(&self.deviations) {
                    let normal: f64 = StandardNormal.sample(&mut self.random);
                    *value += deviations * deviation * normal;
                }
            }
            Change::Offset(_, offset) => {
                self.named.iter().for_each(|&channel| values[channel] += offset);
            }
            Change::HalfRate => {
                if (n - self.shift.at).is_multiple_of(2) {
                    self.last.copy_from_slice(values);
                } else {
                    values.copy_from_slice(&self.last);
                }
            }
        }
    }
}

/// Triples of channels that are called alike but for `x`, `y` and `z` at the end.
fn triples(names: &[String]) -> Vec<Triple> {
    let place = |name: &str| names.iter().position(|other| other == name);
    let of = |name: &String| {
        let stem = name.strip_suffix('x')?;
        let at = [place(name)?, place(&format!("{stem}y"))?, place(&format!("{stem}z"))?];
        let turns = stem.starts_with(['w', 'g', 'W', 'G']);
        Some(Triple { at, turns })
    };
    names.iter().filter_map(of).collect()
}

/// The standard deviation of each channel of rows, over those of its values that are there: 0 without any.
///
/// # Errors
/// If the rows are not whole.
pub fn deviations<'a>(
    n_channels: usize,
    rows: impl Iterator<Item = &'a [f64]>,
) -> anyhow::Result<Vec<f64>> {
    let mut found = vec![(0.0, 0.0, 0.0); n_channels];
    for row in rows {
        ensure!(row.len() == n_channels, "a row of {} values", row.len());
        for ((n, mean, squares), &value) in
            found.iter_mut().zip(row).filter(|(_, value)| value.is_finite())
        {
            *n += 1.0;
            let off = value - *mean;
            *mean += off / *n;
            *squares += off * (value - *mean);
        }
    }
    let of = |(n, _, squares): (f64, f64, f64)| (squares / f64::max(n, 1.0)).sqrt();
    Ok(found.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Shift, String> {
        text.parse()
    }

    fn names() -> Vec<String> {
        ["ax", "ay", "az", "wx", "wy", "wz"].map(str::to_owned).to_vec()
    }

    /// Four rows of the numbers 1 to 6, times 1 to 4, changed from the third on.
    fn changed(text: &str) -> Vec<Vec<f64>> {
        let shift: Shift = format!("{text}@2").parse().expect(text);
        let mut shifter = Shifter::new(&shift, &names(), &[2.0; 6], 1).expect(text);
        let row = |i: u32| (1..7).map(|x| f64::from(i * x)).collect::<Vec<_>>();
        let rows: Vec<Vec<f64>> = (1..5)
            .map(|i| {
                let mut row = row(i);
                shifter.row(&mut row);
                row
            })
            .collect();
        assert_eq!(rows[..2], [row(1), row(2)], "nothing changes before");
        rows[2..].to_vec()
    }

    #[test]
    fn every_change_is_as_it_is_described() {
        assert_eq!(changed("mirror")[0], [3., -6., 9., -12., 15., -18.]);
        let tilted = &changed("tilt:90")[0];
        testkit::assert_close("tilted", tilted, &[9., 6., -3., 18., 15., -12.], 0.0, 1e-12);
        assert_eq!(changed("gain:0.5")[1], [2., 4., 6., 8., 10., 12.]);
        assert_eq!(changed("stuck:w")[1], [4., 8., 12., 8., 10., 12.]);
        assert_eq!(changed("stuck:ay")[0], [3., 4., 9., 12., 15., 18.]);
        assert_eq!(changed("offset:ax:0.25")[0], [3.25, 6., 9., 12., 15., 18.]);
        let half = changed("half-rate");
        assert_eq!((&half[0], &half[1]), (&vec![3., 6., 9., 12., 15., 18.], &half[0]));
    }

    #[test]
    fn noise_has_the_deviation_that_is_asked_for() {
        let shift = parse("noise:0.5").expect("a change");
        let mut shifter = Shifter::new(&shift, &names(), &[2.0; 6], 1).expect("valid");
        let rows: Vec<[f64; 6]> = (0..4000)
            .map(|_| {
                let mut row = [7.0; 6];
                shifter.row(&mut row);
                row
            })
            .collect();
        let found = deviations(6, rows.iter().map(|row| &row[..])).expect("whole rows");
        assert!(found.iter().all(|deviation| (deviation - 1.0).abs() < 0.05), "{found:?}");
    }

    #[test]
    fn changes_are_read_as_they_are_shown() {
        for text in [
            "mirror",
            "tilt:30@2000",
            "gain:1.3",
            "stuck:ax@7",
            "noise:0.3",
            "offset:a@b:0.3@4",
            "half-rate",
        ] {
            assert_eq!(parse(text).expect(text).to_string(), text);
        }
        for text in ["", "tilt", "tilt:far", "mirror@", "gain:inf", "stuck:", "offset:0.3"] {
            assert!(parse(text).is_err(), "{text}");
        }
        let none = Shifter::new(&parse("mirror").expect("a change"), &["x".to_owned()], &[], 1);
        assert!(none.is_err());
        assert!(Shifter::new(&parse("stuck:q").expect("a change"), &names(), &[], 1).is_err());
    }
}
