//! Adjusting a model to what came back with labels: replay, training with a rate of its own, and a gate.
//!
//! ```text
//! labelled windows ─► replay ─► learn ─► gate ─► a model that may become live
//! ```

mod draw;
mod example;
mod fitted;
mod gate;
mod learn;
mod records;
mod replay;

pub use example::{Example, OfSeries, labelled_examples};
pub use gate::{Gate, Score};
pub use learn::{Learned, Lesson, Teaching, adapt};
pub use records::{Lost, Place, Records};
pub use replay::{Replay, ReplayOptions};
