//! Who may take part: the operator's file, read anew for every plan.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use rounds::Roster;

use super::clock::pause;
use crate::interrupt::Stop;

/// After how long a roster that is none is read again.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads who counts.
///
/// # Errors
/// If the file is no roster, nobody in it counts, or fewer than the quorum.
pub fn check_roster(path: &Path, quorum: Option<u32>) -> anyhow::Result<Roster> {
    let roster = Roster::read(path)?.counting();
    let nodes = roster.nodes.len();
    ensure!(nodes > 0, "{}: every node is revoked", path.display());
    ensure!(
        quorum.is_none_or(|quorum| quorum as usize <= nodes),
        "{}: {nodes} nodes count, and --quorum asks for {}",
        path.display(),
        quorum.unwrap_or_default()
    );
    Ok(roster)
}

/// The file may be half written at the moment: it is read until it is a roster; nothing if it was stopped. Hears once
/// what is wrong.
pub(super) fn wait_for_roster(
    (path, quorum): (&Path, Option<u32>),
    stop: Stop,
    problem: &mut dyn FnMut(&str),
) -> Option<Roster> {
    let mut told = false;
    loop {
        match check_roster(path, quorum) {
            Ok(roster) => return Some(roster),
            Err(error) if !told => problem(&format!("{error:#}")),
            Err(_) => {}
        }
        told = true;
        if pause(AGAIN, stop).is_some() {
            return None;
        }
    }
}
