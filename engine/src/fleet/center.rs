//! The center: asks for rounds, collects, merges, and publishes. All that it knows is in the store.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aggregate::SERVER_STATE;
use anyhow::{Context, ensure};
use rounds::{BlobRef, Checked, Closed, Desk, Encoding, NodeId, Outcome, Plan, Roster, Verdict};

use super::bases::{Bases, max_age};
use super::clock::now_ms;
use super::collect::{Arrivals, Collected, Until, collect};
use super::member::MOST_MODEL;
use super::merged::{Made, Measure, merged};
use super::parent::Parent;
use super::roster::wait_for_roster;
use super::sound::{is_stopped, short};
use super::standing::is_worse;
use crate::checkpoint::{CappedNote, Checkpoint};
use crate::interrupt::Stop;

/// How a center works.
#[derive(Clone, Copy)]
pub struct CenterOptions<'a> {
    /// The file of who may take part, read anew for every plan.
    pub roster: &'a Path,
    /// With how many updates a round closes at its deadline; all where none is given.
    pub quorum: Option<u32>,
    /// How long nodes have.
    pub deadline: Duration,
    /// After how long a plan stands for nothing.
    pub expiry: Duration,
    /// How much accuracy a merged model may lose, if there are rows to measure it on.
    pub max_drop: Option<f64>,
    /// How updates are to be sent.
    pub encoding: Encoding,
    /// How often the store is asked for what has come.
    pub poll: Duration,
    /// How good a model is on the center's rows, if it has any.
    pub measure: Option<Measure<'a>>,
    /// When to stop early.
    pub stop: Stop,
}

/// Hears how it goes.
pub trait CenterProgress {
    /// A round was asked for.
    fn asked(&mut self, plan: &Plan);
    /// A round is open that was asked for before, by this center or another one: what was asked then stands.
    fn stands(&mut self, plan: &Plan);
    /// The roster cannot be read, and is tried again.
    fn no_roster(&mut self, problem: &str);
    /// An update came, and counts or does not.
    fn arrived(&mut self, verdict: &Verdict);
    /// An update that came before was found not to count when it was to be merged.
    fn not_counted(&mut self, verdict: &Verdict);
    /// The deadline is over, and fewer than the quorum are there.
    fn waits(&mut self, there: usize, quorum: usize);
    /// These count less than they say.
    fn capped(&mut self, capped: &[CappedNote]);
    /// A round was closed, by this center or by another one.
    fn closed(&mut self, outcome: &Outcome, ours: bool);
}

struct Heard<'a>(&'a mut dyn CenterProgress);

impl Arrivals for Heard<'_> {
    fn arrived(&mut self, verdict: &Verdict) {
        self.0.arrived(verdict);
    }

    fn waits(&mut self, there: usize, quorum: usize) {
        self.0.waits(there, quorum);
    }
}

/// Runs the rounds of a job that are still open; the outcome of the last one that is closed, and whether all are.
///
/// # Errors
/// If the store fails, the roster is none, or a file of this machine cannot be written.
pub fn run_center(
    desk: &Desk<'_>,
    options: &CenterOptions<'_>,
    progress: &mut dyn CenterProgress,
) -> anyhow::Result<(Option<Outcome>, bool)> {
    let board = desk.board();
    let rounds = board.job().rounds;
    let mut last = board.last_outcome(0)?;
    ensure!(
        !Parent::is_regions(board)?,
        "this is the store of a region: start its center with --parent, as before"
    );
    let work = tempfile::tempdir().context("a folder for temporary files")?;
    let max_age = max_age(board, work.path())?;
    loop {
        let done = last.as_ref().map_or(0, |last| last.body.round);
        if done >= rounds {
            return Ok((last.map(|last| last.body), true));
        }
        let folder = work.path();
        let round = Round { desk, options, number: done + 1, last: last.as_ref(), max_age, folder };
        let closed = match options.stop.now() {
            Some(_) => None,
            None => match round.run(progress) {
                Err(error) if is_stopped(&error) => None,
                closed => closed?,
            },
        };
        let Some((closed, ours)) = closed else {
            return Ok((last.map(|last| last.body), false));
        };
        progress.closed(&closed.body, ours);
        last = Some(closed);
    }
}

fn outcome(desk: &Desk<'_>, round: u32) -> anyhow::Result<Checked<Outcome>> {
    desk.board()
        .outcome(round)?
        .with_context(|| format!("the result of round {round} is not in the store any more"))
}

/// One round.
pub(super) struct Round<'a> {
    pub(super) desk: &'a Desk<'a>,
    pub(super) options: &'a CenterOptions<'a>,
    pub(super) number: u32,
    pub(super) last: Option<&'a Checked<Outcome>>,
    /// In asynchronous rounds, how many rounds before an update may have started.
    pub(super) max_age: Option<u32>,
    /// For temporary files.
    pub(super) folder: &'a Path,
}

/// Where the files of a round are put.
const UPDATES: &str = "updates";

impl Round<'_> {
    /// Asks, collects, merges and closes; nothing if it was stopped. Also whether this center closed it.
    fn run(
        &self,
        progress: &mut dyn CenterProgress,
    ) -> anyhow::Result<Option<(Checked<Outcome>, bool)>> {
        let board = self.desk.board();
        let Some(plan) = self.plan(progress)? else { return Ok(None) };
        progress.asked(&plan.body);
        let global = self.folder.join("global.safetensors");
        let (base, memory, _) = self.before();
        self.restore(&global, base, memory)?;
        let bases = self.bases(&plan.body)?;
        let roster = board.roster(&plan.body)?;
        let mut collected = Collected::default();
        let made = loop {
            match self.gather((&plan, &roster), &bases, &mut Heard(progress), &mut collected)? {
                Until::Stopped | Until::Over => return Ok(None),
                Until::ClosedElsewhere => {
                    return Ok(Some((outcome(self.desk, self.number)?, false)));
                }
                Until::Expired => break None,
                Until::Enough => {}
            }
            let rules = Checkpoint::read(&global)?.meta.run.federation().rules.clone();
            let there: Vec<NodeId> = collected.files.keys().cloned().collect();
            let how = (self.folder, self.options.measure);
            let made = merged(how, plan.body.quorum, (&global, &bases, rules), &mut collected)?;
            for name in there.iter().filter(|name| !collected.files.contains_key(*name)) {
                collected.verdicts.get(name).into_iter().for_each(|v| progress.not_counted(v));
            }
            // Some do not count: others may still come.
            let is_short = collected.files.len() < plan.body.quorum as usize;
            if !is_short || collected.is_all(&roster) {
                break Some(made);
            }
        };
        let outcome = self.outcome(&plan, made, &global, &mut collected)?;
        progress.capped(&collected.capped);
        Ok(Some(match self.desk.close(&outcome)? {
            Closed::Ours(outcome) => (outcome, true),
            Closed::Before(outcome) => (outcome, false),
        }))
    }

    /// The models that updates of a round may start from, where its files are put; none of those of a round before stays.
    pub(super) fn bases(&self, plan: &Plan) -> anyhow::Result<Bases<'_>> {
        let updates = self.folder.join(UPDATES);
        if updates.exists() {
            fs::remove_dir_all(&updates).with_context(|| format!("{}", updates.display()))?;
        }
        let models = updates.join("bases");
        fs::create_dir_all(&models).with_context(|| format!("{}", models.display()))?;
        Bases::of(self.desk.board(), plan, models)
    }

    /// Waits for the updates of a round.
    pub(super) fn gather(
        &self,
        (plan, roster): (&Checked<Plan>, &Roster),
        bases: &Bases<'_>,
        heard: &mut dyn Arrivals,
        collected: &mut Collected,
    ) -> anyhow::Result<Until> {
        let (poll, stop) = (self.options.poll, self.options.stop);
        // A node's file may hold a control variate beside the weights, and its own metadata.
        let most = 4 * plan.body.base.bytes + (1 << 20);
        let updates = self.folder.join(UPDATES);
        let to = (updates.as_path(), bases);
        collect(self.desk, plan, roster, to, (poll, most, stop), heard, collected)
    }

    /// What the last round left: the model, what the center remembers, and the document.
    pub(super) fn before(&self) -> (BlobRef, Option<BlobRef>, rounds::Hash) {
        match self.last {
            Some(last) => (last.body.model, last.body.memory, last.hash),
            None => (self.desk.board().job().model, None, self.desk.board().job_hash()),
        }
    }

    /// The plan that is there, or a new one; nothing if it was stopped.
    pub(super) fn plan(
        &self,
        progress: &mut dyn CenterProgress,
    ) -> anyhow::Result<Option<Checked<Plan>>> {
        let (base, _, previous) = self.before();
        let plan = match self.desk.board().plan(self.number)? {
            Some(plan) => {
                progress.stands(&plan.body);
                plan
            }
            None => match self.new_plan(base, previous, progress)? {
                Some(plan) => plan,
                None => return Ok(None),
            },
        };
        ensure!(
            plan.body.previous == previous && plan.body.base == base,
            "the plan of round {} does not follow from what is before it; somebody has removed or put back objects of this store",
            self.number
        );
        Ok(Some(plan))
    }

    fn new_plan(
        &self,
        base: BlobRef,
        previous: rounds::Hash,
        progress: &mut dyn CenterProgress,
    ) -> anyhow::Result<Option<Checked<Plan>>> {
        let CenterOptions { roster, quorum, stop, .. } = *self.options;
        let no_roster = &mut |problem: &str| progress.no_roster(problem);
        let Some(roster) = wait_for_roster((roster, quorum), stop, no_roster) else {
            return Ok(None);
        };
        let nodes = u32::try_from(roster.nodes.len()).context("the roster")?;
        let quorum = quorum.unwrap_or(nodes);
        let issued = now_ms();
        let after = |time: Duration| {
            issued.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        let plan = Plan {
            job: self.desk.board().job().job.clone(),
            round: self.number,
            previous,
            base,
            roster: self.desk.publish_roster(&roster)?,
            nodes,
            quorum,
            issued,
            deadline: after(self.options.deadline),
            expires: after(self.options.expiry.max(self.options.deadline)),
            encoding: self.options.encoding,
            max_age: self.max_age,
        };
        Ok(Some(self.desk.publish_plan(&plan)?))
    }

    /// Says what becomes of what was made of a round's updates; of nothing where too few came in time.
    fn outcome(
        &self,
        plan: &Checked<Plan>,
        made: Option<Result<Made, String>>,
        global: &Path,
        collected: &mut Collected,
    ) -> anyhow::Result<Outcome> {
        let (base, memory, _) = self.before();
        let mut outcome = Outcome {
            job: plan.body.job.clone(),
            round: self.number,
            previous: plan.hash,
            model: base,
            memory,
            refused: None,
            updates: Vec::new(),
            metrics: None,
            standing: self.last.and_then(|last| last.body.standing),
            closed: 0,
        };
        let (there, quorum) = (collected.files.len(), plan.body.quorum as usize);
        if outcome.standing.is_none()
            && let Some(measure) = self.options.measure
        {
            outcome.standing = Some(measure(&Checkpoint::read(global)?)?);
        }
        match made {
            None => outcome.refused = Some(format!("{there} updates, and the quorum is {quorum}")),
            Some(Err(problem)) => outcome.refused = Some(short(&problem)),
            Some(Ok(made)) => {
                outcome.metrics = made.metrics;
                // Those of before may be of other rows.
                let same_rows = made.metrics.map(|m| m.n) == outcome.standing.map(|m| m.n);
                if !same_rows && let Some(measure) = self.options.measure {
                    outcome.standing = Some(measure(&Checkpoint::read(global)?)?);
                }
                outcome.refused = is_worse(made.metrics, outcome.standing, self.options.max_drop);
                if outcome.refused.is_none() {
                    outcome.model = self.desk.publish(&made.model)?;
                    outcome.memory =
                        made.memory.map(|bytes| self.desk.publish(&bytes)).transpose()?;
                    outcome.standing = made.metrics;
                }
            }
        }
        outcome.updates = std::mem::take(&mut collected.verdicts).into_values().collect();
        outcome.closed = now_ms();
        Ok(outcome)
    }

    /// Puts a model and what the center remembers where a merge looks for them.
    pub(super) fn restore(
        &self,
        global: &Path,
        base: BlobRef,
        memory: Option<BlobRef>,
    ) -> anyhow::Result<()> {
        let board = self.desk.board();
        let write = |path: &Path, bytes: &[u8]| {
            fs::write(path, bytes).with_context(|| format!("{}", path.display()))
        };
        write(global, &board.blob(&base, MOST_MODEL)?)?;
        let state = SERVER_STATE.path(global);
        match memory {
            Some(memory) => write(&state, &board.blob(&memory, MOST_MODEL)?)?,
            None if state.exists() => {
                fs::remove_file(&state).with_context(|| format!("{}", state.display()))?;
            }
            None => {}
        }
        Ok(())
    }
}
