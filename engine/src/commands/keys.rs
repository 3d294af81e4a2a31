//! `edgectl keys`: keys, and rosters of them.

use std::path::{Path, PathBuf};

use aggregate::{Targets, atomic_write};
use anyhow::{Context, anyhow, ensure};
use rounds::{NodeId, PublicKey, Roster, SecretKey};
use serde::Serialize;

use crate::cli::KeysCommand;
use crate::output::{Output, shown};

#[derive(Serialize)]
struct NewReport {
    out: String,
    public: String,
    key: PublicKey,
}

#[derive(Serialize)]
struct RosterReport {
    out: String,
    nodes: usize,
    revoked: usize,
}

/// `edgectl keys`.
pub(super) fn run(command: &KeysCommand, output: Output) -> anyhow::Result<()> {
    match command {
        KeysCommand::New { out } => new(out, output),
        KeysCommand::Roster { keys, out } => roster(keys, out, output),
    }
}

fn new(out: &Path, output: Output) -> anyhow::Result<()> {
    let is_public = out.extension().is_some_and(|end| end == "pub");
    ensure!(!is_public, "{}: a secret key's name may not end in .pub", out.display());
    // Other dots are part of the name.
    let public = match out.extension() {
        Some(end) if end == "key" => out.with_extension("pub"),
        _ => PathBuf::from(format!("{}.pub", out.display())),
    };
    ensure!(
        !public.exists(),
        "{}: is there already and is not replaced; choose another name",
        public.display()
    );
    let key = SecretKey::generate()?;
    key.write(out)?;
    key.public().write(&public)?;
    let report = NewReport {
        out: out.display().to_string(),
        public: public.display().to_string(),
        key: key.public(),
    };
    let text = format!(
        "{}: a secret key; it stays where it is\n{}: its public half, {}, for those who check what it signs",
        shown(&report.out),
        shown(&report.public),
        report.key
    );
    output.result(&report, &text)
}

fn roster(keys: &[PathBuf], out: &Path, output: Output) -> anyhow::Result<()> {
    let mut targets = Targets::default();
    targets.add(out)?;
    let mut roster = Roster::default();
    for path in keys {
        targets.protect(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let node: NodeId = name.parse().with_context(|| format!("{}", path.display()))?;
        let before = roster.nodes.insert(node, PublicKey::read(path)?);
        ensure!(before.is_none(), "{}: there are two keys of this name", path.display());
    }
    if out.exists() {
        roster.revoked = Roster::read(out).context("what is there is not replaced")?.revoked;
    }
    roster.check().map_err(|problem| anyhow!("{}: {problem}", out.display()))?;
    atomic_write(out, roster.to_toml().as_bytes())?;
    let report = RosterReport {
        out: out.display().to_string(),
        nodes: roster.nodes.len(),
        revoked: roster.revoked.len(),
    };
    let revoked = if report.revoked > 0 {
        format!(", {} of them revoked", report.revoked)
    } else {
        String::new()
    };
    let text = format!("{}: a roster of {} nodes{revoked}", shown(&report.out), report.nodes);
    output.result(&report, &text)
}
