//! `edgectl presign`: URLs for a node without a key of the store.

use anyhow::Context;
use rounds::{Board, Presign, PublicKey};
use serde::Serialize;

use super::stores::open_once;
use crate::cli::{PresignArgs, Span};
use crate::fleet::now_ms;
use crate::output::{Output, shown};

#[derive(Serialize)]
struct Report<'a> {
    store: &'a str,
    job: &'a str,
    node: &'a str,
    rounds: (u32, u32),
    /// Milliseconds since 1970 (UTC).
    expires: u64,
    out: String,
    /// What everybody can read, and should not.
    warning: Option<String>,
}

pub(super) fn run(args: &PresignArgs, output: Output) -> anyhow::Result<()> {
    let center = PublicKey::read(&args.center)?;
    let store = open_once(&args.at.store, args.at.ca.as_deref(), output)?;
    let board = Board::open(&store, center)?.with_context(|| {
        format!("{}: no job has begun here; start the center first", store.url())
    })?;
    let span = args.rounds.unwrap_or(Span { first: 1, last: board.job().rounds });
    let wanted = Presign {
        node: args.id.clone(),
        rounds: span.first..=span.last,
        lasts: args.expires,
        now: now_ms(),
    };
    let (urls, warning) = board.presign(&wanted, args.at.ca.as_deref())?;
    urls.write(&args.out)?;
    if let Some(warning) = &warning {
        output.warn(warning);
    }
    let report = Report {
        store: store.url(),
        job: &urls.job,
        node: urls.node.as_str(),
        rounds: urls.rounds,
        expires: urls.expires,
        out: args.out.display().to_string(),
        warning,
    };
    let text = format!(
        "{}: URLs by which {} sends its updates of rounds {} to {}, for {}; keep it as a key",
        shown(&report.out),
        report.node,
        span.first,
        span.last,
        humantime::format_duration(args.expires)
    );
    output.result(&report, &text)
}
