//! The `.ts` format of sktime and the UEA and UCR archives: one sample a line.

use std::io::{BufRead, Read};

use anyhow::{Context, anyhow, bail};

use super::block::{Block, Need};
use super::config::DataConfig;
use super::lines::{TOO_LONG, skip_bom};
use super::number;
use super::reader::{Header, Reader, Series, Sink, channel_name};
use super::source::{MAX_ROW, Source};
use super::table::listed;

/// One sample a line, which is a series of its own.
///
/// The dimensions are the channels `dim_0`, `dim_1`, …; within a sample they must have the same
/// length. The classes that the header declares count even where no sample has them.
pub(super) struct Ts;

impl Reader for Ts {
    fn name(&self) -> &'static str {
        "ts"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["ts"]
    }

    fn is_table(&self) -> bool {
        false
    }

    fn read(
        &self,
        source: Source<'_>,
        _config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let Source { path, mut input } = source;
        let unreadable = || format!("{}: cannot read the file", path.display());
        skip_bom(&mut input).with_context(unreadable)?;
        let mut head = Head::default();
        let mut opened: Option<Opened> = None;
        let (mut line, mut n_samples) = (0, 0);
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let read = input.by_ref().take(MAX_ROW).read_until(b'\n', &mut buffer);
            let n_bytes = read.with_context(unreadable)?;
            if n_bytes == 0 {
                break;
            }
            line += 1;
            let text = buffer.trim_ascii();
            let at_line = |reason: String| anyhow!("{}: line {line}: {reason}", path.display());
            if n_bytes as u64 == MAX_ROW {
                return Err(at_line(TOO_LONG.to_owned()));
            }
            if text.is_empty() || text[0] == b'#' {
                continue;
            }
            if !head.ended {
                head.take(text).map_err(at_line)?;
                continue;
            }
            let sample = head.split(text).map_err(at_line)?;
            head.n_dimensions = Some(sample.dimensions.len());
            let opened = match &mut opened {
                Some(opened) => opened,
                none => none.insert(Opened::new(&head, sample.dimensions.len(), sink)?),
            };
            sample.fill(&mut opened.block, &opened.needs, line).map_err(at_line)?;
            let label = sample.label.filter(|_| opened.labels);
            if let Some(label) = label {
                head.check_label(label).map_err(at_line)?;
            }
            n_samples += 1;
            sink.begin(&Series { place: line, label, rate_hz: None })?;
            sink.rows(&opened.block)?;
        }
        match (line, head.ended, n_samples) {
            (0, ..) => {
                bail!("{}: the file is empty; expected a .ts header and samples", path.display())
            }
            (_, false, _) => {
                bail!("{}: no @data line; check that this is a whole .ts file", path.display())
            }
            (.., 0) => {
                bail!("{}: no samples after @data; add data or leave the file out", path.display())
            }
            _ => Ok(()),
        }
    }
}

/// What the sink needs, and the block of the sample at hand, whose text is in memory as a whole.
struct Opened {
    needs: Vec<Need>,
    labels: bool,
    block: Block,
}

impl Opened {
    fn new(head: &Head, n_dimensions: usize, sink: &mut dyn Sink) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..n_dimensions).map(channel_name).collect();
        let (unit, classes) = ("line", &head.classes[..]);
        let header = Header {
            names: &names,
            unit,
            delimiter: None,
            sample: None,
            classes,
            label: None,
            frame: None,
        };
        let needs = sink.columns(&header)?;
        let block = Block::new(&needs.columns);
        Ok(Self { needs: needs.columns, labels: needs.labels, block })
    }
}

/// What the lines above `@data` say.
#[derive(Debug, Default)]
struct Head {
    ended: bool,
    n_dimensions: Option<usize>,
    has_label: bool,
    classes: Vec<String>,
}

impl Head {
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let Some(text) = line.strip_prefix(b"@").and_then(|text| std::str::from_utf8(text).ok())
        else {
            return Err(format!(
                "expected a header line that starts with @ or #, found {}; check that this is a \
                 .ts file",
                number::quoted(line)
            ));
        };
        let mut words = text.split_whitespace();
        let key = words.next().unwrap_or_default().to_lowercase();
        let mut word = || words.next().ok_or_else(|| format!("@{key} needs a value; add it"));
        match key.as_str() {
            "data" => self.ended = true,
            "timestamps" if truth(word()?)? => {
                return Err(
                    "time stamps inside .ts files are not supported; write the values only, with \
                     @timeStamps false"
                        .to_owned(),
                );
            }
            "targetlabel" if truth(word()?)? => {
                return Err("@targetLabel (a number to predict) is not supported; use @classLabel"
                    .to_owned());
            }
            "univariate" if truth(word()?)? => self.n_dimensions = Some(1),
            "dimensions" | "dimension" => {
                let count = word()?.parse().ok().filter(|&count| count > 0);
                self.n_dimensions =
                    Some(count.ok_or("@dimensions needs a whole number above 0; correct it")?);
            }
            "classlabel" => {
                self.has_label = truth(word()?)?;
                self.classes = words.map(str::to_owned).collect();
            }
            _ => {}
        }
        Ok(())
    }

    /// Cuts a sample at its colons.
    fn split<'a>(&self, line: &'a [u8]) -> Result<Sample<'a>, String> {
        let mut dimensions: Vec<&[u8]> =
            line.split(|&byte| byte == b':').map(<[u8]>::trim_ascii).collect();
        let found = dimensions.len();
        let label = if self.has_label { dimensions.pop() } else { None };
        let expected = self.n_dimensions.unwrap_or(dimensions.len());
        if dimensions.len() != expected || expected == 0 {
            return Err(format!(
                "expected {expected} dimensions{} separated by ':', found {found} fields; correct \
                 the line or the header",
                if self.has_label { " and a label" } else { "" }
            ));
        }
        Ok(Sample { dimensions, label })
    }

    fn check_label(&self, label: &[u8]) -> Result<(), String> {
        let unlabeled = label.is_empty() || label == b"?";
        if unlabeled
            || self.classes.is_empty()
            || self.classes.iter().any(|class| class.as_bytes() == label)
        {
            return Ok(());
        }
        Err(format!(
            "the label {} is not one that @classLabel lists ({}); correct one of them",
            number::quoted(label),
            listed(&self.classes)
        ))
    }
}

fn truth(word: &str) -> Result<bool, String> {
    match word.to_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("expected true or false, found {word:?}; correct the header")),
    }
}

/// A line of data, not yet read as numbers.
struct Sample<'a> {
    dimensions: Vec<&'a [u8]>,
    label: Option<&'a [u8]>,
}

impl Sample<'_> {
    /// Puts the values of the dimensions that are needed into a block, a row for each step.
    fn fill(&self, block: &mut Block, needs: &[Need], line: usize) -> Result<(), String> {
        let n_steps = length(self.dimensions[0]);
        for (dimension, text) in self.dimensions.iter().enumerate() {
            if length(text) != n_steps {
                return Err(format!(
                    "dim_0 has {n_steps} values but dim_{dimension} has {}; within a sample all \
                     dimensions need the same length (write ? where a value is missing)",
                    length(text)
                ));
            }
        }
        if n_steps == 0 {
            return Err("the sample has no values; remove the line".to_owned());
        }
        block.clear();
        for (dimension, text) in self.dimensions.iter().enumerate() {
            if needs[dimension] == Need::Skip {
                continue;
            }
            for (step, cell) in text.split(|&byte| byte == b',').enumerate() {
                let value = number::parse(cell).map_err(|reason| {
                    format!("dim_{dimension}, value {}: {reason}; correct it", step + 1)
                })?;
                block.push_number(dimension, value);
            }
        }
        (0..n_steps).for_each(|_| block.end_row(line));
        Ok(())
    }
}

fn length(dimension: &[u8]) -> usize {
    if dimension.is_empty() { 0 } else { dimension.split(|&byte| byte == b',').count() }
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Dataset, Expected, Format, Labels, Split, read_inline};
    use proptest::prelude::*;

    const HEADER: &str = "# about
@problemName P
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true 10 9
@data
";

    fn read(text: &str) -> Result<Dataset, String> {
        read_inline(&[("P_TRAIN.ts", text.as_bytes())], &DataConfig::default(), None)
    }

    fn samples(text: &str) -> Result<Dataset, String> {
        read(&format!("{HEADER}{text}"))
    }

    #[test]
    fn samples_are_series_of_their_own_length() {
        let data = samples("1,2,3:10,20,30:10\n\n 4 , ? : NaN , 40 : 9 \r\n").unwrap();
        assert_eq!(
            (&data.channels[..], &data.classes[..]),
            (&["dim_0".to_owned(), "dim_1".to_owned()][..], &["9".to_owned(), "10".to_owned()][..])
        );
        let [first, second] = &data.segments[..] else { panic!("{data:?}") };
        assert_eq!((&first.series[..], first.split, first.first_line), ("1", Split::Train, 10));
        assert_eq!(
            (&first.values[..], first.labels.clone()),
            (&[1., 10., 2., 20., 3., 30.][..], Labels::One(1))
        );
        assert_eq!((&second.series[..], second.first_line, second.n_rows(2)), ("2", 12, 2));
        assert_eq!(
            (second.values[0], second.values[3], second.labels.clone()),
            (4., 40., Labels::One(0))
        );
        assert!(second.values[1].is_nan() && second.values[2].is_nan());
    }

    #[test]
    fn declared_classes_count_and_others_are_errors() {
        assert_eq!(samples("1:1:9\n").unwrap().classes, ["9", "10"]);
        let error = samples("1:1:11\n").unwrap_err();
        assert!(error.starts_with(
            "P_TRAIN.ts: line 10: the label \"11\" is not one that @classLabel lists (10, 9)"
        ));
        assert_eq!(samples("1:1:?\n").unwrap().segments[0].labels, Labels::None);
    }

    #[test]
    fn a_file_without_labels_or_dimensions_is_read() {
        let data = read("\u{feff}@classlabel false\n@DATA\n1,2:3,4\n").unwrap();
        assert_eq!(
            (data.channels.len(), data.classes.len(), &data.segments[0].values[..]),
            (2, 0, &[1., 3., 2., 4.][..])
        );
        let data = read("@univariate true\n@data\n1,2,3\n").unwrap();
        assert_eq!((data.channels.len(), data.segments[0].n_rows(1)), (1, 3));
    }

    #[test]
    fn what_is_not_supported_says_so() {
        assert!(
            read("@timeStamps true\n")
                .unwrap_err()
                .contains("P_TRAIN.ts: line 1: time stamps inside .ts files")
        );
        assert!(
            read("@targetLabel true\n").unwrap_err().contains("@targetLabel (a number to predict)")
        );
        assert!(read("@targetLabel false\n@data\n1\n").is_ok());
    }

    #[test]
    fn bad_headers_name_the_line() {
        for (text, reason) in [
            ("", "the file is empty"),
            ("@problemName P\n", "no @data line"),
            ("@data\n", "no samples after @data"),
            (
                "# x\n1,2,3\n",
                "line 2: expected a header line that starts with @ or #, found \"1,2,3\"",
            ),
            ("@dimensions x\n", "line 1: @dimensions needs a whole number"),
            ("@dimensions 0\n", "line 1: @dimensions needs a whole number"),
            ("@dimensions\n", "line 1: @dimensions needs a value"),
            ("@classLabel maybe\n", "line 1: expected true or false, found \"maybe\""),
            ("\u{0}\u{1}", "check that this is a .ts file"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("P_TRAIN.ts: ") && error.contains(reason), "{error}");
        }
        let error =
            read_inline(&[("x.ts", b"\x1f\x8b\xff\n")], &DataConfig::default(), None).unwrap_err();
        assert!(error.contains("check that this is a .ts file"), "{error}");
    }

    #[test]
    fn bad_samples_name_line_and_value() {
        for (text, reason) in [
            ("1,2:3,x:9\n", "line 10: dim_1, value 2: expected a number, found \"x\""),
            ("1,2:3,inf:9\n", "line 10: dim_1, value 2: expected a finite number"),
            ("1,2:3:9\n", "line 10: dim_0 has 2 values but dim_1 has 1"),
            (
                "1:2:9\n1,2:3,4\n",
                "line 11: expected 2 dimensions and a label separated by ':', found 2 fields",
            ),
            ("1:2:3:9\n", "expected 2 dimensions and a label separated by ':', found 4 fields"),
            ("::9\n", "line 10: the sample has no values"),
        ] {
            let error = samples(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let error = read("@data\n1:2\n3\n").unwrap_err();
        assert!(
            error.contains("line 3: expected 2 dimensions separated by ':', found 1 fields"),
            "{error}"
        );
    }

    #[test]
    fn a_model_gets_its_channels_and_classes() {
        let (channels, classes) = (["dim_1".to_owned()], ["9".to_owned(), "8".to_owned()]);
        let expected = Some(Expected { channels: &channels, classes: &classes });
        let read = |text: &str| {
            read_inline(
                &[("a.ts", format!("{HEADER}{text}").as_bytes())],
                &DataConfig::default(),
                expected,
            )
        };
        let data = read("1:2:9\n").unwrap();
        assert_eq!((&data.segments[0].values[..], &data.classes[..]), (&[2.][..], &classes[..]));
        assert!(
            read("1:2:10\n")
                .unwrap_err()
                .contains("a.ts: line 10: unknown label \"10\"; the model knows 9, 8")
        );
        let channels = ["dim_2".to_owned()];
        let expected = Some(Expected { channels: &channels, classes: &[] });
        let text = format!("{HEADER}1:2:9\n");
        let error = read_inline(&[("a.ts", text.as_bytes())], &DataConfig::default(), expected)
            .unwrap_err();
        assert!(error.contains(
            "a.ts: no column \"dim_2\": the model reads it; the columns here are dim_0, dim_1"
        ));
    }

    #[test]
    fn files_with_other_dimensions_do_not_go_together() {
        let files: [(&str, &[u8]); 2] = [("a.ts", b"@data\n1:2\n"), ("b.ts", b"@data\n1\n")];
        let error = read_inline(&files, &DataConfig::default(), None).unwrap_err();
        assert!(error.contains("b.ts: no column \"dim_1\": a.ts has it"), "{error}");
    }

    #[test]
    fn the_format_may_be_given_for_any_name() {
        let config = DataConfig { format: Format::Ts, ..DataConfig::default() };
        assert_eq!(
            read_inline(&[("a.txt", b"@data\n1,2\n")], &config, None).unwrap().segments[0].values,
            [1., 2.]
        );
    }

    /// Samples of two dimensions, each dimension as long as the other.
    fn any_samples() -> impl Strategy<Value = Vec<Vec<[i16; 2]>>> {
        prop::collection::vec(prop::collection::vec(any::<[i16; 2]>(), 1..6), 1..8)
    }

    fn returns(text: &[u8]) {
        let config = DataConfig::default();
        let _ = read_inline(&[("x.ts", text)], &config, None);
        let _ = read_inline(&[("x.ts", &[HEADER.as_bytes(), text].concat())], &config, None);
    }

    proptest! {
        #[test]
        fn samples_give_back_every_value(given in any_samples()) {
            let mut text = String::new();
            for steps in &given {
                for dimension in 0..2 {
                    let values = steps.iter().map(|step| step[dimension].to_string());
                    text += &(values.collect::<Vec<_>>().join(",") + ":");
                }
                text += "9\n";
            }
            let data = samples(&text).unwrap();
            prop_assert_eq!(data.segments.len(), given.len());
            for (segment, steps) in data.segments.iter().zip(&given) {
                let given = steps.iter().flatten().map(|value| f64::from(*value));
                prop_assert_eq!(&segment.values, &given.collect::<Vec<_>>());
            }
        }

        #[test]
        fn any_bytes_return(text in prop::collection::vec(any::<u8>(), 0..300)) {
            returns(&text);
        }

        #[test]
        fn any_almost_file_returns(
            text in prop::collection::vec(prop::sample::select(&b"@data#1,:? \n9"[..]), 0..80),
        ) {
            returns(&text);
        }
    }
}
