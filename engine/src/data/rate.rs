//! How often a row comes, and when: by the job, by what files declare, or by regular times.

use preprocess::{Rows, Stage};

use super::config::DataConfig;
use super::dataset::{Dataset, Segment};

/// Times are regular if so many of their steps are the usual one.
const REGULAR: f64 = 0.98;

/// A step is the usual one if it differs by no more than this part.
const SAME: f64 = 0.05;

impl Dataset {
    /// Rows per second: what the job says, else what all files declare alike, else the usual step of
    /// times in seconds, where nearly all steps are that.
    pub fn sample_rate_hz(&self, config: &DataConfig) -> Option<f64> {
        config.sample_rate_hz.or_else(|| self.own_rate_hz())
    }

    /// What the data hands to the first step: its channels, and their rate.
    pub fn stage(&self, config: &DataConfig) -> Stage {
        Stage { names: self.channels.clone(), rate_hz: self.sample_rate_hz(config) }
    }

    /// The rows of these segments, in time by the rate where they have no times of their own.
    pub fn rows(&self, segments: &[usize], rate_hz: Option<f64>) -> Vec<Rows> {
        let rows = |&i: &usize| self.segments[i].rows(self.channels.len(), rate_hz);
        segments.iter().map(rows).collect()
    }

    /// Rows per second by the data alone.
    pub fn own_rate_hz(&self) -> Option<f64> {
        let first = self.segments.first()?.rate_hz;
        if let Some(rate_hz) = first {
            let alike = |segment: &Segment| segment.rate_hz.is_some_and(|hz| is_same(hz, rate_hz));
            return self.segments.iter().all(alike).then_some(rate_hz);
        }
        let timed = self.segments.iter().filter(|segment| segment.in_seconds);
        let steps = timed.filter_map(|segment| segment.times.as_deref());
        let steps = steps.flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0]));
        let mut steps: Vec<f64> = steps.collect();
        if steps.is_empty() {
            return None;
        }
        let middle = steps.len() / 2;
        let usual = *steps.select_nth_unstable_by(middle, f64::total_cmp).1;
        let n_usual = steps.iter().filter(|&&step| is_same(step, usual)).count();
        (usual > 0.0 && n_usual as f64 >= REGULAR * steps.len() as f64)
            .then(|| rounded(1.0 / usual))
    }
}

impl Segment {
    /// The rows with their times: in seconds where the data has such, else by the rate, else numbered.
    pub fn rows(&self, n_channels: usize, rate_hz: Option<f64>) -> Rows {
        match &self.times {
            Some(times) if self.in_seconds => {
                Rows::from_parts(n_channels, times.clone(), self.values.clone())
            }
            _ => Rows::of_series(n_channels, rate_hz, self.values.clone()),
        }
    }
}

/// Whether two rates, or steps, are one as far as sensors keep them.
pub fn is_same(a: f64, b: f64) -> bool {
    (a - b).abs() <= SAME * a.abs().max(b.abs())
}

/// A rate in as many digits as times written in milliseconds carry.
fn rounded(rate_hz: f64) -> f64 {
    let digits = 10_f64.powi(5 - rate_hz.log10().floor() as i32);
    (rate_hz * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, read_inline};
    use super::*;

    fn read(text: &str) -> Dataset {
        read_inline(&[("x.csv", text.as_bytes())], &DataConfig::default(), None).expect("a table")
    }

    fn rate(times: &[f64]) -> Option<f64> {
        let rows: Vec<String> = times.iter().map(|time| format!("{time},1")).collect();
        read(&format!("t_s,x\n{}\n", rows.join("\n"))).own_rate_hz()
    }

    #[test]
    fn regular_times_give_a_rate() {
        let times: Vec<f64> = (0..200).map(|i| f64::from(i) * 0.04).collect();
        assert_eq!(rate(&times), Some(25.0));
        let mut gap = times.clone();
        gap.iter_mut().skip(100).for_each(|time| *time += 60.0);
        assert_eq!(rate(&gap), Some(25.0), "one gap");
        let wild: Vec<f64> = (0..200).map(|i| f64::from(i * i)).collect();
        assert_eq!(rate(&wild), None);
        assert_eq!(rate(&[0.0]), None);
        assert_eq!(read("t,x\n0,1\n1,2\n").own_rate_hz(), None, "no unit");
    }

    #[test]
    fn the_job_says_it_first() {
        let config = DataConfig { sample_rate_hz: Some(50.0), ..DataConfig::default() };
        assert_eq!(read("t_s,x\n0,1\n1,2\n").sample_rate_hz(&config), Some(50.0));
    }

    #[test]
    fn rows_have_times() {
        let data = read("t,x\n5,1\n7,2\n");
        assert_eq!(data.segments[0].rows(1, None).times(), [0.0, 1.0]);
        assert_eq!(data.segments[0].rows(1, Some(2.0)).times(), [0.0, 0.5]);
        let data = read("t_s,x\n5,1\n7,2\n");
        assert_eq!(data.segments[0].rows(1, Some(2.0)).times(), [5.0, 7.0]);
    }
}
