//! What a center does with a store.

use std::collections::{BTreeMap, BTreeSet};

use crate::board::{Board, MOST_DOCUMENT, MOST_RESULT, check_hash, job_of};
use crate::error::Error;
use crate::hash::Hash;
use crate::key::SecretKey;
use crate::layout;
use crate::message::{BlobRef, Commit, Encoding, Job, Outcome, PROTOCOL, Plan, UnixMs};
use crate::name::NodeId;
use crate::pack::unpack;
use crate::roster::Roster;
use crate::signed::{Checked, Document, sign, verify};
use crate::store::{Created, Store};

/// Most bytes of a commit.
const MOST_COMMIT: u64 = 64 << 10;

/// The center's side of a board: it alone can sign.
#[derive(Debug)]
pub struct Desk<'a> {
    board: Board<'a>,
    key: &'a SecretKey,
}

/// Whether a center closed a round, or another one was before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Closed {
    /// This one did.
    Ours(Checked<Outcome>),
    /// Another one did, or this one before it was killed; what it wrote counts.
    Before(Checked<Outcome>),
}

/// A node's commit in a round.
#[derive(Debug)]
pub struct Arrival {
    /// Whose place it has.
    pub node: NodeId,
    /// Hash of the commit's file, where it was read.
    pub commit: Option<Hash>,
    /// The update, unpacked, with what the node says of it; or why it does not count.
    pub update: Result<(Commit, Vec<u8>), String>,
}

impl<'a> Desk<'a> {
    /// Begins a job in a store: publishes the first model and writes the first document. If there is one already by the
    /// same key, that one goes on, whatever is given here.
    ///
    /// # Errors
    /// If the store holds the job of another center, or fails.
    pub fn begin(
        store: &'a Store,
        key: &'a SecretKey,
        (model, rounds): (&[u8], u32),
        now: UnixMs,
    ) -> Result<Self, Error> {
        let model = publish(store, model)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| Error::setup("a fresh job", format!("no random numbers: {error}")))?;
        let job = Job {
            protocol: PROTOCOL,
            job: hex::encode(id),
            center: key.public(),
            rounds,
            model,
            created: now,
        };
        let bytes = sign(&job, key)?;
        let there = match store.create(layout::JOB, &bytes)? {
            Created::New | Created::Same => bytes,
            Created::Other(there) => there.to_vec(),
        };
        let center = key.public();
        let job = job_of(&there, &center)?;
        Ok(Self { board: Board { store, center, job }, key })
    }

    /// Goes on with the job of a store, if one has begun there.
    ///
    /// # Errors
    /// If it is that of another center, or the store fails.
    pub fn open(store: &'a Store, key: &'a SecretKey) -> Result<Option<Self>, Error> {
        Ok(Board::open(store, key.public())?.map(|board| Self { board, key }))
    }

    /// What everybody can read.
    pub fn board(&self) -> &Board<'a> {
        &self.board
    }

    /// Publishes bytes under their hash.
    ///
    /// # Errors
    /// If the store fails.
    pub fn publish(&self, bytes: &[u8]) -> Result<BlobRef, Error> {
        publish(self.board.store, bytes)
    }

    /// Publishes who counts.
    ///
    /// # Errors
    /// If the store fails.
    pub fn publish_roster(&self, roster: &Roster) -> Result<BlobRef, Error> {
        self.publish(&roster.counting().to_bytes().1)
    }

    /// Publishes a plan. If there is one for that round, it counts and is given back.
    ///
    /// # Errors
    /// If what is there is forged, or the store fails.
    pub fn publish_plan(&self, plan: &Plan) -> Result<Checked<Plan>, Error> {
        let path = layout::plan(plan.round);
        let (_, there) = self.create(&path, plan)?;
        self.board.is_of(&path, (&there.body.job, there.body.round), plan.round)?;
        Ok(there)
    }

    /// Closes a round.
    ///
    /// # Errors
    /// If what is there is forged, or the store fails.
    pub fn close(&self, outcome: &Outcome) -> Result<Closed, Error> {
        let path = layout::result(outcome.round);
        let (ours, there) = self.create(&path, outcome)?;
        self.board.is_of(&path, (&there.body.job, there.body.round), outcome.round)?;
        Ok(if ours { Closed::Ours(there) } else { Closed::Before(there) })
    }

    /// Writes a document once; whether it was not there, and what is there now.
    fn create<T: Document>(&self, path: &str, body: &T) -> Result<(bool, Checked<T>), Error> {
        let bytes = sign(body, self.key)?;
        // What is created once should be readable.
        let most = if T::KIND == Outcome::KIND { MOST_RESULT } else { MOST_DOCUMENT };
        if bytes.len() as u64 > most {
            let problem = format!("would have {} bytes, at most {most} are read", bytes.len());
            return Err(Error::refused(path, problem));
        }
        verify::<T>(path, &bytes, &self.board.center)?;
        let (ours, there) = match self.board.store.create(path, &bytes)? {
            Created::New | Created::Same => (true, bytes),
            Created::Other(there) => (false, there.to_vec()),
        };
        Ok((ours, verify(path, &there, &self.board.center)?))
    }

    /// Hands on the commits of a round that are there and not among `seen`, each with its update or the reason
    /// why it does not count. An update has at most `most` bytes, packed or not, and started from the plan's base
    /// or one of the `older` ones.
    ///
    /// # Errors
    /// If the store fails; what a node did wrong is in its arrival.
    pub fn arrivals(
        &self,
        plan: &Checked<Plan>,
        roster: &Roster,
        (seen, older): (&BTreeSet<NodeId>, &BTreeSet<Hash>),
        (most, now): (u64, UnixMs),
        each: &mut dyn FnMut(Arrival),
    ) -> Result<(), Error> {
        let committed = self.board.committed(plan.body.round)?;
        let is_listed = |node: &NodeId| roster.nodes.contains_key(node);
        let fresh = committed.into_iter().filter(|node| !seen.contains(node));
        let (fresh, strangers): (Vec<NodeId>, Vec<NodeId>) = fresh.partition(is_listed);
        // What they wrote is not even read, and of any number some are named.
        let named = seen.iter().filter(|node| !is_listed(node)).count();
        for node in strangers.into_iter().take(MOST_STRANGERS.saturating_sub(named)) {
            let why = format!("{node} is not on the roster of this round");
            each(Arrival { node, commit: None, update: Err(why) });
        }
        // So many updates are in memory at a time.
        for nodes in fresh.chunks(AT_A_TIME) {
            self.fetch((plan, roster, older), nodes, (most, now), each)?;
        }
        Ok(())
    }

    fn fetch(
        &self,
        (plan, roster, older): (&Checked<Plan>, &Roster, &BTreeSet<Hash>),
        nodes: &[NodeId],
        (most, now): (u64, UnixMs),
        each: &mut dyn FnMut(Arrival),
    ) -> Result<(), Error> {
        let (store, round) = (self.board.store, plan.body.round);
        let files: Vec<(String, u64)> =
            nodes.iter().map(|node| (layout::commit(round, node), MOST_COMMIT)).collect();
        let mut commits: BTreeMap<&NodeId, (Option<Hash>, Result<Commit, String>)> =
            BTreeMap::new();
        for ((node, (path, _)), found) in nodes.iter().zip(&files).zip(store.get_all(&files)?) {
            let commit = match found {
                Ok(Some(bytes)) => {
                    let commit = check_commit(path, &bytes, (plan, roster, older, node), now);
                    (Some(Hash::of(&bytes)), commit)
                }
                Ok(None) => (None, Err(format!("{path}: listed, but not there"))),
                Err(error) => (None, Err(error.to_string())),
            };
            commits.insert(node, commit);
        }
        // Sizes are known before anything is fetched, and bound how much is in memory at a time.
        let mut waiting: Vec<(NodeId, Hash, Commit)> = Vec::new();
        for (node, (hash, commit)) in commits {
            match (hash, commit) {
                (Some(hash), Ok(commit)) => {
                    let room = |commit: &Commit| commit.blob.bytes.min(most);
                    let all: u64 = waiting.iter().map(|(_, _, commit)| room(commit)).sum();
                    if !waiting.is_empty() && all + room(&commit) > MOST_AT_A_TIME {
                        self.unpack_all(round, std::mem::take(&mut waiting), most, each)?;
                    }
                    waiting.push((node.clone(), hash, commit));
                }
                (commit, Err(reason)) => {
                    each(Arrival { node: node.clone(), commit, update: Err(reason) });
                }
                (None, Ok(_)) => {}
            }
        }
        self.unpack_all(round, waiting, most, each)
    }

    /// Fetches some updates, and hands them on one after the other.
    fn unpack_all(
        &self,
        round: u32,
        commits: Vec<(NodeId, Hash, Commit)>,
        most: u64,
        each: &mut dyn FnMut(Arrival),
    ) -> Result<(), Error> {
        let blob = |(node, _, commit): &(NodeId, Hash, Commit)| {
            let blob = commit.blob;
            (layout::update_blob(round, node, &blob.hash), blob.bytes.min(most))
        };
        let blobs: Vec<(String, u64)> = commits.iter().map(blob).collect();
        let mut found = self.board.store.get_all(&blobs)?;
        // Who writes by URLs could not know the hash when they were signed.
        let empty: Vec<usize> =
            (0..found.len()).filter(|&i| matches!(found[i], Ok(None))).collect();
        let update = |&i: &usize| (layout::update(round, &commits[i].0), blobs[i].1);
        let updates: Vec<(String, u64)> = empty.iter().map(update).collect();
        for (i, update) in empty.into_iter().zip(self.board.store.get_all(&updates)?) {
            found[i] = update;
        }
        let fetched = found.into_iter().zip(blobs);
        for ((node, hash, commit), (found, (path, _))) in commits.into_iter().zip(fetched) {
            let bytes = match found {
                Ok(Some(bytes)) => {
                    unpacked(&path, &bytes, &commit, most).map_err(|error| error.to_string())
                }
                Ok(None) => Err(format!("{path}: its commit is there, the update is not")),
                Err(error) => Err(error.to_string()),
            };
            let update = bytes.map(|bytes| (commit, bytes));
            each(Arrival { node, commit: Some(hash), update });
        }
        Ok(())
    }
}

/// No training takes so many seconds, nor so many windows a second.
const MOST_FIGURE: f64 = 1e12;

/// So many who are not on the roster are named in a result.
const MOST_STRANGERS: usize = 100;

/// Most packed bytes that are in memory at a time, but for a single larger update.
const MOST_AT_A_TIME: u64 = 64 << 20;

/// Updates that are fetched before the next ones are.
const AT_A_TIME: usize = 32;

fn publish(store: &Store, bytes: &[u8]) -> Result<BlobRef, Error> {
    let blob = BlobRef { hash: Hash::of(bytes), bytes: bytes.len() as u64 };
    let path = layout::blob(&blob.hash);
    match store.create(&path, bytes)? {
        Created::New | Created::Same => Ok(blob),
        Created::Other(_) => {
            let problem =
                "other bytes are there than its name says; somebody else writes to this store";
            Err(Error::refused(&path, problem))
        }
    }
}

/// What a node signed, if it is for this round, by a node of the roster, in its own place.
fn check_commit(
    path: &str,
    bytes: &[u8],
    (plan, roster, older, node): (&Checked<Plan>, &Roster, &BTreeSet<Hash>, &NodeId),
    now: UnixMs,
) -> Result<Commit, String> {
    let Some(key) = roster.nodes.get(node) else {
        return Err(format!("{node} is not on the roster of this round"));
    };
    let commit: Checked<Commit> = verify(path, bytes, key).map_err(|error| error.to_string())?;
    let (commit, plan) = (commit.body, &plan.body);
    let fits = |is_fine: bool, problem: String| if is_fine { Ok(()) } else { Err(problem) };
    fits(commit.node == *node, format!("says it is of {}, in the place of {node}", commit.node))?;
    fits(commit.job == plan.job, format!("of another job than {}", plan.job))?;
    fits(commit.round == plan.round, format!("of round {}, this is {}", commit.round, plan.round))?;
    let base = plan.base.hash;
    fits(
        commit.base == base || older.contains(&commit.base),
        format!("trained from {}, this round starts from {base}", commit.base),
    )?;
    fits(commit.expires >= now, "its time is over".to_owned())?;
    let is_plain = |value: f64| (0.0..=MOST_FIGURE).contains(&value);
    let work = commit.work;
    fits(
        is_plain(work.seconds) && work.speed.is_none_or(is_plain),
        format!("says that it took {} s, at {:?} windows a second", work.seconds, work.speed),
    )?;
    let (sent, asked) = (commit.encoding, plan.encoding);
    let known = sent == asked || sent == Encoding::Whole;
    fits(known, format!("sent as {sent}, this round asks for {asked}"))?;
    Ok(commit)
}

/// The update in a blob that a commit names.
pub(crate) fn unpacked(
    path: &str,
    bytes: &[u8],
    commit: &Commit,
    most: u64,
) -> Result<Vec<u8>, Error> {
    check_hash(path, bytes, &commit.blob)?;
    let unpacked = unpack(path, bytes, commit.unpacked.bytes, most)?;
    check_hash(&format!("{path}, unpacked"), &unpacked, &commit.unpacked)?;
    Ok(unpacked)
}
