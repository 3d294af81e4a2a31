//! What a center's operator signs for a node without a key of the store.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::board::Board;
use crate::error::Error;
use crate::layout;
use crate::message::UnixMs;
use crate::name::NodeId;
use crate::store::Asked;
use crate::urls::{MOST_ROUNDS, Urls};

/// As long as S3 takes a signature.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// For whom URLs are signed, and for how long.
#[derive(Debug, Clone)]
pub struct Presign {
    /// The node.
    pub node: NodeId,
    /// The rounds that it may write in.
    pub rounds: RangeInclusive<u32>,
    /// How long the URLs last, at most seven days.
    pub lasts: Duration,
    /// When they are signed.
    pub now: UnixMs,
}

impl Board<'_> {
    /// Signs URLs for a node's own places, and looks whether everybody can read what they have to, and not what
    /// nodes send; with a warning if they can. `ca` is as for [`Store::open`](crate::Store::open).
    ///
    /// # Errors
    /// If the store is no bucket, the job has other rounds, the time is too long, or what the center publishes
    /// cannot be read without a key.
    pub fn presign(
        &self,
        wanted: &Presign,
        ca: Option<&Path>,
    ) -> Result<(Urls, Option<String>), Error> {
        let (first, last) = (*wanted.rounds.start(), *wanted.rounds.end());
        let wrong = |problem: String| Error::setup(format!("rounds {first} to {last}"), problem);
        let rounds = self.job().rounds;
        if first == 0 || first > last || last > rounds {
            return Err(wrong(format!("the job has rounds 1 to {rounds}")));
        }
        if last - first >= MOST_ROUNDS {
            return Err(wrong(format!(
                "URLs are signed for at most {MOST_ROUNDS} rounds at a time"
            )));
        }
        if wanted.lasts > LONGEST || wanted.lasts < Duration::from_secs(1) {
            return Err(wrong("their URLs can last from one second to seven days".to_owned()));
        }
        let who = (self.job().job.as_str(), self.center, &wanted.node);
        let urls = self.store.presigned(who, wanted.rounds.clone(), (wanted.lasts, wanted.now))?;
        for path in [layout::JOB.to_owned(), layout::blob(&self.job().model.hash)] {
            match self.store.is_public((&urls, ca), &path)? {
                Asked::There => {}
                Asked::NotThere => return Err(Error::Missing { path }),
                Asked::Refused(status) => return Err(self.not_readable(&path, &status)),
            }
        }
        let plan = layout::plan(1);
        if self.plan(1)?.is_some()
            && let Asked::Refused(status) = self.store.is_public((&urls, ca), &plan)?
        {
            return Err(self.not_readable(&plan, &status));
        }
        let update = layout::update(first, &wanted.node);
        let warning = match self.store.is_public((&urls, ca), &update)? {
            Asked::Refused(_) => None,
            Asked::There | Asked::NotThere => Some(format!(
                "everybody can read what nodes send to {}; let them read job.json, blob/* and round-* only",
                self.store.url()
            )),
        };
        Ok((urls, warning))
    }

    fn not_readable(&self, path: &str, status: &str) -> Error {
        let problem = format!(
            "the server says {status} to whoever has no key; a node with URLs has none, so everybody has to be allowed to \
             read job.json, blob/* and round-* of {} (docs/protocol.md says how), and nobody in/*",
            self.store.url()
        );
        Error::refused(path, problem)
    }
}
