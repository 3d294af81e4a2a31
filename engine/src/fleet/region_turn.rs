//! One round of a region: ask as the parent asks, merge, send up, and close with what the parent makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use aggregate::WeightFile;
use anyhow::Context;
use rounds::{Checked, Closed, Desk, Memory, NodeId, Outcome, Plan, Verdict, Work};

use super::bases::Bases;
use super::center::{CenterOptions, Round};
use super::clock::{now_ms, pause};
use super::collect::{Arrivals, Collected, Until};
use super::composes::region_rules;
use super::ear::{Ear, doubt};
use super::member::MOST_MODEL;
use super::merged::merged;
use super::parent::Parent;
use super::sound::short;
use crate::checkpoint::{Checkpoint, MergeNote, Provenance};

/// What is left of the time that a parent gives, for the nodes: the rest is for merging and sending.
const FOR_NODES: f64 = 0.9;

/// One round of a region.
pub(super) struct Turn<'a> {
    pub(super) desk: &'a Desk<'a>,
    pub(super) parent: Parent<'a>,
    pub(super) options: &'a CenterOptions<'a>,
    pub(super) last: Option<&'a Checked<Outcome>>,
    /// For temporary files.
    pub(super) folder: &'a Path,
}

/// A closed round, and whether this center closed it.
pub(super) type Done = (Checked<Outcome>, bool);

/// What a region had in a round.
struct Part {
    verdicts: BTreeMap<NodeId, Verdict>,
    /// Why it sent nothing, if it did not.
    nothing: Option<String>,
}

/// How a region's part in a round ended.
enum Ended {
    Part(Part),
    ClosedElsewhere,
    Stopped,
}

/// Hears of updates, and whether the parent still waits for this region.
struct Collects<'a, 'b> {
    turn: &'a Turn<'a>,
    asked: &'a Checked<Plan>,
    ear: &'a mut Ear<'b>,
    /// Whether the region has sent before.
    has_sent: bool,
}

impl Arrivals for Collects<'_, '_> {
    fn arrived(&mut self, verdict: &Verdict) {
        self.ear.progress.arrived(verdict);
    }

    fn waits(&mut self, there: usize, quorum: usize) {
        self.ear.progress.waits(there, quorum);
    }

    fn is_over(&mut self) -> anyhow::Result<bool> {
        Ok(self.has_sent || self.ear.or_none(self.turn.parent.outcome(self.asked))?.is_some())
    }
}

impl Turn<'_> {
    /// Takes part in a round of the parent, and closes it when that does; nothing if it was stopped.
    pub(super) fn run(&self, number: u32, ear: &mut Ear<'_>) -> anyhow::Result<Option<Done>> {
        let (own, parent) = (self.desk.board(), self.parent);
        let before = Parent::memory(own, self.last)?;
        if let Some(before) = &before {
            ear.or_none(parent.check_kept(before).map(Some))?;
        }
        let base = self.last.map_or(own.job().model, |last| last.body.model);
        let find = || parent.plan(number, before.as_ref(), &base);
        let Some(asked) = self.wait(ear, find)? else { return Ok(None) };
        // What was asked of nodes before is gone on with, whatever is now.
        let is_new = own.plan(number)?.is_none();
        let nothing = match ear.or_none(parent.outcome(&asked))? {
            Some(_) if is_new => {
                Some("the parent had closed it before this region came".to_owned())
            }
            None if is_new => self.not_asked(&asked)?,
            _ => None,
        };
        let part = match nothing {
            Some(_) => Part { verdicts: BTreeMap::new(), nothing },
            None => match self.take_part(number, &asked, ear)? {
                Ended::Part(part) => part,
                Ended::Stopped => return Ok(None),
                Ended::ClosedElsewhere => {
                    let missing = || format!("the result of round {number} is gone again");
                    return Ok(Some((own.outcome(number)?.with_context(missing)?, false)));
                }
            },
        };
        if let Some(nothing) = &part.nothing {
            ear.progress.stays_away(number, nothing);
        }
        let Some(above) = self.wait(ear, || parent.outcome(&asked))? else { return Ok(None) };
        let model = above.body.model;
        if model != base {
            let find = || parent.board.blob(&model, MOST_MODEL).map(Some);
            let Some(bytes) = self.wait(ear, find)? else { return Ok(None) };
            self.desk.publish(&bytes)?;
        }
        let memory = parent.remembered(before.as_ref(), &asked)?;
        self.close(number, (&above.body, &memory), part, ear)
    }

    /// Asks until something is there; nothing if it was stopped.
    fn wait<T, E: Into<anyhow::Error>>(
        &self,
        ear: &mut Ear<'_>,
        find: impl Fn() -> Result<Option<T>, E>,
    ) -> anyhow::Result<Option<T>> {
        loop {
            if let Some(found) = ear.or_none(find())? {
                return Ok(Some(found));
            }
            if pause(self.options.poll, self.options.stop).is_some() {
                return Ok(None);
            }
        }
    }

    /// Why the parent's plan does not ask this region, if it does not.
    fn not_asked(&self, asked: &Checked<Plan>) -> anyhow::Result<Option<String>> {
        doubt(self.parent.check(&asked.body)).map(Result::err)
    }

    fn round<'a>(&'a self, number: u32, options: &'a CenterOptions<'a>) -> Round<'a> {
        // Rules that take late updates are none of a region.
        let (max_age, folder) = (None, self.folder);
        Round { desk: self.desk, options, number, last: self.last, max_age, folder }
    }

    /// The region's own times, within those of its parent.
    fn within(&self, asked: &Plan) -> CenterOptions<'_> {
        let now = now_ms();
        let left = |until: u64| Duration::from_millis(until.saturating_sub(now)).mul_f64(FOR_NODES);
        let expiry = self.options.expiry.min(left(asked.expires));
        // A region that comes later has all time that is left: the round is still open.
        let deadline = match left(asked.deadline) {
            Duration::ZERO => expiry,
            deadline => deadline.min(expiry),
        };
        CenterOptions { deadline: self.options.deadline.min(deadline), expiry, ..*self.options }
    }

    /// Asks the nodes of the region, collects, merges and sends.
    fn take_part(
        &self,
        number: u32,
        asked: &Checked<Plan>,
        ear: &mut Ear<'_>,
    ) -> anyhow::Result<Ended> {
        let options = self.within(&asked.body);
        let round = self.round(number, &options);
        let Some(plan) = round.plan(ear.progress)? else { return Ok(Ended::Stopped) };
        ear.progress.asked(&plan.body);
        let global = self.folder.join("global.safetensors");
        round.restore(&global, plan.body.base, None)?;
        let earlier = match doubt(self.parent.sent(&asked.body))? {
            Ok(earlier) => earlier,
            Err(nothing) => {
                let part = Part { verdicts: BTreeMap::new(), nothing: Some(nothing) };
                return Ok(Ended::Part(part));
            }
        };
        let has_sent = earlier.is_some();
        let mut heard = Collects { turn: self, asked, ear: &mut *ear, has_sent };
        let bases = round.bases(&plan.body)?;
        let roster = self.desk.board().roster(&plan.body)?;
        let mut collected = Collected::default();
        let until = round.gather((&plan, &roster), &bases, &mut heard, &mut collected)?;
        let sent = match (until, earlier) {
            (Until::Stopped, _) => return Ok(Ended::Stopped),
            (Until::ClosedElsewhere, _) => return Ok(Ended::ClosedElsewhere),
            (_, Some(names)) => Ok(names),
            (Until::Over, None) => {
                Err(format!("the parent closed it with {} updates here", collected.files.len()))
            }
            (Until::Enough | Until::Expired, None) => {
                match self.update((asked, &plan), (&global, &bases), &mut collected)? {
                    Ok((update, work)) => {
                        let sent = doubt(self.parent.send(&asked.body, (&update, work)))?;
                        if let Ok(names) = &sent {
                            ear.sent = true;
                            ear.progress.sent(number, names.len(), work);
                        }
                        sent
                    }
                    Err(problem) => Err(problem),
                }
            }
        };
        ear.progress.capped(&collected.capped);
        let mut verdicts = collected.verdicts;
        if let Ok(names) = &sent {
            settle(&mut verdicts, names);
        }
        Ok(Ended::Part(Part { verdicts, nothing: sent.err() }))
    }

    /// The update of the region, as a node's, or why there is none.
    fn update(
        &self,
        (asked, plan): (&Checked<Plan>, &Checked<Plan>),
        (global, bases): (&Path, &Bases<'_>),
        collected: &mut Collected,
    ) -> anyhow::Result<Result<(Vec<u8>, Work), String>> {
        let (there, quorum) = (collected.files.len(), plan.body.quorum as usize);
        if there < quorum {
            return Ok(Err(format!("{there} updates, and the quorum is {quorum}")));
        }
        // Its time may be over by now.
        if let Some(problem) = self.not_asked(asked)? {
            return Ok(Err(problem));
        }
        let rules = region_rules(&Checkpoint::read(global)?.meta.run.federation().rules)?;
        let how = (self.folder, None);
        let made = match merged(how, plan.body.quorum, (global, bases, rules), collected)? {
            Ok(made) => made,
            Err(problem) => return Ok(Err(problem)),
        };
        let file = WeightFile::of_bytes("the merged model", made.model)?;
        let mut model = Checkpoint::of(&file)?;
        let provenance = self.as_a_node(std::mem::take(&mut model.meta.provenance), asked);
        let counts = |verdict: &&Verdict| verdict.refused.is_none();
        let works = collected.verdicts.values().filter(counts).filter_map(|verdict| verdict.work);
        let work = Work {
            examples: provenance.examples,
            steps: provenance.local_steps,
            partial: works.into_iter().any(|work| work.partial),
            speed: None,
            seconds: now_ms().saturating_sub(plan.body.issued) as f64 / 1000.0,
        };
        model.meta.set_provenance(provenance);
        let path = self.folder.join("update.safetensors");
        model.write(&path)?;
        let update = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Ok((update, work)))
    }

    /// Where the merged model comes from, in the words of a node: it weighs as many examples as there are below it. Names
    /// of nodes are those of this region, so that two regions may have nodes of one name.
    fn as_a_node(&self, merged: Provenance, asked: &Checked<Plan>) -> Provenance {
        let node = &self.parent.seat.node;
        let brief = |note| MergeNote {
            updates: Vec::new(),
            capped: Vec::new(),
            changes: Vec::new(),
            ..note
        };
        Provenance {
            node: Some(node.to_string()),
            round: asked.body.round - 1,
            base: Some(asked.body.base.hash.to_string()),
            partial: false,
            merged: merged.merged.iter().map(|name| format!("{node}/{name}")).collect(),
            // What is said of each node is in the region's result.
            merge: merged.merge.map(brief),
            ..merged
        }
    }

    /// Closes the round with the parent's model.
    fn close(
        &self,
        number: u32,
        (above, memory): (&Outcome, &Memory),
        part: Part,
        ear: &mut Ear<'_>,
    ) -> anyhow::Result<Option<Done>> {
        let own = self.desk.board();
        let over =
            CenterOptions { deadline: Duration::ZERO, expiry: Duration::ZERO, ..*self.options };
        let plan = match own.plan(number)? {
            Some(plan) => plan,
            // Nobody is asked any more.
            None => match self.round(number, &over).plan(ear.progress)? {
                Some(plan) => plan,
                None => return Ok(None),
            },
        };
        let mut verdicts = part.verdicts;
        let roster = own.roster(&plan.body)?;
        for node in own.committed(number)? {
            if roster.nodes.contains_key(&node) && !verdicts.contains_key(&node) {
                let refused = Some(TOO_LATE.to_owned());
                let late = Verdict { node, commit: None, refused, work: None, sent: None, age: 0 };
                verdicts.insert(late.node.clone(), late);
            }
        }
        let outcome = Outcome {
            job: own.job().job.clone(),
            round: number,
            previous: plan.hash,
            model: above.model,
            memory: Some(self.desk.publish(memory.to_json().as_bytes())?),
            refused: missing(part.nothing, above, &self.parent.seat.node),
            updates: verdicts.into_values().collect(),
            metrics: above.metrics,
            standing: above.standing,
            closed: now_ms(),
        };
        Ok(Some(match self.desk.close(&outcome)? {
            Closed::Ours(outcome) => (outcome, true),
            Closed::Before(outcome) => (outcome, false),
        }))
    }
}

/// What a region says of an update that is not in its own.
const TOO_LATE: &str = "not in what this region has sent: it came later";

/// Brings what is said of nodes in line with whose updates are in what the region has sent, maybe by another process.
fn settle(verdicts: &mut BTreeMap<NodeId, Verdict>, names: &BTreeSet<String>) {
    for (node, verdict) in verdicts {
        if names.contains(node.as_str()) {
            verdict.refused = None;
        } else if verdict.refused.is_none() {
            verdict.refused = Some(TOO_LATE.to_owned());
        }
    }
}

/// Why what this region learned is not in the parent's model, if it is not.
fn missing(nothing: Option<String>, above: &Outcome, region: &NodeId) -> Option<String> {
    let why = match (nothing, above.updates.iter().find(|update| update.node == *region)) {
        (Some(nothing), _) => Some(format!("nothing was sent to the parent: {nothing}")),
        (None, None) => Some("the parent closed it before the update came".to_owned()),
        (None, Some(verdict)) => {
            let refused = verdict.refused.as_ref();
            let refused = refused.map(|why| format!("the parent did not count the update: {why}"));
            let not_taken = || Some(format!("the parent refused it: {}", above.refused.as_ref()?));
            refused.or_else(not_taken)
        }
    };
    why.map(|why| short(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(node: &str, refused: Option<&str>) -> Verdict {
        let (node, refused) = (node.parse().expect("a name"), refused.map(str::to_owned));
        Verdict { node, commit: None, refused, work: None, sent: None, age: 0 }
    }

    #[test]
    fn what_became_of_a_regions_update_is_said() {
        let blob = rounds::BlobRef { hash: rounds::Hash::of(b""), bytes: 0 };
        let outcome = |updates: Vec<Verdict>, refused: Option<&str>| Outcome {
            job: String::new(),
            round: 1,
            previous: blob.hash,
            model: blob,
            memory: None,
            refused: refused.map(str::to_owned),
            updates,
            metrics: None,
            standing: None,
            closed: 0,
        };
        let region: NodeId = "east".parse().expect("a name");
        let of = |nothing: Option<&str>, above: &Outcome| {
            missing(nothing.map(str::to_owned), above, &region).unwrap_or_default()
        };
        let counted = vec![verdict("east", None), verdict("west", Some("late"))];
        assert_eq!(of(None, &outcome(counted.clone(), None)), "");
        let worse = outcome(counted.clone(), Some("worse"));
        assert_eq!(of(None, &worse), "the parent refused it: worse");
        let refused = outcome(vec![verdict("east", Some("NaN"))], Some("worse"));
        assert_eq!(of(None, &refused), "the parent did not count the update: NaN");
        let without = outcome(vec![verdict("west", None)], None);
        assert_eq!(of(None, &without), "the parent closed it before the update came");
        assert_eq!(of(Some("few"), &worse), "nothing was sent to the parent: few");
    }

    #[test]
    fn who_is_in_what_was_sent_counts_and_nobody_else() {
        let all = [("a", None), ("b", Some("its time is over")), ("c", None), ("d", Some("NaN"))];
        let all = all.map(|(node, refused)| verdict(node, refused));
        let mut verdicts: BTreeMap<NodeId, Verdict> =
            all.into_iter().map(|verdict| (verdict.node.clone(), verdict)).collect();
        settle(&mut verdicts, &["a".to_owned(), "b".to_owned()].into());
        let found: Vec<Option<&str>> = verdicts.values().map(|v| v.refused.as_deref()).collect();
        assert_eq!(found, [None, None, Some(TOO_LATE), Some("NaN")]);
    }
}
