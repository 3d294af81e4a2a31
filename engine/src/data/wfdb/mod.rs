//! WFDB records, as PhysioNet has them: a header, signal files and annotations.
//!
//! A record is one series. Its values are in physical units, `(sample − baseline) / gain`; samples that
//! stand for no value are missing. What the header says of lengths, first samples and checksums must
//! hold.

mod annotations;
mod encoding;
mod header;
mod signals;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};

use super::block::{Block, Need};
use super::config::DataConfig;
use super::reader::{self, Reader, Series, Sink};
use super::recordings::Annotations;
use super::source::Source;
use annotations::{Annotation, is_beat, is_symbol};
use header::Header;
use signals::Signals;

/// Most bytes of a header.
const MAX_HEADER: u64 = 1 << 20;

/// Most bytes of a file of annotations, which is in memory as a whole.
const MAX_ANNOTATIONS: u64 = 1 << 26;

/// The column of labels, which is behind those of the signals.
const LABEL: &str = "annotation";

/// Records by their headers.
pub(super) struct Wfdb;

impl Reader for Wfdb {
    fn name(&self) -> &'static str {
        "wfdb"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["hea"]
    }

    fn is_table(&self) -> bool {
        false
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn read(
        &self,
        source: Source<'_>,
        config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let path = source.path;
        let text = bounded(path, source.input, MAX_HEADER)?;
        let text = String::from_utf8(text)
            .map_err(|_| anyhow!("{}: the header is not text; copy it anew", path.display()))?;
        let header = Header::parse(&text)
            .map_err(|(line, why)| anyhow!("{}: line {line}: {why}", path.display()))?;
        let signals = Signals::open(path, &header)?;
        let marks = match &config.annotations {
            Some(options) => Some(Marks::read(path, options, header.rate_hz, signals.n_samples())?),
            None => None,
        };
        hand_over(&header, signals, marks.as_ref(), sink)
    }
}

/// Hands the rows of a record to the sink.
fn hand_over(
    header: &Header,
    mut signals: Signals<'_>,
    marks: Option<&Marks>,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let mut names: Vec<String> = header.signals.iter().map(|signal| signal.name.clone()).collect();
    let label = marks.map(|_| names.len());
    names.extend(marks.map(|_| LABEL.to_owned()));
    let needs = sink.columns(&reader::Header {
        names: &names,
        unit: "sample",
        delimiter: None,
        sample: None,
        classes: marks.map_or(&[], |marks| &marks.declared),
        label,
        frame: None,
    })?;
    sink.begin(&Series { place: 0, label: None, rate_hz: Some(header.rate_hz) })?;
    let label = label.filter(|&column| needs.columns[column] == Need::Text);
    let mut block = Block::new(&needs.columns);
    let mut sample = 0;
    while let Some(row) = signals.next()? {
        for (column, (signal, &adc)) in header.signals.iter().zip(row).enumerate() {
            let missing = signal.encoding.missing() == Some(adc);
            let value = (f64::from(adc) - signal.baseline) / signal.gain;
            block.push_number(column, if missing { f64::NAN } else { value });
        }
        if let (Some(column), Some(marks)) = (label, marks) {
            let class = marks.of_samples.get(&sample).map_or("", String::as_str);
            block.push_text(column, class.as_bytes());
        }
        block.end_row(sample as usize);
        sample += 1;
        if block.is_full() {
            sink.rows(&block)?;
            block.clear();
        }
    }
    sink.rows(&block)
}

/// The classes of annotated samples.
struct Marks {
    of_samples: HashMap<u64, String>,
    declared: Vec<String>,
}

impl Marks {
    /// Reads the annotations beside a header.
    fn read(
        header: &Path,
        options: &Annotations,
        rate_hz: f64,
        n_samples: u64,
    ) -> anyhow::Result<Self> {
        let class_of = classes(options)?;
        let path = header.with_extension(&options.extension);
        let meta = path.metadata();
        let meta = meta.with_context(|| {
            format!(
                "{}: cannot open the annotations, which data.annotations asks for",
                path.display()
            )
        })?;
        ensure!(meta.is_file(), "{}: it is no plain file", path.display());
        let file = File::open(&path)
            .with_context(|| format!("{}: cannot open the annotations", path.display()))?;
        let bytes = bounded(&path, file, MAX_ANNOTATIONS)?;
        let found = annotations::parse(&bytes)
            .map_err(|(at, why)| anyhow!("{}: byte {at}: {why}", path.display()))?;
        if let Some(told) = annotations::resolution_hz(&found)
            .filter(|&told| (told - rate_hz).abs() > 1e-6 * rate_hz)
        {
            bail!(
                "{}: its sample numbers are at {told} a second, but the record has {rate_hz}; convert \
                 the annotations to the record's rate",
                path.display()
            );
        }
        let mut of_samples = HashMap::new();
        for Annotation { sample, symbol, .. } in found {
            let Some(class) = class_of(symbol) else { continue };
            ensure!(
                sample < n_samples,
                "{}: {symbol:?} is at sample {sample}, but the record has only {n_samples}; one of the \
                 files is another record's",
                path.display()
            );
            // Of two at one sample, the first counts.
            of_samples.entry(sample).or_insert(class);
        }
        let declared = options.classes.iter().flat_map(|classes| classes.keys().cloned()).collect();
        Ok(Self { of_samples, declared })
    }
}

/// What class a symbol is of.
fn classes(options: &Annotations) -> anyhow::Result<impl Fn(&str) -> Option<String>> {
    let mut of_symbols: HashMap<&str, &str> = HashMap::new();
    for (class, symbols) in options.classes.iter().flatten() {
        for symbol in symbols {
            ensure!(
                is_symbol(symbol),
                "data.annotations.classes: {symbol:?} is no symbol of a WFDB annotation; beats are N, L, \
                 R, B, A, a, J, S, V, r, F, e, j, n, E, /, f, Q and ?"
            );
            if let Some(other) = of_symbols.insert(symbol, class) {
                bail!(
                    "data.annotations.classes: {symbol:?} is in {other:?} and in {class:?}; keep one"
                );
            }
        }
    }
    let all_beats = options.classes.is_none();
    Ok(move |symbol: &str| match of_symbols.get(symbol) {
        Some(&class) => Some(class.to_owned()),
        None => (all_beats && is_beat(symbol)).then(|| symbol.to_owned()),
    })
}

/// All of a file that may have so many bytes.
fn bounded(path: &Path, input: impl Read, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(most + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("{}: cannot read the file", path.display()))?;
    ensure!(
        bytes.len() as u64 <= most,
        "{}: it has more than {most} bytes, which none of its kind has",
        path.display()
    );
    Ok(bytes)
}
