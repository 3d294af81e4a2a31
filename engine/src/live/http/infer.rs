//! Windows that are handed in whole: `infer` of the Open Inference Protocol, in JSON.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::answered::{Answered, object, wrong};
use super::site::Site;
use crate::data::StreamRow;
use crate::live::answer::{Answer, Status};
use crate::live::quality::Quality;
use crate::live::reply::Reply;
use crate::live::track::{Cut, Track};

/// Windows of one request.
const MOST_WINDOWS: usize = 64;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the rows of a request are called.
pub(super) const INPUT: &str = "rows";

/// The series that answers of such windows name.
const SERIES: &str = "infer";

/// Numbers of such windows' series, from the last one down: no window takes the place of another.
static NUMBERS: AtomicUsize = AtomicUsize::new(usize::MAX);

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    data: Flat,
}

#[derive(Deserialize)]
struct Output {
    name: String,
}

/// A window as it was cut.
struct Window {
    values: Vec<f64>,
    quality: Quality,
}

/// Answers a request.
pub(super) fn infer(site: &Site, body: &[u8]) -> Answered {
    let found = windows(site, body).and_then(|(request, windows)| {
        let answers: Result<Vec<Answer>, _> =
            windows.iter().map(|window| answer(site, window)).collect();
        Ok(response(site, &request, &answers?))
    });
    match found {
        Ok(value) => object(StatusCode::OK, &value),
        Err((status, why)) => wrong(status, &why),
    }
}

fn bad(why: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, why.into())
}

/// The request, and its windows after the steps of the model.
fn windows(site: &Site, body: &[u8]) -> Result<(Request, Vec<Window>), (StatusCode, String)> {
    let request: Request = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    let [input] = &request.inputs[..] else {
        return Err(bad(format!("give one input, {INPUT:?}; there are {}", request.inputs.len())));
    };
    let channels = site.channels.len();
    let (n, rows) = match input.shape[..] {
        [rows, of] if of == channels => (1, rows),
        [n, rows, of] if of == channels => (n, rows),
        _ => {
            return Err(bad(format!(
                "the shape is {:?}, not [windows, rows, {channels}]",
                input.shape
            )));
        }
    };
    if input.name != INPUT || !matches!(&*input.datatype, "FP32" | "FP64") {
        return Err(bad(format!(
            "the input is {:?} of {}, not {INPUT:?} of FP32 or FP64",
            input.name, input.datatype
        )));
    }
    for output in &request.outputs {
        if !matches!(&*output.name, "probs" | "label") {
            return Err(bad(format!("there is no output {:?}, but probs and label", output.name)));
        }
    }
    let Flat(data) = &input.data;
    let values = n.checked_mul(rows).and_then(|n| n.checked_mul(channels));
    if values != Some(data.len()) || data.is_empty() {
        return Err(bad(format!("{} values do not fill the shape {:?}", data.len(), input.shape)));
    }
    if n > MOST_WINDOWS {
        return Err(bad(format!("{n} windows at a time, at most {MOST_WINDOWS} go")));
    }
    let windows = data.chunks(rows * channels).map(|rows| window(site, rows));
    let windows = windows.collect::<Result<_, _>>().map_err(bad)?;
    Ok((request, windows))
}

/// The one window of some rows, which are a series of their own.
fn window(site: &Site, values: &[f64]) -> Result<Window, String> {
    let mut track = Track::new(&site.plan, SERIES);
    let mut windows = Vec::new();
    let mut cut = |_: &Arc<str>, cut: Cut<'_>| {
        // A second one is all that is to be known.
        if windows.len() < 2 {
            windows.push(Window { values: cut.values.to_vec(), quality: cut.quality });
        }
    };
    let mut row = StreamRow::default();
    for values in values.chunks(site.channels.len()) {
        row.values.clear();
        row.values.extend_from_slice(values);
        track.push(&row, &mut cut)?;
    }
    track.end(&mut cut);
    let n = windows.len();
    match (windows.pop(), n) {
        (Some(window), 1) => Ok(window),
        _ => Err(format!(
            "{} rows are {} windows; give the rows of one, about {}",
            values.len() / site.channels.len(),
            if n == 0 { "no" } else { "several" },
            site.plan.rows()
        )),
    }
}

/// The live model's answer. Windows go one by one, so that those of sensors wait for one at most.
fn answer(site: &Site, window: &Window) -> Result<Answer, (StatusCode, String)> {
    let unavailable = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    let reply = Arc::new(Reply::new(true));
    let number = NUMBERS.fetch_sub(1, Ordering::Relaxed);
    let Window { values, quality } = window;
    let cut = Cut { values, quality: *quality, t: None, from: None, is_fresh: true };
    let goes_on = site.desk.ways().due(number, &SERIES.into(), &cut, Instant::now(), Some(&reply));
    let told = reply.wait(PATIENCE);
    let answer = told.answers.into_iter().next();
    let answer =
        answer.ok_or_else(|| unavailable(if goes_on { "no answer" } else { "the run ends" }))?;
    match answer.status {
        Status::BadInput => Err(bad("a value is missing that no step fills in, or is too large")),
        status if answer.class.is_none() => {
            Err(unavailable(&format!("the answer is {}", status.name())))
        }
        _ => Ok(answer),
    }
}

fn response(site: &Site, request: &Request, answers: &[Answer]) -> Value {
    let is_wanted =
        |name: &str| request.outputs.is_empty() || request.outputs.iter().any(|o| o.name == name);
    let n = answers.len();
    // The digits that `predict` prints.
    let probs = answers.iter().flat_map(|answer| &answer.probs);
    let probs: Vec<f64> = probs.map(|p| format!("{p:.6}").parse().unwrap_or(f64::NAN)).collect();
    let label = |answer: &Answer| {
        answer.class.and_then(|(class, _)| site.classes.get(class as usize).cloned())
    };
    let labels: Vec<Option<String>> = answers.iter().map(label).collect();
    let mut outputs = Vec::new();
    if is_wanted("probs") {
        outputs.push(json!({
            "name": "probs", "datatype": "FP32", "shape": [n, site.classes.len()], "data": probs,
        }));
    }
    if is_wanted("label") {
        outputs
            .push(json!({ "name": "label", "datatype": "BYTES", "shape": [n, 1], "data": labels }));
    }
    let model = answers.last().and_then(|answer| answer.model.as_ref());
    let mut value = json!({
        "model_name": site.name,
        "model_version": model.map(|model| &model.hash),
        "outputs": outputs,
    });
    if let Some(id) = &request.id {
        value["id"] = json!(id);
    }
    value
}

/// Numbers, flat or in lists within each other; `null` is a missing one.
struct Flat(Vec<f64>);

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = Vec::new();
        Push(&mut values).deserialize(deserializer)?;
        Ok(Self(values))
    }
}

/// Where they go.
struct Push<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for Push<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Push<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or lists of them")
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.push(number);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(number as f64);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.push(number as f64);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push(f64::NAN);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Push(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_flattened() {
        let Flat(values) = serde_json::from_str("[[1, -2.5], [null, [3]]]").expect("numbers");
        assert_eq!((values[0], values[1], values[3]), (1.0, -2.5, 3.0));
        assert!(values[2].is_nan() && values.len() == 4);
        assert!(serde_json::from_str::<Flat>("[true]").is_err());
        assert!(serde_json::from_str::<Flat>("[\"1\"]").is_err());
        assert!(serde_json::from_str::<Flat>(&"[".repeat(100_000)).is_err(), "no end of lists");
    }
}
