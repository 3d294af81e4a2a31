//! `edgectl replay`: plays recordings at their pace.

use std::io::{self, BufWriter};

use anyhow::{anyhow, ensure};

use crate::cli::ReplayArgs;
use crate::data::{DataConfig, Dataset};
use crate::interrupt::Stop;
use crate::job::{Job, Time};
use crate::live::{Play, Shift, To, play, target};
use crate::output::{Output, table};

pub(super) fn run(args: &ReplayArgs, output: Output) -> anyhow::Result<()> {
    if let Some(hz) = args.hz {
        ensure!((1e-6..=1e9).contains(&hz), "--hz {hz}: give rows a second, above 0");
    }
    let to: To = args.to.parse().map_err(|reason| anyhow!("--to {:?}: {reason}", args.to))?;
    let shift = args.shift.as_deref().map(str::parse::<Shift>).transpose();
    let how = Play {
        speed: args.speed.0,
        hz: args.hz,
        series: args.series.clone(),
        together: args.together,
        again: args.again,
        shift: shift.map_err(|reason: String| anyhow!("--shift: {reason}"))?,
        labels: args.labels.map(|Time(time)| time),
    };
    let config = match &args.config {
        Some(path) => Job::read(path)?.data,
        None => DataConfig::default(),
    };
    let stop = Stop::new(None);
    let data = Dataset::read(&args.data, &config, None)?;
    let mut to = target(&to, BufWriter::new(Output::answers()))?;
    let played = match play(&data, &how, &mut *to, &stop) {
        Ok(played) => played,
        // Whoever read it has gone.
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let lines = [
        ("rows", played.rows.to_string()),
        ("classes told", played.labels.to_string()),
        ("lines not taken", played.lost.to_string()),
        ("latest", format!("{:.3} s", played.latest_s)),
    ];
    let lines: Vec<_> =
        lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output.summary(&played, &table(&["what", "value"], &lines))
}

/// Whether whoever takes the lines has gone.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
