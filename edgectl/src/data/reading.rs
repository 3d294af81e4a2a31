//! How a file was read.

use serde::Serialize;

/// How the rows of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One row for each time step.
    Long,
    /// One row for each sample.
    Wide,
    /// One line for each sample, as sktime and the UEA archive write it.
    Ts,
}

/// How a file was read: what its columns were taken for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reading {
    /// How its rows are laid out.
    pub layout: Layout,
    /// What separates the cells of a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Names of the columns that hold no values.
    pub roles: Roles,
}

/// Names of the columns that hold no values.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Roles {
    /// Which series a row belongs to.
    pub series: Option<String>,
    /// When it was.
    pub time: Option<String>,
    /// Its class.
    pub label: Option<String>,
    /// Whether it is to train or to test.
    pub split: Option<String>,
    /// The node it belongs to.
    pub node: Option<String>,
}
