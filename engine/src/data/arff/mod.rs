//! The `.arff` format of Weka, as the UEA and UCR archives use it: one sample a line.

mod cells;
mod head;

use std::io::{BufRead, Read};

use anyhow::{Context, anyhow, bail};

use self::head::{Head, Plan};
use super::block::{Block, Need};
use super::config::DataConfig;
use super::lines::{TOO_LONG, skip_bom};
use super::number;
use super::reader::{Header, Reader, Series, Sink, channel_name};
use super::source::{MAX_ROW, Source};
use super::table::listed;

/// One sample a line, which is a series of its own.
///
/// The numeric attributes are the steps of one channel, `dim_0`; or the lines of the one relational
/// attribute are the channels `dim_0`, `dim_1`, …. The nominal attribute is the class.
pub(super) struct Arff;

impl Reader for Arff {
    fn name(&self) -> &'static str {
        "arff"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["arff"]
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
        let mut plan: Option<Plan> = None;
        let mut opened: Option<Opened> = None;
        let (mut line, mut buffer) = (0, Vec::new());
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
            if text.is_empty() || text[0] == b'%' {
                continue;
            }
            let Some(plan) = &plan else {
                plan = head.take(text).map_err(at_line)?;
                continue;
            };
            let sample = plan.sample(text).map_err(at_line)?;
            let opened = match &mut opened {
                Some(opened) => opened,
                none => none.insert(Opened::new(plan, sample.channels.len(), sink)?),
            };
            opened.fill(&sample, plan, line).map_err(at_line)?;
            let label = sample.label.as_deref().filter(|_| opened.labels);
            sink.begin(&Series { place: line, label, rate_hz: None })?;
            sink.rows(&opened.block)?;
        }
        match (plan, opened) {
            (None, _) => {
                bail!("{}: no @data line; check that this is a whole .arff file", path.display())
            }
            (_, None) => {
                bail!("{}: no samples after @data; add data or leave the file out", path.display())
            }
            _ => Ok(()),
        }
    }
}

/// A line of data, not yet read as numbers.
struct Sample {
    /// The cells of each channel.
    channels: Vec<Vec<Vec<u8>>>,
    label: Option<Vec<u8>>,
}

impl Plan {
    /// Cuts a line of data into channels and the class.
    fn sample(&self, line: &[u8]) -> Result<Sample, String> {
        if line[0] == b'{' {
            return Err("sparse data (in braces) is not read; write all values".to_owned());
        }
        let mut cells = cells::split(line)?;
        if cells.len() != self.n_cells {
            return Err(format!(
                "expected {} values, one for each attribute, found {}; correct the line or the \
                 header",
                self.n_cells,
                cells.len()
            ));
        }
        let label = self.label.map(|cell| std::mem::take(&mut cells[cell]));
        if let Some(label) = &label {
            self.check_label(label)?;
        }
        let Some((cell, n_values)) = self.relation else {
            let is_value = |&(cell, _): &(usize, Vec<u8>)| Some(cell) != self.label;
            let values = cells.into_iter().enumerate().filter(is_value).map(|(_, cell)| cell);
            return Ok(Sample { channels: vec![values.collect()], label });
        };
        let text = std::mem::take(&mut cells[cell]);
        let mut channels = Vec::new();
        for row in text.split(|&byte| byte == b'\n') {
            let values: Vec<Vec<u8>> =
                row.split(|&byte| byte == b',').map(<[u8]>::to_vec).collect();
            if values.len() != n_values {
                return Err(format!(
                    "dim_{}: expected {n_values} values, one for each inner attribute, found {}; \
                     correct the line or the header",
                    channels.len(),
                    values.len()
                ));
            }
            channels.push(values);
        }
        Ok(Sample { channels, label })
    }

    fn check_label(&self, label: &[u8]) -> Result<(), String> {
        if number::is_missing(label) || self.classes.iter().any(|class| class.as_bytes() == label) {
            return Ok(());
        }
        Err(format!(
            "the class {} is not one that the header lists ({}); correct one of them",
            number::quoted(label),
            listed(&self.classes)
        ))
    }
}

/// What the sink needs, and the block of the sample at hand, whose text is in memory as a whole.
struct Opened {
    n_channels: usize,
    needs: Vec<Need>,
    labels: bool,
    block: Block,
}

impl Opened {
    fn new(plan: &Plan, n_channels: usize, sink: &mut dyn Sink) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..n_channels).map(channel_name).collect();
        let (unit, classes) = ("line", &plan.classes[..]);
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
        Ok(Self { n_channels, needs: needs.columns, labels: needs.labels, block })
    }

    /// Puts the values of a sample into the block, a row for each step.
    fn fill(&mut self, sample: &Sample, plan: &Plan, line: usize) -> Result<(), String> {
        if sample.channels.len() != self.n_channels {
            return Err(format!(
                "the sample has {} channels, but those before have {}; correct the line",
                sample.channels.len(),
                self.n_channels
            ));
        }
        self.block.clear();
        for (channel, cells) in sample.channels.iter().enumerate() {
            if self.needs[channel] == Need::Skip {
                continue;
            }
            for (step, cell) in cells.iter().enumerate() {
                let value = number::parse(cell).map_err(|reason| match plan.relation {
                    Some(_) => format!("dim_{channel}, value {}: {reason}; correct it", step + 1),
                    None => format!("value {}: {reason}; correct it", step + 1),
                })?;
                self.block.push_number(channel, value);
            }
        }
        (0..sample.channels[0].len()).for_each(|_| self.block.end_row(line));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Dataset, Expected, Labels, Split, read_inline};
    use proptest::prelude::*;

    const UNIVARIATE: &str = "\
% about
@relation 'Gun Point'
@attribute att0 numeric
@ATTRIBUTE 'att 1' real
@attribute target {1, '2 b', c}

@data
";

    const MULTIVARIATE: &str = "\
@relation Basic
@attribute motion relational
@attribute t0 numeric
@attribute t1 numeric
@attribute t2 numeric
@end motion
@attribute activity {run,walk}
@data
";

    fn read(text: &str) -> Result<Dataset, String> {
        read_inline(&[("P_TEST.arff", text.as_bytes())], &DataConfig::default(), None)
    }

    #[test]
    fn a_line_is_a_sample_of_one_channel() {
        let data = read(&format!("{UNIVARIATE}1.5, ?,'2 b'\r\n% note\n3,4,?\n")).unwrap();
        assert_eq!(
            (&data.channels[..], &data.classes[..]),
            (&["dim_0".to_owned()][..], &["1".to_owned(), "2 b".to_owned(), "c".to_owned()][..])
        );
        let [first, second] = &data.segments[..] else { panic!("{data:?}") };
        assert_eq!((first.split, first.first_line, first.values[0]), (Split::Test, 8, 1.5));
        assert!(first.values[1].is_nan());
        assert_eq!((first.labels.clone(), second.labels.clone()), (Labels::One(1), Labels::None));
        assert_eq!((&second.values[..], second.first_line), (&[3., 4.][..], 10));
    }

    #[test]
    fn the_lines_of_a_relation_are_channels() {
        let data =
            read(&format!("{MULTIVARIATE}'1,2,3\\n4,?,6',walk\n\"7,8,9\\n1,1,1\",run\n")).unwrap();
        assert_eq!(data.channels, ["dim_0", "dim_1"]);
        let [first, second] = &data.segments[..] else { panic!("{data:?}") };
        assert_eq!((&first.values[..3], first.values[4]), (&[1., 4., 2.][..], 3.));
        assert!(first.values[3].is_nan());
        assert_eq!(
            (&second.values[..], second.labels.clone()),
            (&[7., 1., 8., 1., 9., 1.][..], Labels::One(0))
        );
    }

    #[test]
    fn a_model_gets_its_channels() {
        let (channels, classes) = (["dim_1".to_owned()], []);
        let expected = Some(Expected { channels: &channels, classes: &classes });
        let text = format!("{MULTIVARIATE}'x,2,3\\n4,5,6',walk\n");
        let files = [("a.arff", text.as_bytes())];
        let data = read_inline(&files, &DataConfig::default(), expected).unwrap();
        assert_eq!(data.segments[0].values, [4., 5., 6.]);
    }

    #[test]
    fn bad_headers_name_the_line() {
        for (text, reason) in [
            ("", "no @data line"),
            ("@relation x\n", "no @data line"),
            ("@data\n1\n", "line 1: no numeric attribute"),
            ("1,2\n", "line 1: expected a header line that starts with @ or %, found \"1,2\""),
            ("@attribute a numeric\n@data\n", "no samples after @data"),
            ("@attribute a\n", "line 1: the attribute \"a\" needs a type"),
            ("@attribute\n", "line 1: a name is missing"),
            ("@attribute 'a numeric\n", "line 1: a quote is not closed"),
            ("@attribute a {x,y\n", "line 1: the classes of \"a\" do not end"),
            ("@attribute a string\n", "line 1: the attribute \"a\" is a string"),
            ("@attribute a date\n", "line 1: the attribute \"a\" is a date"),
            (
                "@attribute a relational\n@data\n",
                "line 2: no @end of the relational attribute \"a\"",
            ),
            ("@end a\n", "line 1: @end a ends no attribute"),
            (
                "@attribute a relational\n@attribute b relational\n",
                "line 2: the attribute \"b\" is relational inside",
            ),
            (
                "@attribute a relational\n@attribute b {x}\n",
                "line 2: the attribute \"b\" is nominal inside",
            ),
            (
                "@attribute a {x}\n@attribute b {x}\n@data\n",
                "line 3: the attributes \"a\" and \"b\" both list classes",
            ),
            (
                "@attribute a relational\n@attribute b real\n@end a\n@attribute c real\n@data\n",
                "line 5: numeric attributes beside",
            ),
            ("@inputs a\n", "line 1: \"@inputs\" is not understood"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("P_TEST.arff: ") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn bad_samples_name_line_and_value() {
        for (head, text, reason) in [
            (UNIVARIATE, "1,x,c\n", "line 8: value 2: expected a number, found \"x\""),
            (UNIVARIATE, "1,1e99,c\n", "line 8: value 2: expected a finite number"),
            (UNIVARIATE, "1,2\n", "line 8: expected 3 values, one for each attribute, found 2"),
            (
                UNIVARIATE,
                "1,2,d\n",
                "line 8: the class \"d\" is not one that the header lists (1, 2 b, c)",
            ),
            (UNIVARIATE, "{0 1, 2 c}\n", "line 8: sparse data"),
            (MULTIVARIATE, "'1,2,3\\n4,5,6,walk\n", "line 9: a quote is not closed"),
            (
                MULTIVARIATE,
                "'1,2,3\\n4,5',walk\n",
                "line 9: dim_1: expected 3 values, one for each inner attribute, found 2",
            ),
            (MULTIVARIATE, "'1,2,3\\n4,5,x',walk\n", "line 9: dim_1, value 3: expected a number"),
            (
                MULTIVARIATE,
                "'1,2,3',run\n'1,2,3\\n4,5,6',walk\n",
                "line 10: the sample has 2 channels, but those before have 1",
            ),
        ] {
            let error = read(&format!("{head}{text}")).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_lines_return(text in "[@a-d{}',?\\\\n0-9. \n]{0,60}", head in 0..3_usize) {
            let head = ["", UNIVARIATE, MULTIVARIATE][head];
            let _ = read(&format!("{head}{text}"));
        }
    }
}
