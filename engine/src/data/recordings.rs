//! Keys of the `[data]` section for recordings, pictures and videos.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[data] annotations`: what becomes of the annotations of WFDB records.
///
/// The row of an annotated sample has its class as label, other rows have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Annotations {
    /// How the name of the file ends, which is beside the record's header.
    pub extension: String,
    /// Each class with the symbols that are of it; others give no label. By default every symbol of a
    /// beat is a class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<BTreeMap<String, Vec<String>>>,
}

impl Default for Annotations {
    fn default() -> Self {
        Self { extension: "atr".to_owned(), classes: None }
    }
}

/// `[data] frames`: what becomes of the frames of videos and of pictures in folders.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Frames {
    /// Width and height to which each frame is brought: every new pixel is the mean of the area that it
    /// covers. By default as they are, all of one size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// What is kept of colours.
    pub colour: Colour,
    /// Videos: frames a second that are kept; all of a video that has fewer. Pictures have no rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
}

/// What is kept of colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// Their brightness: a channel for each pixel, `p0`, `p1`, …, row by row.
    #[default]
    Grey,
    /// Red, green and blue: three channels for each pixel, `p0_r`, `p0_g`, `p0_b`, `p1_r`, ….
    Rgb,
}

/// `[data] labels`: a table that says of files, or of their frames, what they are.
///
/// A row tells of a file whose name stands in the column `file`, of a frame that stands in the column
/// `frame`, or of a frame of a file where there are both. Files and frames that no row tells of are left
/// out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelTable {
    /// The table. In a job file it is relative to that file's folder; a checkpoint does not keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The column of file names: as paths from the table's folder, or as names with or without ending;
    /// `file` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The column of frames: numbers counted from 0, or names of pictures; `frame` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
    /// The column of classes; `label` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column that says `train` or `test`, or what `test` lists; `split` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The column of nodes; `node` if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Cells of the split column that mean the test, as numbers of folds; all others mean training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
}
