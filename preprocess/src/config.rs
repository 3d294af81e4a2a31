//! A step as a user writes it, and as it is stored: its kind, and the channels it runs on.

use serde::{Deserialize, Serialize};

use crate::on_channels::OnChannels;
use crate::scale::{Back, Undo};
use crate::stats::Needs;
use crate::steps::{FittedKind, StepKind, Unfitted};
use crate::{Error, Stage, Step};

/// Whose training rows a step is fitted on: `fit` in a configuration file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitBy {
    /// Those of all nodes: the values are the same everywhere.
    #[default]
    Shared,
    /// Each node's own: every node has its values, and what nodes share has none.
    Node,
}

impl FitBy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }

    /// Passes if a step has something to be fitted, or every node does the same anyway.
    pub(crate) fn check(self, kind: &StepKind) -> Result<(), Error> {
        match self {
            Self::Node if kind.needs() == Needs::Nothing => {
                Err(Error::NothingOfANode { step: kind.name() })
            }
            _ => Ok(()),
        }
    }
}

/// One step of a pipeline, before it is fitted: the form for configuration files.
///
/// Tagged by `step` in kebab-case; unknown keys are errors. A step that is fitted takes `fit`, see
/// [`FitBy`]. Any step takes `channels`, the names of
/// those that it runs on; the others pass by, and wait where the step holds rows back. A step that
/// makes as many channels as it takes puts them in their places; one that makes fewer or more puts
/// them behind the others.
///
/// ```
/// use preprocess::{Impute, ImputeMethod, StepConfig, ZScore};
///
/// let steps: Vec<StepConfig> = serde_json::from_str(
///     r#"[
///         { "step": "impute", "method": "previous" },
///         { "step": "z-score", "channels": ["ax", "ay"] }
///     ]"#,
/// )?;
/// assert_eq!(steps[0], Impute::by(ImputeMethod::Previous).into());
/// assert_eq!(steps[1], StepConfig::from(ZScore {}).on(["ax", "ay"]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepConfig {
    /// Which step, and its options.
    #[serde(flatten)]
    pub kind: StepKind,
    /// The names of the channels it runs on; all where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// Whose rows it is fitted on.
    #[serde(default, skip_serializing_if = "FitBy::is_shared")]
    pub fit: FitBy,
}

impl<T: Into<StepKind>> From<T> for StepConfig {
    fn from(kind: T) -> Self {
        Self { kind: kind.into(), channels: None, fit: FitBy::Shared }
    }
}

impl StepConfig {
    /// The same step on some channels only.
    #[must_use]
    pub fn on<S: Into<String>>(self, channels: impl IntoIterator<Item = S>) -> Self {
        Self { channels: Some(channels.into_iter().map(Into::into).collect()), ..self }
    }

    /// The same step, fitted by each node for itself.
    #[must_use]
    pub fn by_node(self) -> Self {
        Self { fit: FitBy::Node, ..self }
    }

    /// The tag, as in a configuration file.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether the step works on windows, not on rows.
    pub fn is_per_window(&self) -> bool {
        self.kind.is_per_window()
    }

    /// Whether one row comes out for each that goes in.
    pub fn keeps_rows(&self) -> bool {
        self.kind.keeps_rows()
    }

    /// The places of the channels that it runs on.
    pub(crate) fn places(&self, input: &Stage) -> Result<Option<Vec<usize>>, Error> {
        let Some(names) = &self.channels else { return Ok(None) };
        let place = |name: &String| {
            input.names.iter().position(|known| known == name).ok_or_else(|| {
                Error::UnknownChannel {
                    step: self.name(),
                    channel: name.clone(),
                    known: listed(&input.names),
                }
            })
        };
        names.iter().map(place).collect::<Result<Vec<_>, _>>().map(Some)
    }
}

/// One fitted step: a [`StepConfig`] with its parameters, as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedStep {
    /// Which step, its options and parameters.
    #[serde(flatten)]
    pub kind: FittedKind,
    /// The places of the channels that it runs on, from 0; all where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<usize>>,
    /// Whose rows it is fitted on.
    #[serde(default, skip_serializing_if = "FitBy::is_shared")]
    pub fit: FitBy,
}

impl FittedStep {
    /// The step without its parameters, with the names that channels have where it stands.
    pub fn config(&self, input: &Stage) -> StepConfig {
        let name = |&place: &usize| input.names[place].clone();
        let channels = self.channels.as_ref().map(|places| places.iter().map(name).collect());
        StepConfig { kind: self.kind.kind(), channels, fit: self.fit }
    }

    /// A step without values, on the channels in these places or on all.
    pub(crate) fn unfitted(config: &StepConfig, channels: Option<Vec<usize>>) -> Self {
        let kind = FittedKind::Unfitted(Unfitted { of: config.kind.clone() });
        Self { kind, channels, fit: config.fit }
    }

    /// The same step without values, if each node fits it for itself.
    pub(crate) fn shared(&self) -> Self {
        let of = || Unfitted { of: self.kind.kind() };
        match self.fit {
            FitBy::Shared => self.clone(),
            FitBy::Node => Self { kind: FittedKind::Unfitted(of()), ..self.clone() },
        }
    }

    /// Whether it has values, or needs none.
    pub fn is_fitted(&self) -> bool {
        !matches!(self.kind, FittedKind::Unfitted(_))
    }

    /// What the step itself gets of the channels that come in.
    pub(crate) fn inner(&self, input: &Stage) -> Result<Stage, Error> {
        let Some(places) = &self.channels else { return Ok(input.clone()) };
        let step = self.kind.kind().name();
        let list = |found: &str| Err(Error::ChannelList { step, found: found.to_owned() });
        let mut seen = vec![false; input.channels()];
        for &place in places {
            match seen.get_mut(place) {
                None => {
                    return Err(Error::UnknownChannel {
                        step,
                        channel: place.to_string(),
                        known: listed(&input.names),
                    });
                }
                Some(true) => return list(&format!("has {:?} twice", input.names[place])),
                Some(seen) => *seen = true,
            }
        }
        if places.is_empty() {
            return list("is empty");
        }
        if !self.kind.kind().keeps_rows() {
            return Err(Error::NotForSome { step });
        }
        let names = places.iter().map(|&place| input.names[place].clone()).collect();
        Ok(Stage { names, rate_hz: input.rate_hz })
    }

    /// Checks options and parameters against what comes in, and says what goes out.
    pub(crate) fn check(&self, input: &Stage) -> Result<Stage, Error> {
        let inner = self.inner(input)?;
        let kind = self.kind.kind();
        let made = kind.plan(&inner)?;
        self.fit.check(&kind)?;
        if !self.is_fitted() && self.fit == FitBy::Shared {
            return Err(Error::Fit { step: kind.name(), reason: "it has no values".to_owned() });
        }
        self.kind.check(&inner)?;
        let Some(places) = &self.channels else { return Ok(made) };
        let mut output = input.clone();
        if made.channels() == places.len() {
            for (&place, name) in places.iter().zip(made.names) {
                output.names[place] = name;
            }
        } else {
            let kept = (0..input.channels()).filter(|place| !places.contains(place));
            output.names = kept.map(|place| input.names[place].clone()).chain(made.names).collect();
        }
        Ok(output)
    }

    /// The step at the start of a series; `input` and the step passed [`check`](Self::check).
    pub(crate) fn start(&self, input: &Stage) -> Box<dyn Step> {
        match &self.channels {
            None => self.kind.start(input),
            Some(places) => {
                let names = places.iter().map(|&place| input.names[place].clone()).collect();
                let inner = self.kind.start(&Stage { names, rate_hz: input.rate_hz });
                Box::new(OnChannels::new(inner, places, input.channels()))
            }
        }
    }

    /// What takes values of the channels that come in back; the step passed [`check`](Self::check).
    pub(crate) fn undo(&self, input: &Stage) -> Undo {
        let Some(places) = &self.channels else { return self.kind.undo(input) };
        let names = places.iter().map(|&place| input.names[place].clone()).collect();
        let inner = Stage { names, rate_hz: input.rate_hz };
        let values = match self.kind.undo(&inner) {
            Undo::Values(values) => values,
            other => return other,
        };
        let mut all = vec![Back::SAME; input.channels()];
        for (&place, back) in places.iter().zip(values) {
            all[place] = back;
        }
        Undo::Values(all)
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, … ({} in all)", names.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::STEP_NAMES;
    use crate::{Impute, ImputeMethod, MinMax, RobustScale, WindowNormalize, ZScore};

    fn parse(json: &str) -> Result<StepConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_tag_parses_and_round_trips() {
        let min_max = MinMax { low: 0.0, high: 1.0 };
        for (json, expected) in [
            (r#"{"step":"z-score"}"#, StepConfig::from(ZScore {})),
            (r#"{"step":"robust-scale"}"#, RobustScale {}.into()),
            (r#"{"step":"min-max"}"#, min_max.into()),
            (r#"{"step":"impute","method":"median"}"#, Impute::by(ImputeMethod::Median).into()),
            (r#"{"step":"window-normalize"}"#, WindowNormalize::default().into()),
            (r#"{"step":"z-score","channels":["a"]}"#, StepConfig::from(ZScore {}).on(["a"])),
        ] {
            assert_eq!(parse(json).unwrap(), expected);
            assert!(json.contains(expected.name()) && STEP_NAMES.contains(&expected.name()));
            let again = serde_json::to_string(&expected).unwrap();
            assert_eq!(parse(&again).unwrap(), expected);
        }
    }

    #[test]
    fn unknown_keys_are_refused_even_without_options() {
        for json in [
            r#"{"step":"z-score","method":"mean"}"#,
            r#"{"step":"impute","methode":"mean"}"#,
            r#"{"step":"impute"}"#,
            r#"{"step":"min-max","lo":0}"#,
            r#"{"step":"zscore"}"#,
            r#"{"step":"z-score","channel":["a"]}"#,
        ] {
            assert!(parse(json).is_err(), "{json}");
        }
    }
}
