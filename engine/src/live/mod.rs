//! Answers while rows come: one line for every window that is due, within a deadline.
//!
//! ```text
//! sources ─ lines, rows, windows ─► queue ─► serve ─► outbox ─► writer
//!                                            ▲   │
//! watcher ─ a new model, checked ─► hand-over    └─► tap ─► observers     events ─► stderr or a file
//!                                                      └─ a model in the shadow
//! ```
//!
//! A window that is due reserves the place of its answer in the outbox, whatever happens to it then: that is why
//! every window has exactly one line. None of the threads on the way of an answer waits for a reader, a file or
//! another model.

mod adapt;
mod answer;
mod begin;
mod board;
#[cfg(feature = "video")]
mod camera;
mod cells;
mod compared;
mod counters;
mod drift;
mod events;
mod folder;
mod follow;
mod hand_over;
#[cfg(feature = "http")]
mod http;
mod incoming;
mod intake;
mod judged;
mod known;
mod learner;
mod level;
mod lines;
mod load;
#[cfg(feature = "mqtt")]
mod mqtt;
mod numbers;
mod observe;
mod options;
mod outbox;
mod priority;
mod quality;
mod queue;
mod ready;
mod relief;
mod replay;
mod reply;
mod run;
mod serve;
mod shadow;
mod shared;
mod shift;
mod slack;
mod source;
mod summary;
mod sure;
mod tap;
mod thin;
mod threads;
mod throttled;
mod token;
mod track;
mod tracks;
mod truth;
mod usual;
mod watched;
mod watcher;
mod ways;
mod web;

pub use answer::{Answer, Label, State, Status};
pub use begin::Begun;
pub use board::{Board, Figure, Known, SHOWN_CHANNELS, SeenAnswer, SeenEvent, SeenRow, Signal};
#[cfg(feature = "video")]
pub use camera::Camera;
pub use compared::{Compared, Past};
pub use counters::{CONFIDENCES, Counters, Histogram};
pub use drift::{Drift, Tells};
pub use events::{EventFile, Events};
pub use folder::Folder;
pub use hand_over::HandOver;
pub use intake::Intake;
pub use judged::{Terms, Verdict};
pub use level::Level;
pub use load::{Load, Second, Turn};
#[cfg(feature = "mqtt")]
pub use mqtt::{AnswersTo, Mqtt, Publisher};
pub use observe::{Observer, Watching};
pub use options::Options;
pub use outbox::{Outbox, Reserved, Taken};
pub use quality::Quality;
pub use queue::{Due, Pushed, Queue};
pub use ready::{ModelFile, Ready, check_fits};
pub use replay::{Play, Played, Playing, Target, Timetable, To, play, target};
pub use reply::{Reply, Told};
pub use run::run;
pub use serve::Server;
pub use shadow::{Found, Role, Shadow, Trials};
pub use shift::{Change, Shift, Shifter, deviations};
pub use source::{Gate, Lines, Source};
pub use summary::{Quantiles, Summary};
pub use sure::Sure;
pub use tap::{Heard, Next, Seen, Tap, Truths, Watched, tap};
pub use thin::Thin;
pub use token::Token;
pub use track::{Cut, GAP, Plan, SILENCE, Track};
pub use tracks::Tracks;
pub use truth::{Place, Truth};
pub use watcher::{Means, Watcher};
pub use ways::Ways;
pub use web::Web;
