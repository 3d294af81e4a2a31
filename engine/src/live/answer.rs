//! An answer: the one line that every due window has, whatever happens to it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::quality::Quality;
use crate::signals::Profile;

/// What became of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It is answered, within the deadline if there is one.
    Ok,
    /// It is answered, or would have been, after the deadline.
    Late,
    /// A newer window of its series took its place, or nobody took the answers away.
    Dropped,
    /// Its rows were old when they came.
    Stale,
    /// A value is missing in it that no step fills in.
    BadInput,
    /// No rows came for it.
    NoSignal,
    /// The model is not sure enough.
    Abstain,
}

impl Status {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Late,
        Self::Dropped,
        Self::Stale,
        Self::BadInput,
        Self::NoSignal,
        Self::Abstain,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Dropped => "dropped",
            Self::Stale => "stale",
            Self::BadInput => "bad-input",
            Self::NoSignal => "no-signal",
            Self::Abstain => "abstain",
        }
    }
}

/// Whether a model is live, or on trial as the canary; changes while it answers.
#[derive(Debug, Default)]
pub struct State(AtomicBool);

impl State {
    /// Begins the trial, or ends it.
    pub fn set_canary(&self, canary: bool) {
        self.0.store(canary, Ordering::Relaxed);
    }

    /// Whether it is on trial.
    pub fn is_canary(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The word for it.
    pub fn name(&self) -> &'static str {
        Self::word(self.is_canary())
    }

    fn word(canary: bool) -> &'static str {
        if canary { "canary" } else { "live" }
    }
}

/// What an answer says of the model that gave it.
#[derive(Debug)]
pub struct Label {
    /// BLAKE3 of its file.
    pub hash: String,
    /// The round that it came of; 0 for a model of no round.
    pub round: u32,
    /// What it is: `live`, or `canary`.
    pub state: State,
    /// The classes' names.
    pub classes: Vec<String>,
    /// What is usual of its answers, if it is calibrated.
    pub profile: Option<Arc<Profile>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Number of the window, in the order in which windows were due.
    pub id: u64,
    /// The window's series, if it has a name.
    pub series: Arc<str>,
    /// The time of the window's last row, as in the data.
    pub t: Option<f64>,
    /// What became of the window.
    pub status: Status,
    /// The class, if there is an answer, and its probability.
    pub class: Option<(u32, f32)>,
    /// What is wrong with the window's rows.
    pub quality: Quality,
    /// Microseconds from the arrival of the window's last row.
    pub age_us: u64,
    /// Microseconds of these that the model took.
    pub infer_us: Option<u64>,
    /// The model, if one saw the window.
    pub model: Option<Arc<Label>>,
    /// Whether that was on trial then.
    pub canary: bool,
    /// Every class's probability; empty where neither they nor a set are told.
    pub probs: Vec<f32>,
    /// Whether these are told.
    pub tells_probs: bool,
    /// `1 − p` of the least probable class in the set that is told, see [`monitor::Conformal`].
    pub set: Option<f64>,
}

impl Answer {
    /// An answer that no model gave.
    pub fn without_model(id: u64, series: &Arc<str>, status: Status) -> Self {
        Self {
            id,
            series: Arc::clone(series),
            t: None,
            status,
            class: None,
            quality: Quality::GOOD,
            age_us: 0,
            infer_us: None,
            model: None,
            canary: false,
            probs: Vec::new(),
            tells_probs: false,
            set: None,
        }
    }

    /// Adds the answer as a line of JSON. Probabilities have the digits that `predict` prints.
    pub fn write(&self, line: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = self.try_write(line);
    }

    fn try_write(&self, line: &mut Vec<u8>) -> std::io::Result<()> {
        write!(line, "{{\"id\":{},\"series\":", self.id)?;
        if self.series.is_empty() {
            line.extend_from_slice(b"null");
        } else {
            text(line, &self.series)?;
        }
        line.extend_from_slice(b",\"t\":");
        match self.t.filter(|t| t.is_finite()) {
            Some(t) => write!(line, "{t}")?,
            None => line.extend_from_slice(b"null"),
        }
        match (self.class, &self.model) {
            // It is kept back, and how probable it is tells why.
            (Some((_, p)), _) if self.status == Status::Abstain => {
                write!(line, ",\"answer\":null,\"p\":{p:.6}")?;
            }
            (Some((class, p)), Some(model)) => {
                line.extend_from_slice(b",\"answer\":");
                text(line, &model.classes[class as usize])?;
                write!(line, ",\"p\":{p:.6}")?;
            }
            _ => line.extend_from_slice(b",\"answer\":null,\"p\":null"),
        }
        if let (Some(most), Some((best, _)), Some(model)) = (self.set, self.class, &self.model) {
            line.extend_from_slice(b",\"set\":[");
            let is_in = |&(class, &p): &(usize, &f32)| is_in_set(class, p, best as usize, most);
            for (i, (class, _)) in self.probs.iter().enumerate().filter(is_in).enumerate() {
                line.extend_from_slice(if i > 0 { b"," } else { b"" });
                text(line, &model.classes[class])?;
            }
            line.push(b']');
        }
        write!(line, ",\"status\":\"{}\",\"quality\":[", self.status.name())?;
        for (i, name) in self.quality.names().enumerate() {
            write!(line, "{}\"{name}\"", if i > 0 { "," } else { "" })?;
        }
        write!(line, "],\"age_us\":{},\"infer_us\":", self.age_us)?;
        match self.infer_us {
            Some(infer_us) => write!(line, "{infer_us}")?,
            None => line.extend_from_slice(b"null"),
        }
        match &self.model {
            Some(model) => write!(
                line,
                ",\"model\":\"{}\",\"round\":{},\"state\":\"{}\"",
                model.hash,
                model.round,
                State::word(self.canary)
            )?,
            None => line.extend_from_slice(b",\"model\":null,\"round\":null,\"state\":null"),
        }
        if let (true, false, Some(model)) = (self.tells_probs, self.probs.is_empty(), &self.model) {
            for (i, (class, p)) in model.classes.iter().zip(&self.probs).enumerate() {
                line.extend_from_slice(if i == 0 { b",\"probs\":{" } else { b"," });
                text(line, class)?;
                write!(line, ":{p:.6}")?;
            }
            line.push(b'}');
        }
        line.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// Whether a class is in the set of those with `1 − p` of at most `most`, as [`monitor::Conformal::set`] has it.
pub(super) fn is_in_set(class: usize, p: f32, best: usize, most: f64) -> bool {
    most >= 1.0 || most >= 0.0 && (class == best || 1.0 - f64::from(p) <= most)
}

/// A text as JSON, which shows on one line what would steer a terminal.
fn text(line: &mut Vec<u8>, text: &str) -> std::io::Result<()> {
    serde_json::to_writer(&mut *line, text).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Arc<Label> {
        let classes = vec!["a\"b".to_owned(), "c".to_owned()];
        let state = State::default();
        Arc::new(Label { hash: "9f".to_owned(), round: 20, state, classes, profile: None })
    }

    #[test]
    fn an_answer_is_one_line_with_the_documented_keys() {
        let answer = Answer {
            id: 17,
            series: "s\n1".into(),
            t: Some(12.34),
            status: Status::Ok,
            class: Some((0, 0.97)),
            quality: Quality::MISSING.with(Quality::GAP, true),
            age_us: 640,
            infer_us: Some(102),
            model: Some(label()),
            canary: false,
            probs: vec![0.97, 0.03],
            tells_probs: true,
            set: Some(0.5),
        };
        let mut line = Vec::new();
        answer.write(&mut line);
        assert_eq!(
            String::from_utf8(line).expect("text"),
            "{\"id\":17,\"series\":\"s\\n1\",\"t\":12.34,\"answer\":\"a\\\"b\",\"p\":0.970000,\"set\":[\"a\\\"b\"],\"status\":\"ok\",\
             \"quality\":[\"missing\",\"gap\"],\"age_us\":640,\"infer_us\":102,\"model\":\"9f\",\"round\":20,\
             \"state\":\"live\",\"probs\":{\"a\\\"b\":0.970000,\"c\":0.030000}}\n"
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut line = Vec::new();
        Answer::without_model(3, &"".into(), Status::Dropped).write(&mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        for key in ["series", "t", "answer", "p", "infer_us", "model", "round", "state"] {
            assert!(value[key].is_null(), "{key}");
        }
        assert_eq!(value["status"], "dropped");
        assert_eq!(Status::ALL.map(|status| status as usize), [0, 1, 2, 3, 4, 5, 6]);
    }
}
