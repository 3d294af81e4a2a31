//! What a node does with a store.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::board::Board;
use crate::desk::unpacked;
use crate::error::Error;
use crate::hash::Hash;
use crate::key::{PublicKey, SecretKey};
use crate::layout;
use crate::message::{BlobRef, Commit, Encoding, Plan, UnixMs, Work};
use crate::name::NodeId;
use crate::pack::pack;
use crate::roster::Roster;
use crate::signed::{Checked, sign, verify};
use crate::store::Created;

/// Most bytes of a node's own commit.
const MOST_COMMIT: u64 = 64 << 10;

/// A node: its name and its key.
#[derive(Debug)]
pub struct Seat {
    /// Its name.
    pub node: NodeId,
    /// Its key.
    pub key: SecretKey,
}

/// What a node remembers of a job, so that nobody can take it back to what was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The job that it takes part in.
    pub job: String,
    /// The center of that job.
    pub center: PublicKey,
    /// The highest round of which it has seen a plan.
    pub round: u32,
    /// That plan.
    pub plan: Hash,
}

impl Memory {
    /// Reads what is remembered in a file, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { path: path.to_owned(), source }),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let problem = format!("damaged ({error}); remove it only if this node shall forget which rounds it has seen");
            Error::setup(path.display().to_string(), problem)
        })
    }

    /// Fails if a result is of another job than what is remembered, or from before it.
    ///
    /// # Errors
    /// With the reason.
    pub fn check_outcome(&self, board: &Board<'_>, round: u32, file: &Path) -> Result<(), Error> {
        let path = layout::result(round);
        self.is_of(board, &path, file)?;
        if round + 1 < self.round {
            let seen = self.round;
            let problem = format!("the store was taken back: this node has seen round {seen}");
            return Err(Error::refused(&path, problem));
        }
        Ok(())
    }

    /// Fails if a store holds another job than what is remembered.
    fn is_of(&self, board: &Board<'_>, path: &str, file: &Path) -> Result<(), Error> {
        let (job, center) = (&board.job().job, board.center);
        if self.job == *job && self.center == center {
            return Ok(());
        }
        let problem = format!(
            "the store holds job {job} of {center}, this node takes part in job {} of {}; remove {} if it shall change",
            self.job,
            self.center,
            file.display()
        );
        Err(Error::refused(path, problem))
    }

    /// The text of its file.
    pub fn to_json(&self) -> String {
        // Text and a number: nothing in it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What is remembered once a plan was accepted.
    ///
    /// # Errors
    /// If the plan is of another job or center than what is remembered, of an earlier round, or another one of
    /// the same round.
    pub fn accept(
        before: Option<&Self>,
        board: &Board<'_>,
        plan: &Checked<Plan>,
        file: &Path,
    ) -> Result<Self, Error> {
        let path = layout::plan(plan.body.round);
        if let Some(before) = before {
            before.is_of(board, &path, file)?;
            if plan.body.round < before.round {
                let problem =
                    format!("the store was taken back: this node has seen round {}", before.round);
                return Err(Error::refused(&path, problem));
            }
            if plan.body.round == before.round && plan.hash != before.plan {
                let problem =
                    "the center signed two plans for this round; its key may be in other hands";
                return Err(Error::refused(&path, problem));
            }
        }
        Ok(Self {
            job: plan.body.job.clone(),
            center: board.center,
            round: plan.body.round,
            plan: plan.hash,
        })
    }
}

impl Seat {
    /// Reads a node's key; its name is that of the file, unless one is given.
    ///
    /// # Errors
    /// If the key cannot be read, or the name is none.
    pub fn read(path: &Path, node: Option<NodeId>) -> Result<Self, Error> {
        let named = || -> Result<NodeId, Error> {
            let stem = PathBuf::from(path.file_stem().unwrap_or_default());
            stem.to_string_lossy().parse()
        };
        let node = node.map_or_else(named, Ok)?;
        Ok(Self { node, key: SecretKey::read(path)? })
    }

    /// Fails if a plan does not ask this node for anything: it is over, the node is not on its roster, or that
    /// has too few nodes to hide in.
    ///
    /// # Errors
    /// With the reason.
    pub fn check_plan(
        &self,
        plan: &Plan,
        roster: &Roster,
        (fewest, now): (u32, UnixMs),
    ) -> Result<(), Error> {
        let path = layout::plan(plan.round);
        if plan.expires < now {
            let problem = format!(
                "it expired {} s ago, by the clock of this machine",
                (now - plan.expires) / 1000
            );
            return Err(Error::refused(&path, problem));
        }
        if plan.nodes < fewest {
            let problem = format!(
                "its roster has {} nodes, this node sends only among {fewest} or more",
                plan.nodes
            );
            return Err(Error::refused(&path, problem));
        }
        match roster.nodes.get(&self.node) {
            None => Err(Error::refused(&path, format!("{} is not on its roster", self.node))),
            Some(key) if *key != self.key.public() => {
                let problem = format!(
                    "its roster has another key for {}: {key}, not {}",
                    self.node,
                    self.key.public()
                );
                Err(Error::refused(&path, problem))
            }
            Some(_) => Ok(()),
        }
    }

    /// What this node has committed in a round, if it has.
    ///
    /// # Errors
    /// If somebody else wrote in its place, or the store fails.
    pub fn committed(&self, board: &Board<'_>, plan: &Plan) -> Result<Option<Commit>, Error> {
        let path = layout::commit(plan.round, &self.node);
        let Some(bytes) = board.store.get(&path, MOST_COMMIT)? else { return Ok(None) };
        Ok(Some(self.own(&path, &bytes, plan)?))
    }

    /// What is in the node's place, if it is the node's word for this round.
    fn own(&self, path: &str, bytes: &[u8], plan: &Plan) -> Result<Commit, Error> {
        let strange =
            || Error::refused(path, "somebody else has written in the place of this node");
        let commit: Checked<Commit> =
            verify(path, bytes, &self.key.public()).map_err(|_| strange())?;
        let Commit { job, round, node, base, .. } = &commit.body;
        let is_base = *base == plan.base.hash || plan.max_age.is_some();
        let is_of_plan = *job == plan.job && *round == plan.round && is_base;
        if *node == self.node && is_of_plan { Ok(commit.body) } else { Err(strange()) }
    }

    /// The update that this node has committed, of at most `most` bytes, packed or not.
    ///
    /// # Errors
    /// If it is missing, changed or larger, or the store fails.
    pub fn update(
        &self,
        board: &Board<'_>,
        plan: &Plan,
        commit: &Commit,
        most: u64,
    ) -> Result<Vec<u8>, Error> {
        let path = self.place(board, plan.round, &commit.blob.hash);
        let bytes = board.store.get(&path, commit.blob.bytes.min(most))?;
        let bytes = bytes.ok_or_else(|| Error::Missing { path: path.clone() })?;
        unpacked(&path, &bytes, commit, most)
    }

    /// Sends an update: its blob, then the word that it is there. A node that has committed in this round before
    /// stays with that.
    ///
    /// # Errors
    /// If somebody else wrote in its place, or the store fails.
    pub fn send(
        &self,
        board: &Board<'_>,
        plan: &Plan,
        update: (&[u8], Encoding, Work),
        now: UnixMs,
    ) -> Result<Commit, Error> {
        self.send_from(board, plan, plan.base.hash, update, now)
    }

    /// The same of an update that started from another model, as asynchronous rounds take it.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn send_from(
        &self,
        board: &Board<'_>,
        plan: &Plan,
        base: Hash,
        (update, encoding, work): (&[u8], Encoding, Work),
        now: UnixMs,
    ) -> Result<Commit, Error> {
        let packed = pack(update)?;
        let of = |bytes: &[u8]| BlobRef { hash: Hash::of(bytes), bytes: bytes.len() as u64 };
        let commit = Commit {
            job: plan.job.clone(),
            round: plan.round,
            node: self.node.clone(),
            base,
            blob: of(&packed),
            unpacked: of(update),
            encoding,
            work,
            sent: now,
            expires: plan.expires,
        };
        self.send_packed(board, &commit, &packed)?;
        let path = layout::commit(plan.round, &self.node);
        match board.store.create(&path, &sign(&commit, &self.key)?)? {
            Created::New | Created::Same => Ok(commit),
            // Killed before it heard that this was done.
            Created::Other(there) => self.own(&path, &there, plan),
        }
    }

    /// Where its update of a round is.
    fn place(&self, board: &Board<'_>, round: u32, hash: &Hash) -> String {
        match board.store.urls() {
            None => layout::update_blob(round, &self.node, hash),
            Some(_) => layout::update(round, &self.node),
        }
    }

    /// Sends the bytes of an update, which count when its commit is there.
    fn send_packed(&self, board: &Board<'_>, commit: &Commit, packed: &[u8]) -> Result<(), Error> {
        let path = self.place(board, commit.round, &commit.blob.hash);
        let Created::Other(_) = board.store.create(&path, packed)? else { return Ok(()) };
        if board.store.urls().is_none() {
            return Err(Error::refused(&path, "other bytes are there than its name says"));
        }
        // Its own, of a process that was killed: before it committed, or else that commit counts.
        if board.store.has(&layout::commit(commit.round, &self.node))? {
            return Ok(());
        }
        board.store.replace(&path, packed)
    }
}
