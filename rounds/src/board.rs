//! The documents of a job in a store, each checked before it is believed.

use bytes::Bytes;

use crate::error::Error;
use crate::hash::Hash;
use crate::key::PublicKey;
use crate::layout;
use crate::message::{BlobRef, Job, Outcome, PROTOCOL, Plan};
use crate::name::NodeId;
use crate::roster::{MOST_ROSTER, Roster};
use crate::signed::{Checked, Document, verify};
use crate::store::Store;

/// Most bytes of a result, which has a line for every node: room for 50,000.
pub(crate) const MOST_RESULT: u64 = 32 << 20;

/// Most bytes of any other document.
pub(crate) const MOST_DOCUMENT: u64 = 64 << 10;

/// What a job's center has published, as everybody may read it. Nothing is believed without the center's
/// signature, or a hash that a signed document names.
#[derive(Debug)]
pub struct Board<'a> {
    pub(crate) store: &'a Store,
    pub(crate) center: PublicKey,
    pub(crate) job: Checked<Job>,
}

impl<'a> Board<'a> {
    /// The job of a store, if one has begun there.
    ///
    /// # Errors
    /// If it is not signed by this center, speaks another protocol, or the store fails.
    pub fn open(store: &'a Store, center: PublicKey) -> Result<Option<Self>, Error> {
        let Some(bytes) = store.get(layout::JOB, MOST_DOCUMENT)? else { return Ok(None) };
        let job = job_of(&bytes, &center)?;
        Ok(Some(Self { store, center, job }))
    }

    /// What is trained here.
    pub fn job(&self) -> &Job {
        &self.job.body
    }

    /// Hash of the first document, which the plan of the first round names.
    pub fn job_hash(&self) -> Hash {
        self.job.hash
    }

    /// The plan of a round, if it is there.
    ///
    /// # Errors
    /// If it is forged, of another job or round, or the store fails.
    pub fn plan(&self, round: u32) -> Result<Option<Checked<Plan>>, Error> {
        let path = layout::plan(round);
        let Some(plan) = self.document::<Plan>(&path, MOST_DOCUMENT)? else { return Ok(None) };
        self.is_of(&path, (&plan.body.job, plan.body.round), round)?;
        Ok(Some(plan))
    }

    /// What closed a round, if it is closed.
    ///
    /// # Errors
    /// If it is forged, of another job or round, or the store fails.
    pub fn outcome(&self, round: u32) -> Result<Option<Checked<Outcome>>, Error> {
        let path = layout::result(round);
        let Some(outcome) = self.document::<Outcome>(&path, MOST_RESULT)? else { return Ok(None) };
        self.is_of(&path, (&outcome.body.job, outcome.body.round), round)?;
        Ok(Some(outcome))
    }

    pub(crate) fn document<T: Document>(
        &self,
        path: &str,
        most: u64,
    ) -> Result<Option<Checked<T>>, Error> {
        let bytes = self.store.get(path, most)?;
        bytes.map(|bytes| verify(path, &bytes, &self.center)).transpose()
    }

    pub(crate) fn is_of(
        &self,
        path: &str,
        (job, found): (&str, u32),
        round: u32,
    ) -> Result<(), Error> {
        if job != self.job().job {
            return Err(Error::refused(path, format!("of another job than {}", self.job().job)));
        }
        if found != round {
            return Err(Error::refused(
                path,
                format!("of round {found}, where that of round {round} belongs"),
            ));
        }
        Ok(())
    }

    /// The last round that is closed, 0 before the first. `known` is one that is known to be; what this takes grows
    /// with the logarithm of the rounds since then.
    ///
    /// # Errors
    /// If the store fails.
    pub fn last_closed(&self, known: u32) -> Result<u32, Error> {
        let closed = |round: u32| self.store.has(&layout::result(round));
        let rounds = self.job().rounds;
        let (mut low, mut step) = (known, 1_u32);
        // Rounds close one after the other. `low` is closed, or 0.
        let mut high = loop {
            let next = low.saturating_add(step).min(rounds.saturating_add(1));
            if next > rounds || !closed(next)? {
                break next;
            }
            (low, step) = (next, step.saturating_mul(2));
        };
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if closed(middle)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The last round that is closed with what closed it, from a round that is known to be. Where somebody has put
    /// something else in a place further on, the last one before that.
    ///
    /// # Errors
    /// If the store fails, or the next round after `known` is closed by something that is not believed.
    pub fn last_outcome(&self, known: u32) -> Result<Option<Checked<Outcome>>, Error> {
        let last = self.last_closed(known)?;
        if last == known {
            return Ok(None);
        }
        let far = self.outcome(last);
        if last == known + 1 || !matches!(far, Err(Error::Refused { .. })) {
            return far;
        }
        let mut found = self.outcome(known + 1)?;
        let mut next = known + 2;
        while let Ok(Some(outcome)) = self.outcome(next) {
            (found, next) = (Some(outcome), next + 1);
        }
        Ok(found)
    }

    /// What the center published, held against its hash.
    ///
    /// # Errors
    /// If it has more bytes than `most`, is missing or changed, or the store fails.
    pub fn blob(&self, wanted: &BlobRef, most: u64) -> Result<Bytes, Error> {
        let path = layout::blob(&wanted.hash);
        if wanted.bytes > most {
            let problem = format!("has {} bytes, at most {most} are taken", wanted.bytes);
            return Err(Error::refused(&path, problem));
        }
        let bytes = self.store.get(&path, wanted.bytes)?;
        let bytes = bytes.ok_or_else(|| Error::Missing { path: path.clone() })?;
        check_hash(&path, &bytes, wanted)?;
        Ok(bytes)
    }

    /// Who counts by a plan.
    ///
    /// # Errors
    /// If the list is missing or changed, or the store fails.
    pub fn roster(&self, plan: &Plan) -> Result<Roster, Error> {
        let bytes = self.blob(&plan.roster, MOST_ROSTER)?;
        let path = layout::blob(&plan.roster.hash);
        let roster = Roster::of_bytes(&path, &bytes)?;
        if roster.nodes.len() != plan.nodes as usize {
            let problem =
                format!("lists {} nodes, the plan says {}", roster.nodes.len(), plan.nodes);
            return Err(Error::refused(&path, problem));
        }
        Ok(roster)
    }

    /// Whose commits are there in a round, whatever they say; sorted.
    ///
    /// # Errors
    /// If the store fails.
    pub fn committed(&self, round: u32) -> Result<Vec<NodeId>, Error> {
        let listed = self.store.list(&layout::updates(round))?;
        Ok(listed.iter().filter_map(|object| layout::node_of_commit(round, &object.path)).collect())
    }
}

pub(crate) fn job_of(bytes: &[u8], center: &PublicKey) -> Result<Checked<Job>, Error> {
    let job: Checked<Job> = verify(layout::JOB, bytes, center)?;
    if job.body.protocol != PROTOCOL {
        let problem = format!("speaks protocol {}, this program {PROTOCOL}", job.body.protocol);
        return Err(Error::refused(layout::JOB, problem));
    }
    if job.body.center != *center {
        return Err(Error::refused(
            layout::JOB,
            format!("names {} as its center", job.body.center),
        ));
    }
    Ok(job)
}

/// Fails if bytes are not those that a signed document names.
pub(crate) fn check_hash(path: &str, bytes: &[u8], wanted: &BlobRef) -> Result<(), Error> {
    if bytes.len() as u64 != wanted.bytes {
        let problem = format!("has {} bytes, its document says {}", bytes.len(), wanted.bytes);
        return Err(Error::refused(path, problem));
    }
    let found = Hash::of(bytes);
    if found != wanted.hash {
        return Err(Error::refused(
            path,
            format!("was changed: its hash is {found}, not {}", wanted.hash),
        ));
    }
    Ok(())
}
