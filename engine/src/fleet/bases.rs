//! The models that the updates of a round may have started from: in asynchronous rounds also those of rounds before.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use aggregate::{Differences, WeightFile};
use anyhow::{Context, ensure};
use rounds::{BlobRef, Board, Hash, Plan};

use super::member::{MOST_MODEL, read_model};

/// How many rounds before an update may have started, where the job does not say it.
const USUAL_AGE: u32 = 20;

/// The most: so many plans are read in every round.
const MOST_AGE: u64 = 100;

/// How many rounds before an update may have started in a job: none where its rules take no late updates.
pub(super) fn max_age(board: &Board<'_>, folder: &Path) -> anyhow::Result<Option<u32>> {
    let (model, _) = read_model(&board.blob(&board.job().model, MOST_MODEL)?, folder)?;
    let rules = &model.meta.run.federation().rules;
    let most = rules.max_age.map_or(USUAL_AGE, |age| age.min(MOST_AGE) as u32);
    Ok(rules.reduce.reads_older_bases().then_some(most))
}

/// The models that count in a round, by the rounds that started from them.
#[derive(Debug)]
pub(super) struct Bases<'a> {
    board: &'a Board<'a>,
    folder: PathBuf,
    by_round: BTreeMap<u32, BlobRef>,
    /// The last one that updates were made differences of, which is in memory.
    open: RefCell<Option<(Hash, Rc<Differences>)>>,
}

impl<'a> Bases<'a> {
    /// Those of a plan; files of models are put into a folder when they are needed.
    pub(super) fn of(board: &'a Board<'a>, plan: &Plan, folder: PathBuf) -> anyhow::Result<Self> {
        let mut by_round = BTreeMap::from([(plan.round, plan.base)]);
        let oldest = plan.round.saturating_sub(plan.max_age.unwrap_or(0)).max(1);
        for round in oldest..plan.round {
            let older = board.plan(round)?.map(|plan| plan.body.base);
            by_round.insert(
                round,
                older.with_context(|| {
                    format!("the plan of round {round} is not in the store any more")
                })?,
            );
        }
        Ok(Self { board, folder, by_round, open: RefCell::default() })
    }

    /// Hashes of those of rounds before.
    pub(super) fn older(&self) -> BTreeSet<Hash> {
        self.by_round.values().map(|base| base.hash).collect()
    }

    /// How many rounds before the plan's an update started, by its own word, which has to fit.
    pub(super) fn age(&self, started: u32, base: Hash) -> anyhow::Result<u32> {
        let of_round = self.by_round.get(&started).map(|base| base.hash);
        let (last, now) = self.by_round.last_key_value().context("no base")?;
        ensure!(
            of_round == Some(base),
            "it says that it started in round {started} from {base}, this round from {}",
            now.hash
        );
        Ok(last - started)
    }

    /// What differences to a model are made updates with.
    pub(super) fn differences(&self, base: Hash) -> anyhow::Result<Rc<Differences>> {
        if let Some((hash, open)) = &*self.open.borrow()
            && *hash == base
        {
            return Ok(Rc::clone(open));
        }
        let made = Rc::new(Differences::of_base(WeightFile::open(&self.file(base)?)?)?);
        *self.open.borrow_mut() = Some((base, Rc::clone(&made)));
        Ok(made)
    }

    /// The file of a model.
    pub(super) fn file(&self, base: Hash) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("base-{base}.safetensors"));
        if !path.exists() {
            let wanted =
                self.by_round.values().find(|of| of.hash == base).context("no such base")?;
            let bytes = self.board.blob(wanted, MOST_MODEL)?;
            fs::write(&path, &bytes).with_context(|| format!("{}", path.display()))?;
        }
        Ok(path)
    }
}
