//! The reader of Parquet: a table whose columns have types.

mod column;
mod pages;
mod replain;
#[cfg(test)]
mod tests;
mod thrift;

use std::ops::Range;
use std::path::Path;

use ::parquet::basic::Repetition;
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use ::parquet::schema::types::ColumnDescPtr;
use anyhow::{Context, anyhow, bail};
use rayon::prelude::*;

use self::column::{Column, Meaning};
use self::pages::{Bytewise, Chunk, Pages};
use super::block::{Block, MAX_BYTES, MAX_ROWS, Need};
use super::config::DataConfig;
use super::plain;
use super::reader::{Header, Reader, Sink, has_extension};
use super::source::Source;
use super::typed::{Cell, Typed, push_sample};

/// Most rows that are shown to the sink to judge by.
const SAMPLE: usize = 1000;

/// The first and the last bytes of a file.
const MAGIC: &[u8] = b"PAR1";

/// A file of columns, read a group of rows after the other and of that a piece at a time.
///
/// Numbers, truths (0 and 1) and decimals are numbers, times and dates are seconds since 1970, a null is a
/// missing value. Nested columns are refused by name where they are needed.
pub(super) struct Parquet;

impl Reader for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["parquet", "pq"]
    }

    fn is_table(&self) -> bool {
        true
    }

    fn claims(&self, name: &Path, head: &[u8]) -> bool {
        head.starts_with(MAGIC) || self.extensions().iter().any(|end| has_extension(name, end))
    }

    fn read(
        &self,
        source: Source<'_>,
        _config: &DataConfig,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let table = Table::open(source.path)?;
        let names: Vec<String> = table.fields.iter().map(|field| field.name.clone()).collect();
        let (unit, sample) = ("row", table.sample());
        let header = Header {
            names: &names,
            unit,
            delimiter: None,
            sample: Some(&sample),
            classes: &[],
            label: None,
            frame: None,
        };
        let needs = sink.columns(&header)?;
        for (field, need) in table.fields.iter().zip(&needs.columns) {
            if let (Err(refused), true) = (&field.kind, *need != Need::Skip) {
                bail!(
                    "{}: column {:?} is {refused}, which is not read; leave it out with \
                     data.channels, or write the file with plain columns",
                    table.path.display(),
                    field.name
                );
            }
        }
        let mut typed = Typed::new(table.path, unit, names, needs);
        let mut first_row = 1;
        for group in table.metadata.row_groups() {
            let n_rows = table.read_group(group, first_row, &mut typed, sink);
            // Rows before a bad one come first: what is wrong with them is to be told first.
            typed.hand_over(sink)?;
            first_row += n_rows?;
        }
        Ok(())
    }
}

/// An open file.
struct Table<'p> {
    path: &'p Path,
    file: Bytewise,
    n_bytes: u64,
    metadata: ParquetMetaData,
    fields: Vec<Field>,
}

/// One of its columns.
struct Field {
    name: String,
    /// Its place among the columns that have values, its type and what it means; or what it is, if it is
    /// not read.
    kind: Result<(usize, ColumnDescPtr, Meaning), String>,
}

impl<'p> Table<'p> {
    /// Opens a file and reads what its end says.
    fn open(path: &'p Path) -> anyhow::Result<Self> {
        let fail = |reason: &str| anyhow!("{}: {reason}", path.display());
        let (file, n_bytes) = plain::open(path, "Parquet")?;
        let file = Bytewise::new(file);
        let read = |at, n| {
            file.read(at, n).with_context(|| format!("{}: cannot read the file", path.display()))
        };
        let rest = n_bytes.checked_sub(12).ok_or_else(|| {
            fail("too short for a Parquet file; it is cut off, or something else")
        })?;
        let end = read(n_bytes - 8, 8)?;
        if end[4..] == *b"PARE" {
            return Err(fail("encrypted Parquet is not read; write it without encryption"));
        }
        if end[4..] != *MAGIC {
            return Err(fail(
                "does not end as a Parquet file does; it is cut off, or something else",
            ));
        }
        let n_footer = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
        if u64::from(n_footer) > rest {
            return Err(fail("its end claims more bytes than the file has; it is damaged"));
        }
        let footer = read(n_bytes - 8 - u64::from(n_footer), n_footer as usize)?;
        let metadata = ParquetMetaDataReader::decode_metadata(&footer);
        let metadata =
            metadata.map_err(|error| fail(&format!("the end of the file is damaged ({error})")))?;
        let fields = fields(&metadata);
        if fields.is_empty() {
            return Err(fail("no columns; expected a table"));
        }
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].iter().any(|other| other.name == field.name) {
                return Err(fail(&format!("two columns {:?}; rename one", field.name)));
            }
        }
        Ok(Self { path, file, n_bytes, metadata, fields })
    }

    /// The first rows, every column as text; cells that cannot be read are empty.
    fn sample(&self) -> Block {
        let mut sample = Block::new(&vec![Need::Text; self.fields.len()]);
        let Some(group) = self.metadata.row_groups().first() else { return sample };
        let wanted = SAMPLE.min(usize::try_from(group.num_rows()).unwrap_or_default());
        let mut columns: Vec<Option<Column>> =
            self.fields.iter().map(|field| self.column(group, field, Need::Text).ok()).collect();
        // A few at a time: text may be long.
        let n_piece = SAMPLE.div_ceil(columns.len()).min(100);
        let mut n_rows = 0;
        while n_rows < wanted && !sample.is_full() {
            let n = n_piece.min(wanted - n_rows);
            columns.par_iter_mut().for_each(|column| {
                if column.as_mut().is_some_and(|column| column.read(n).is_err()) {
                    *column = None;
                }
            });
            for row in 0..n {
                if sample.is_full() {
                    break;
                }
                for (field, column) in columns.iter().enumerate() {
                    let cell = column.as_ref().map_or(Cell::Missing, |column| column.cell(row));
                    push_sample(&mut sample, field, cell);
                }
                sample.end_row(n_rows + row + 1);
            }
            n_rows += n;
        }
        sample
    }

    /// Reads a group of rows; how many there are.
    fn read_group(
        &self,
        group: &RowGroupMetaData,
        first_row: usize,
        typed: &mut Typed<'_>,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<usize> {
        let n_rows = usize::try_from(group.num_rows()).map_err(|_| {
            anyhow!("{}: a group of rows claims {}", self.path.display(), group.num_rows())
        })?;
        let mut columns: Vec<(usize, Column)> = Vec::new();
        for (field, &need) in typed.needs().iter().enumerate() {
            if need != Need::Skip {
                let column = self.column(group, &self.fields[field], need);
                let column = column.map_err(|reason| {
                    let (path, name) = (self.path.display(), &self.fields[field].name);
                    anyhow!("{path}: column {name:?}, row {first_row} or after: {reason}")
                })?;
                columns.push((field, column));
            }
        }
        let n_piece = (MAX_BYTES / (8 * (columns.len() + 1))).clamp(1, MAX_ROWS);
        let mut done = 0;
        while done < n_rows {
            let n = n_piece.min(n_rows - done);
            let read: Vec<_> = columns.par_iter_mut().map(|(_, column)| column.read(n)).collect();
            for (read, (field, _)) in read.into_iter().zip(&columns) {
                read.map_err(|error| {
                    let (path, name) = (self.path.display(), &self.fields[*field].name);
                    let row = first_row + done;
                    anyhow!(
                        "{path}: column {name:?}, row {row} or after: damaged ({error}); write the \
                         file anew"
                    )
                })?;
            }
            let mut start = 0;
            while start < n {
                let end = until_full(&columns, start, n);
                push(&columns, start..end, first_row + done, typed)?;
                typed.hand_over(sink)?;
                start = end;
            }
            done += n;
        }
        Ok(n_rows)
    }

    /// A column of a group of rows, whose place in the file holds.
    fn column(
        &self,
        group: &RowGroupMetaData,
        field: &Field,
        need: Need,
    ) -> Result<Column, String> {
        let (leaf, descr, meaning) = field.kind.as_ref().map_err(Clone::clone)?;
        let chunk = group.columns().get(*leaf).ok_or("it is missing in a group of rows")?;
        if chunk.file_path().is_some() {
            return Err("its values are in another file, which is not read".to_owned());
        }
        if chunk.column_type() != descr.physical_type() {
            return Err("a group of rows has it with another type; the file is damaged".to_owned());
        }
        if chunk.num_values() != group.num_rows() {
            return Err(format!(
                "{} values in a group of {} rows; the file is damaged",
                chunk.num_values(),
                group.num_rows()
            ));
        }
        let data = chunk.data_page_offset();
        let start =
            chunk.dictionary_page_offset().filter(|&at| 0 < at && at < data).unwrap_or(data);
        let place = u64::try_from(start).ok().zip(u64::try_from(chunk.compressed_size()).ok());
        let place = place.and_then(|(start, n)| Some((start, start.checked_add(n)?)));
        let (start, end) = place.filter(|&(_, end)| end <= self.n_bytes).ok_or_else(|| {
            format!(
                "its values are said to be at byte {start}, {} bytes, but the file has {}; it is cut \
                 off or damaged",
                chunk.compressed_size(),
                self.n_bytes
            )
        })?;
        let chunk = Chunk {
            start,
            end,
            codec: chunk.compression_codec(),
            n_values: u64::try_from(chunk.num_values()).unwrap_or_default(),
            kind: descr.physical_type(),
            width: usize::try_from(descr.type_length()).unwrap_or_default(),
            optional: descr.max_def_level() > 0,
        };
        let pages = Pages::new(self.file.clone(), chunk);
        Ok(Column::new(descr.clone(), *meaning, need, pages))
    }
}

/// The columns of the schema; those within others are not gone into.
fn fields(metadata: &ParquetMetaData) -> Vec<Field> {
    let schema = metadata.file_metadata().schema_descr();
    let mut leaf_of = vec![0; schema.root_schema().get_fields().len()];
    for leaf in (0..schema.num_columns()).rev() {
        leaf_of[schema.get_column_root_idx(leaf)] = leaf;
    }
    let field = |(root, field): (usize, &::parquet::schema::types::TypePtr)| {
        let info = field.get_basic_info();
        let is_list = info.has_repetition() && info.repetition() == Repetition::REPEATED;
        let kind = if field.is_group() {
            Err("nested (a structure, a list or a map)".to_owned())
        } else if is_list {
            Err("nested (a list)".to_owned())
        } else {
            let descr = schema.column(leaf_of[root]);
            Meaning::of(&descr).map(|meaning| (leaf_of[root], descr, meaning))
        };
        Field { name: field.name().to_owned(), kind }
    };
    schema.root_schema().get_fields().iter().enumerate().map(field).collect()
}

/// The end of the rows from `start` on whose text fills a block.
fn until_full(columns: &[(usize, Column)], start: usize, n: usize) -> usize {
    let mut n_bytes = 0;
    let fits = |&row: &usize| {
        let fits = n_bytes < MAX_BYTES;
        n_bytes += columns.iter().map(|(_, column)| column.n_bytes(row)).sum::<usize>();
        fits
    };
    start + (start..n).take_while(fits).count()
}

/// Adds rows to the block; `first_row` is the place of the first of the piece.
fn push(
    columns: &[(usize, Column)],
    rows: Range<usize>,
    first_row: usize,
    typed: &mut Typed<'_>,
) -> anyhow::Result<()> {
    let mut bad = None;
    for &(field, ref column) in columns {
        let numbers = column.numbers().filter(|_| typed.needs()[field] == Need::Number);
        if let Some(numbers) = numbers.map(|numbers| &numbers[rows.clone()]) {
            // None for NaN, which is a missing value.
            let most = f64::from(f32::MAX);
            if numbers.iter().filter(|number| number.abs() > most).count() == 0 {
                typed.block.extend_numbers(field, numbers);
                continue;
            }
        }
        let mut left = rows.clone();
        if let Some((&first, rest)) =
            column.times().and_then(|times| times[rows.clone()].split_first())
            && typed.needs()[field] == Need::Time
            && !first.is_nan()
            && rest.iter().filter(|time| time.is_nan()).count() == 0
            && typed.push(first_row + rows.start, field, column.cell(rows.start)).is_ok()
        {
            // All are what the first one is.
            typed.block.extend_numbers(field, rest);
            left = 0..0;
        }
        for row in left {
            if let Err(error) = typed.push(first_row + row, field, column.cell(row)) {
                // The first bad row is told, and the rows before it are handed over.
                if bad.as_ref().is_none_or(|&(first, _)| row < first) {
                    bad = Some((row, error));
                }
                break;
            }
        }
    }
    let end = bad.as_ref().map_or(rows.end, |&(row, _)| row);
    (rows.start..end).for_each(|row| typed.block.end_row(first_row + row));
    match bad {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}
