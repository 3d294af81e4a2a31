//! The pages of a column chunk: read, checked and unpacked, one at a time.
//!
//! The crate `parquet` decodes what is in a page; what the page claims of its sizes is held to the file
//! before that, since the crate allocates by it.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use ::parquet::basic::{CompressionCodec, Encoding, Type};
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result};
use bytes::Bytes;

use super::super::unpack;
use super::replain;
use super::thrift::{PageHeader, Problem};

/// Most bytes of a page: they mostly have one MiB, and one is in memory for each column.
const MAX_PAGE: usize = 1 << 28;

/// Most bytes of a page's header, which may hold the least and the largest value.
const MAX_HEADER: usize = 1 << 20;

/// Snappy makes at most 64 bytes of three.
const SNAPPY_RATIO: usize = 22;

/// The file, at whose places several columns read at the same time.
#[derive(Clone)]
pub(super) struct Bytewise(Arc<Mutex<File>>);

impl Bytewise {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    /// So many bytes from a place on; the caller knows that the file has them.
    pub(super) fn read(&self, at: u64, n: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Where the pages of a column chunk are, and what they hold.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) codec: CompressionCodec,
    /// Values of all pages, nulls included.
    pub(super) n_values: u64,
    pub(super) kind: Type,
    /// Bytes of a value of fixed length.
    pub(super) width: usize,
    /// Whether values may be missing: a page of version 1 then begins with levels.
    pub(super) optional: bool,
}

/// The pages of a column chunk from its start.
pub(super) struct Pages {
    file: Bytewise,
    chunk: Chunk,
    at: u64,
    n_left: u64,
    has_dictionary: bool,
}

impl Pages {
    pub(super) fn new(file: Bytewise, chunk: Chunk) -> Self {
        let (at, n_left) = (chunk.start, chunk.n_values);
        Self { file, chunk, at, n_left, has_dictionary: false }
    }

    /// The next header, behind which `at` then is.
    fn header(&mut self) -> Result<PageHeader> {
        let left = usize::try_from(self.chunk.end - self.at).unwrap_or(usize::MAX);
        let mut n = 256;
        loop {
            let bytes = self.file.read(self.at, n.min(left))?;
            match PageHeader::read(&bytes) {
                Ok((header, n_header)) => {
                    self.at += n_header as u64;
                    let behind = self.chunk.end - self.at;
                    if header.n_packed as u64 > behind || header.n_unpacked > MAX_PAGE {
                        return Err(damaged(&format!(
                            "a page claims {} bytes, {} unpacked, but {behind} follow (at most \
                             {MAX_PAGE} are read)",
                            header.n_packed, header.n_unpacked
                        )));
                    }
                    return Ok(header);
                }
                Err(Problem::Short) if n < left && n < MAX_HEADER => n *= 8,
                Err(Problem::Short) => return Err(damaged("the header of a page is cut off")),
                Err(Problem::Wrong) => return Err(damaged("the header of a page is damaged")),
            }
        }
    }

    /// What is in a page of so many bytes.
    fn unpack(&self, packed: Vec<u8>, n_unpacked: usize) -> Result<Vec<u8>> {
        let wrong = |found: usize| {
            damaged(&format!("a page claims {n_unpacked} bytes unpacked but has {found}"))
        };
        match self.chunk.codec {
            CompressionCodec::UNCOMPRESSED if packed.len() == n_unpacked => Ok(packed),
            CompressionCodec::UNCOMPRESSED => Err(wrong(packed.len())),
            // Some writers pack nothing as nothing.
            _ if n_unpacked == 0 => Ok(Vec::new()),
            CompressionCodec::SNAPPY => {
                let found = snap::raw::decompress_len(&packed);
                let found = found.map_err(|error| damaged(&format!("a page: {error}")))?;
                if found != n_unpacked || n_unpacked > SNAPPY_RATIO * packed.len() {
                    return Err(wrong(found));
                }
                let mut unpacked = vec![0; n_unpacked];
                let n = snap::raw::Decoder::new().decompress(&packed, &mut unpacked);
                match n.map_err(|error| damaged(&format!("a page: {error}")))? {
                    n if n == n_unpacked => Ok(unpacked),
                    n => Err(wrong(n)),
                }
            }
            codec @ (CompressionCodec::GZIP | CompressionCodec::ZSTD) => {
                let Some(packing) = unpack::packing(&packed) else {
                    return Err(if cfg!(feature = "compression") {
                        damaged(&format!("a page is not packed with {codec:?} as the file says"))
                    } else {
                        not_read(codec)
                    });
                };
                // Grows as bytes come, whatever the page claims.
                let mut unpacked = Vec::new();
                let input = Box::new(BufReader::new(Cursor::new(packed)));
                let most = n_unpacked as u64 + 1;
                unpack::reader(packing, input).take(most).read_to_end(&mut unpacked)?;
                if unpacked.len() == n_unpacked { Ok(unpacked) } else { Err(wrong(unpacked.len())) }
            }
            codec => Err(not_read(codec)),
        }
    }

    fn page(&mut self, header: &PageHeader) -> Result<Option<Page>> {
        let mut bytes = self.file.read(self.at, header.n_packed)?;
        self.at += header.n_packed as u64;
        let is_data = matches!(header.kind, 0 | 3);
        if is_data {
            self.n_left = self
                .n_left
                .checked_sub(header.n_values.into())
                .ok_or_else(|| damaged("its pages have more values than its group of rows says"))?;
        }
        let encoding = encoding(header.encoding)?;
        match header.kind {
            0 => {
                let [definition, repetition] = header.level_encodings;
                let buffer = self.unpack(bytes, header.n_unpacked)?;
                let levels =
                    if self.chunk.optional { levels_of_v1(&buffer, definition)? } else { 0 };
                let (buffer, encoding) = self.values(encoding, buffer, levels, header)?;
                Ok(Some(Page::DataPage {
                    buf: Bytes::from(buffer),
                    num_values: header.n_values,
                    encoding,
                    def_level_encoding: self::encoding(definition)?,
                    rep_level_encoding: self::encoding(repetition)?,
                    statistics: None,
                }))
            }
            2 => {
                let buffer = self.unpack(bytes, header.n_unpacked)?;
                if self.chunk.kind == Type::BOOLEAN {
                    return Err(damaged("a dictionary of truths"));
                }
                let is_plain = matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY);
                if self.has_dictionary || !is_plain {
                    return Err(damaged("a second dictionary, or one in an unknown encoding"));
                }
                if (header.n_values as usize).saturating_mul(self.width()) > buffer.len() {
                    return Err(damaged("its dictionary has fewer values than it claims"));
                }
                if self.chunk.kind == Type::BYTE_ARRAY
                    && !replain::has_texts(&buffer, header.n_values as usize)
                {
                    return Err(damaged("the texts of its dictionary are longer than it"));
                }
                self.has_dictionary = true;
                Ok(Some(Page::DictionaryPage {
                    buf: Bytes::from(buffer),
                    num_values: header.n_values,
                    encoding,
                    is_sorted: false,
                }))
            }
            3 => {
                let [definition, repetition] = header.level_bytes.map(|n| n as usize);
                let n_levels = definition.saturating_add(repetition);
                if n_levels > bytes.len() || n_levels > header.n_unpacked {
                    return Err(damaged("the levels of a page are longer than the page"));
                }
                if header.n_nulls > header.n_values {
                    return Err(damaged("a page has more nulls than values"));
                }
                if header.is_packed && self.chunk.codec != CompressionCodec::UNCOMPRESSED {
                    let packed = bytes.split_off(n_levels);
                    bytes.extend(self.unpack(packed, header.n_unpacked - n_levels)?);
                }
                let (bytes, encoding) = self.values(encoding, bytes, n_levels, header)?;
                Ok(Some(Page::DataPageV2 {
                    buf: Bytes::from(bytes),
                    num_values: header.n_values,
                    encoding,
                    num_nulls: header.n_nulls,
                    num_rows: header.n_rows,
                    def_levels_byte_len: header.level_bytes[0],
                    rep_levels_byte_len: header.level_bytes[1],
                    is_compressed: false,
                    statistics: None,
                }))
            }
            // An index, which nobody writes, or what a later version of the format has.
            _ => Ok(None),
        }
    }

    /// Bytes of a plain value, at least.
    fn width(&self) -> usize {
        match self.chunk.kind {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => self.chunk.width,
        }
    }

    /// A page whose values, behind its levels, are as the decoders of the crate expect them.
    fn values(
        &self,
        encoding: Encoding,
        mut page: Vec<u8>,
        n_levels: usize,
        header: &PageHeader,
    ) -> Result<(Vec<u8>, Encoding)> {
        let values = &page[n_levels..];
        let n_values = header.n_values as usize;
        let n_present = match header.kind {
            // Behind their length of four bytes.
            0 if self.chunk.optional => replain::n_present(&page[4..n_levels], n_values),
            3 if self.chunk.optional => {
                let repetition = header.level_bytes[1] as usize;
                replain::n_present(&page[repetition..n_levels], n_values)
            }
            _ => Some(n_values),
        };
        let n_present = n_present.ok_or_else(|| damaged("a page has too few levels"))?;
        let plain = match encoding {
            Encoding::PLAIN if self.chunk.kind == Type::BYTE_ARRAY => {
                if !replain::has_texts(values, n_present) {
                    return Err(damaged("the texts of a page are longer than the page"));
                }
                return Ok((page, encoding));
            }
            Encoding::DELTA_BINARY_PACKED => {
                if n_present > 0 && replain::n_numbers(values).is_none_or(|n| n < n_present) {
                    return Err(damaged("a page has fewer numbers than levels"));
                }
                return Ok((page, encoding));
            }
            Encoding::RLE => {
                let length = values.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                if length.is_none_or(|length| length as usize > values.len() - 4) {
                    return Err(damaged("the truths of a page are longer than the page"));
                }
                return Ok((page, encoding));
            }
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                if !self.has_dictionary {
                    return Err(damaged("a page refers to a dictionary that is not there"));
                }
                if values.first().is_some_and(|&n_bits| n_bits > 32) {
                    return Err(damaged("a page has places of more than 32 bits"));
                }
                return Ok((page, encoding));
            }
            Encoding::DELTA_LENGTH_BYTE_ARRAY if self.chunk.kind == Type::BYTE_ARRAY => {
                replain::plain_of_lengths(values, n_values, MAX_PAGE)
            }
            Encoding::DELTA_BYTE_ARRAY if self.chunk.kind == Type::BYTE_ARRAY => {
                replain::plain_of_prefixes(values, n_values, MAX_PAGE)
            }
            Encoding::BYTE_STREAM_SPLIT if self.chunk.kind != Type::BYTE_ARRAY => {
                replain::plain_of_streams(values, self.width())
            }
            Encoding::DELTA_LENGTH_BYTE_ARRAY
            | Encoding::DELTA_BYTE_ARRAY
            | Encoding::BYTE_STREAM_SPLIT => {
                return Err(damaged(&format!("encoding {encoding} is not read for this type")));
            }
            _ => return Ok((page, encoding)),
        };
        let plain = plain
            .filter(|plain| {
                self.chunk.kind != Type::BYTE_ARRAY || replain::has_texts(plain, n_present)
            })
            .ok_or_else(|| damaged("a page does not hold what its encoding says"))?;
        page.truncate(n_levels);
        page.extend(plain);
        Ok((page, Encoding::PLAIN))
    }
}

/// Bytes of the levels at the start of a page of version 1, with their length.
fn levels_of_v1(page: &[u8], encoding: i64) -> Result<usize> {
    let length = page.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize);
    match length {
        Some(length) if encoding == 3 && length <= page.len() - 4 => Ok(4 + length),
        _ => Err(damaged("the levels of a page are longer than the page, or not run lengths")),
    }
}

fn encoding(number: i64) -> Result<Encoding> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        // 4 only as that of levels that are not there.
        3 | 4 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(damaged(&format!("encoding {number} is not known"))),
    })
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

fn not_read(codec: CompressionCodec) -> ParquetError {
    let packings = if cfg!(feature = "compression") { "snappy, gzip or zstd" } else { "snappy" };
    damaged(&format!("packed with {codec:?}, which is not read; write it with {packings}"))
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        while self.n_left > 0 {
            if self.at == self.chunk.end {
                return Err(damaged("its pages have fewer values than its group of rows says"));
            }
            let header = self.header()?;
            if let Some(page) = self.page(&header)? {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Err(damaged("pages are read one after the other"))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(damaged("pages are read one after the other"))
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
