//! Stores as commands open them, and `edgectl store`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use rounds::{Hear, Patience, Store, StoreCheck};
use serde::Serialize;

use crate::cli::{StoreArgs, StoreCommand};
use crate::interrupt::Stop;
use crate::output::{Output, shown};

/// A command that looks once does not wait longer.
const ONCE: Duration = Duration::from_secs(30);

/// Tells people that a store does not answer.
struct Waiting {
    output: Output,
    url: String,
    /// Whether a signal ends the waiting; else it ends the process.
    stop: Option<Stop>,
}

impl Hear for Waiting {
    fn waiting(&self, problem: &str) {
        self.output.warn(&format!("{} does not answer, trying on: {problem}", self.url));
    }

    fn answers(&self) {
        self.output.warn(&format!("{} answers again", self.url));
    }

    fn stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.now().is_some())
    }
}

/// Opens a store for a service, which waits for it as long as it takes.
pub(super) fn open_for_service(
    at: &StoreArgs,
    stop: Stop,
    output: Output,
) -> anyhow::Result<Store> {
    open(&at.store, at.ca.as_deref(), (Duration::MAX, Some(stop)), output)
}

/// Opens a store to look at it once.
pub(super) fn open_once(url: &str, ca: Option<&Path>, output: Output) -> anyhow::Result<Store> {
    open(url, ca, (ONCE, None), output)
}

fn open(
    url: &str,
    ca: Option<&Path>,
    (most, stop): (Duration, Option<Stop>),
    output: Output,
) -> anyhow::Result<Store> {
    let hear = Arc::new(Waiting { output, url: url.to_owned(), stop });
    Ok(Store::open(url, ca, Patience { most, hear })?)
}

#[derive(Serialize)]
struct Report<'a> {
    store: &'a str,
    fit: bool,
    checks: &'a [StoreCheck],
}

/// `edgectl store`.
pub(super) fn run(command: &StoreCommand, output: Output) -> anyhow::Result<()> {
    let StoreCommand::Check { store: url, ca } = command;
    Store::make_folder(url)?;
    let store = open_once(url, ca.as_deref(), output)?;
    let name = getrandom::u64().map_err(|error| anyhow!("no random numbers: {error}"))?;
    let name = format!("{name:016x}");
    let checks = store.check(&name)?;
    let problems = checks.iter().filter(|check| check.problem.is_some()).count();
    let lines: Vec<String> = checks
        .iter()
        .map(|check| match &check.problem {
            None => format!("yes  {}", check.what),
            Some(problem) => format!("NO   {}: {problem}", check.what),
        })
        .collect();
    let verdict = if problems == 0 { "rounds can run on it" } else { "rounds must not run on it" };
    let text = format!("{}: {verdict}\n\n{}", shown(url), lines.join("\n"));
    output.result(&Report { store: url, fit: problems == 0, checks: &checks }, &text)?;
    if problems > 0 {
        bail!("{url}: {problems} of {} checks failed; use another store", checks.len());
    }
    Ok(())
}
