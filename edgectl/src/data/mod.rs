//! A node's data: from CSV and `.ts` files to segments that windows are cut from.
//!
//! Everything here reads; nothing scales, fills or cuts. A missing value stays a NaN, and line
//! numbers in messages and segments are those an editor shows (the header is line 1).

mod choose;
mod class_count;
mod collect;
mod columns;
mod config;
mod dataset;
mod files;
mod labels;
mod lines;
mod long;
mod number;
mod preamble;
mod read;
mod reading;
mod split;
mod table;
mod ts;
mod understood;
mod wide;
mod write;

pub use choose::{test_segments, train_segments};
pub use class_count::{MAX_CLASSES, check_classes};
pub use config::{DataConfig, Format};
pub use dataset::{Dataset, Expected, Node, Segment};
pub use files::find as data_files;
pub use labels::Labels;
#[cfg(test)]
use read::read_inline;
pub use reading::{Layout, Reading, Roles};
pub use split::Split;
pub use understood::{ChannelFound, ClassFound, FilesRead, Understood};
