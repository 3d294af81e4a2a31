//! The header of a WFDB record: its rate, and what its signals are and where they are stored.
//!
//! As in the WFDB Applications Guide, `header(5)`.

use super::encoding::Encoding;

/// The rate where the header says none.
const DEFAULT_RATE_HZ: f64 = 250.0;

/// The gain where a header says none, in steps for each physical unit.
const DEFAULT_GAIN: f64 = 200.0;

/// What a header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// Samples a second of every signal.
    pub(super) rate_hz: f64,
    /// Samples of every signal; none if the files tell.
    pub(super) n_samples: Option<u64>,
    /// At least one.
    pub(super) signals: Vec<Signal>,
}

/// One signal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Signal {
    /// The line that describes it.
    pub(super) line: usize,
    /// What it is called, a name that no other signal has.
    pub(super) name: String,
    /// The file that holds it, in the folder of the header.
    pub(super) file: String,
    /// How it is stored there.
    pub(super) encoding: Encoding,
    /// Bytes of that file before the samples.
    pub(super) offset: u64,
    /// Steps for each physical unit.
    pub(super) gain: f64,
    /// The sample that is 0 in physical units.
    pub(super) baseline: f64,
    /// The first sample.
    pub(super) initial: Option<i32>,
    /// The sum of all samples, of which 16 bits are kept.
    pub(super) checksum: Option<u16>,
}

/// A line that is wrong, and why.
type Wrong = (usize, String);

impl Header {
    /// Reads the text of a header.
    ///
    /// # Errors
    /// The line that is wrong, counted from 1, and why.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (first, record) = lines.next().ok_or((1, "the header is empty".to_owned()))?;
        let (n_signals, rate_hz, n_samples) = record_line(record).map_err(|why| (first, why))?;
        let mut signals: Vec<Signal> = Vec::new();
        let mut last = first;
        for (line, text) in lines {
            if signals.len() == n_signals {
                return Err((
                    line,
                    format!("the first line announces {n_signals} signals, but there are more"),
                ));
            }
            let mut signal = signal_line(line, text).map_err(|why| (line, why))?;
            if signal.name.is_empty() {
                signal.name = format!("dim_{}", signals.len());
            }
            signal.name = distinct(&signals, &signal.name);
            signals.push(signal);
            last = line;
        }
        if signals.len() < n_signals {
            return Err((
                last,
                format!(
                    "the header ends here after {} of {n_signals} signals; it is cut off",
                    signals.len()
                ),
            ));
        }
        Ok(Self { rate_hz, n_samples, signals })
    }
}

/// Signals, rate and samples: `name n_signals [rate[/counter[(base)]] [n_samples [time [date]]]]`.
fn record_line(line: &str) -> Result<(usize, f64, Option<u64>), String> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    if name.contains('/') {
        return Err(
            "records of several segments are not supported; give the header of one segment, or \
                    write the record as one with wfdb's xform"
                .to_owned(),
        );
    }
    let n_signals = number::<usize>("the number of signals", words.next().unwrap_or_default())?;
    if n_signals == 0 {
        return Err("the record has no signals".to_owned());
    }
    let rate_hz = match words.next() {
        Some(word) => {
            let rate = word.split('/').next().unwrap_or_default();
            let rate: f64 = number("the rate", rate)?;
            if !(rate.is_finite() && rate > 0.0) {
                return Err(format!("the rate {rate} is not above 0"));
            }
            rate
        }
        None => DEFAULT_RATE_HZ,
    };
    let n_samples = words.next().map(|word| number::<u64>("the number of samples", word));
    Ok((n_signals, rate_hz, n_samples.transpose()?.filter(|&n| n > 0)))
}

/// `file format [gain[(baseline)][/units] [resolution [zero [initial [checksum [block [name]]]]]]]`.
fn signal_line(line: usize, text: &str) -> Result<Signal, String> {
    let mut rest = text;
    let mut word = || {
        let trimmed = rest.trim_start();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let (word, after) = trimmed.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    };
    let file = word().unwrap_or_default().to_owned();
    if file.contains(['/', '\\', '\0']) || matches!(&file[..], "-" | "~" | "." | "..") {
        return Err(format!(
            "the signal file {file:?} is not the name of a file beside the header; correct it"
        ));
    }
    let (encoding, offset) = format_word(word().unwrap_or_default())?;
    let (gain, baseline) = match word() {
        Some(word) => gain_word(word)?,
        None => (DEFAULT_GAIN, None),
    };
    let integer = |what: &str, word: Option<&str>| word.map(|word| number::<i32>(what, word));
    integer("the resolution", word()).transpose()?;
    let zero = integer("the zero", word()).transpose()?;
    let initial = integer("the initial value", word()).transpose()?;
    let checksum = integer("the checksum", word()).transpose()?;
    integer("the block size", word()).transpose()?;
    let name = rest.trim().to_owned();
    let baseline = baseline.unwrap_or(f64::from(zero.unwrap_or(0)));
    // Written with a sign or without, it is 16 bits.
    let checksum = checksum.map(|sum| sum as u16);
    Ok(Signal { line, name, file, encoding, offset, gain, baseline, initial, checksum })
}

/// `format[xper_frame][:skew][+offset]`.
fn format_word(word: &str) -> Result<(Encoding, u64), String> {
    let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (format, mut rest) = word.split_at(end);
    let encoding = Encoding::of(number("the signal format", format)?)?;
    let mut offset = 0;
    while let Some(sign) = rest.chars().next() {
        let after = &rest[sign.len_utf8()..];
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (digits, next) = after.split_at(end);
        match sign {
            'x' if number::<u32>("the samples in a frame", digits)? != 1 => {
                return Err("signals of several samples a frame are not supported; bring all signals to one \
                            rate with wfdb's xform"
                    .to_owned());
            }
            ':' if number::<u32>("the skew", digits)? != 0 => {
                return Err(
                    "signals with a skew are not supported; write the record without it".to_owned()
                );
            }
            'x' | ':' => {}
            '+' => offset = number("the byte offset", digits)?,
            _ => return Err(format!("{word:?} is not a signal format")),
        }
        rest = next;
    }
    Ok((encoding, offset))
}

/// `gain[(baseline)][/units]`; a gain of 0 is one that nobody measured.
fn gain_word(word: &str) -> Result<(f64, Option<f64>), String> {
    let word = word.split('/').next().unwrap_or_default();
    let (gain, baseline) = match word.split_once('(') {
        Some((gain, rest)) => {
            let digits = rest.strip_suffix(')');
            let digits = digits.ok_or_else(|| format!("the baseline in {word:?} has no end"))?;
            (gain, Some(f64::from(number::<i32>("the baseline", digits)?)))
        }
        None => (word, None),
    };
    let gain: f64 = number("the gain", gain)?;
    if !gain.is_finite() {
        return Err(format!("the gain {gain} is not a number"));
    }
    Ok((if gain == 0.0 { DEFAULT_GAIN } else { gain }, baseline))
}

fn number<T: std::str::FromStr>(what: &str, word: &str) -> Result<T, String> {
    word.parse().map_err(|_| match word {
        "" => format!("{what} is missing"),
        _ => format!("{what} is {word:?}, which is no such number"),
    })
}

/// A name, with a number behind it if another signal has it.
fn distinct(signals: &[Signal], name: &str) -> String {
    let taken = |name: &str| signals.iter().any(|signal| signal.name == name);
    if !taken(name) {
        return name.to_owned();
    }
    let mut names = (2..).map(|number| format!("{name}_{number}"));
    names.find(|name| !taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let (line, why) = Header::parse(text).unwrap_err();
        format!("{line}: {why}")
    }

    #[test]
    fn every_part_is_read() {
        let text = "# a comment\n100 3 360/1.5(2) 650000 12:00:00 01/01/2000\n\
                    100.dat 212 200(7)/mV 11 1024 995 -22131 0 MLII\n\
                    100.dat 212x1:0+8 0 12 5 1 65535 0 ECG lead two\r\n\n100.raw 16\n# 69 M\n";
        let header = Header::parse(text).unwrap();
        assert_eq!((header.rate_hz, header.n_samples), (360.0, Some(650_000)));
        let [first, second, third] = &header.signals[..] else { panic!("{header:?}") };
        let expected = Signal {
            line: 3,
            name: "MLII".to_owned(),
            file: "100.dat".to_owned(),
            encoding: Encoding::Packed12,
            offset: 0,
            gain: 200.0,
            baseline: 7.0,
            initial: Some(995),
            checksum: Some(43405),
        };
        assert_eq!(*first, expected);
        assert_eq!((&second.name[..], second.gain, second.baseline), ("ECG lead two", 200.0, 5.0));
        assert_eq!((second.offset, second.checksum), (8, Some(65535)));
        assert_eq!(
            (&third.name[..], third.encoding, third.initial),
            ("dim_2", Encoding::Low16, None)
        );
    }

    #[test]
    fn what_is_left_out_has_the_default() {
        let header =
            Header::parse("r 2\nr.dat 16 100 12 0 0 0 0 a\nr.dat 16 100 12 0 0 0 0 a\n").unwrap();
        assert_eq!((header.rate_hz, header.n_samples), (250.0, None));
        assert_eq!([&header.signals[0].name[..], &header.signals[1].name], ["a", "a_2"]);
        assert_eq!(Header::parse("r 1 90 0\nr.dat 16").unwrap().n_samples, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "1: the header is empty"),
            ("r/3 1 90 10\n", "1: records of several segments"),
            ("r\n", "1: the number of signals is missing"),
            ("r -1\n", "1: the number of signals is \"-1\""),
            ("r 0 90 10\n", "1: the record has no signals"),
            ("r 1 0 10\n", "1: the rate 0 is not above 0"),
            ("r 1 nan 10\n", "1: the rate NaN is not above 0"),
            ("r 1 90 ten\n", "1: the number of samples is \"ten\""),
            ("r 99999999999 90 10\nr.dat 16\n", "2: the header ends here after 1 of 99999999999"),
            ("r 1 90 10\nr.dat 16\nr.dat 16\n", "3: the first line announces 1 signals"),
            ("r 1 90 10\n../r.dat 16\n", "2: the signal file \"../r.dat\""),
            ("r 1 90 10\n~ 16\n", "2: the signal file \"~\""),
            ("r 1 90 10\nr.dat\n", "2: the signal format is missing"),
            ("r 1 90 10\nr.dat 311\n", "2: signal format 311"),
            ("r 1 90 10\nr.dat 16x4\n", "2: signals of several samples a frame"),
            ("r 1 90 10\nr.dat 16:4\n", "2: signals with a skew"),
            ("r 1 90 10\nr.dat 16é\n", "2: \"16é\" is not a signal format"),
            ("r 1 90 10\nr.dat 16 inf\n", "2: the gain inf"),
            ("r 1 90 10\nr.dat 16 200(5\n", "2: the baseline in \"200(5\" has no end"),
            ("r 1 90 10\nr.dat 16 200 12 0 x\n", "2: the initial value is \"x\""),
        ] {
            let found = wrong(text);
            assert!(found.starts_with(part), "{text:?}: {found}");
        }
    }
}
