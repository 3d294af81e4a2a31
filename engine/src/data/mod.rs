//! A node's data: from CSV and `.ts` files to segments that windows are cut from.
//!
//! Everything here reads; nothing scales, fills or cuts. A missing value stays a NaN, and line
//! numbers in messages and segments are those an editor shows (the header is line 1).
//!
//! A `reader` of a format hands blocks of rows to the `sink`, which finds out what the columns mean
//! and hands runs of rows on: to `segments`, which keeps them, or to a `tally`, which counts them.

#[cfg(feature = "arff")]
mod arff;
mod behind;
mod block;
mod choose;
mod class_count;
mod collect;
mod columns;
mod config;
mod counters;
mod dataset;
mod delimited;
mod describe;
mod digits;
mod file;
mod files;
#[cfg(any(feature = "images", feature = "video"))]
mod frame;
#[cfg(feature = "images")]
mod images;
mod join;
mod joins;
#[cfg(feature = "jsonl")]
mod jsonl;
mod labels;
mod lines;
mod listing;
mod long;
mod notes;
#[cfg(feature = "npy")]
mod npy;
mod number;
mod one_series;
mod pace;
#[cfg(feature = "parquet")]
mod parquet;
mod patterns;
mod pieces;
#[cfg(any(feature = "npy", feature = "parquet"))]
mod plain;
mod preamble;
mod quick;
mod rate;
mod read;
mod reader;
mod readers;
mod reading;
mod recordings;
mod replay;
mod row_split;
mod row_time;
mod run_names;
mod runs;
mod samples;
mod scaled;
mod segments;
mod select;
mod sink;
mod source;
mod split;
mod split_by;
mod strange;
mod stream;
mod style;
mod survey;
mod table;
mod tally;
mod time_column;
mod times;
mod ts;
#[cfg(any(feature = "jsonl", feature = "parquet"))]
mod typed;
mod understood;
mod unpack;
#[cfg(feature = "video")]
mod video;
#[cfg(feature = "wav")]
mod wav;
#[cfg(feature = "wfdb")]
mod wfdb;
mod wide;
mod wide_order;
mod words;
mod write;

pub use behind::files_behind;
pub use choose::{NOTHING_MARKED, is_marked, test_segments, train_segments};
pub use class_count::{MAX_CLASSES, check_classes};
pub use config::{DataConfig, Format, Picture, Thousands, WideOrder};
pub use dataset::{Dataset, Expected, Node, Segment};
pub use describe::{Described, Unread};
pub use files::find as data_files;
pub use joins::{How, Join};
pub use labels::{Labels, sorted_classes};
pub use notes::{SplitCell, TextFound};
pub use rate::is_same as is_same_rate;
#[cfg(test)]
use read::read_inline;
pub use reading::{FileRead, Layout, Reading, Roles, Selection, TimeUnit, seconds_of};
pub use recordings::{Annotations, Colour, Frames, LabelTable};
pub use scaled::Scaled;
pub use select::{Accepted, SeriesBy};
pub use split::Split;
pub use split_by::{Moment, ShareOf, SplitBy};
pub use stream::{Cell, StreamColumns, StreamRow};
pub use tally::{Counted, Excerpt};
pub use understood::{ChannelFound, ClassFound, FilesRead, SplitFound, TimesFound, Understood};
#[cfg(feature = "video")]
pub use video::{FrameSource, Killer, LiveFrames};
