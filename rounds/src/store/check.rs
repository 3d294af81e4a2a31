//! Whether a store keeps what rounds rely on.

use std::sync::Barrier;
use std::thread;

use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::found::Created;
use super::objects::Objects;
use super::{Kind, Store};
use crate::error::Error;

/// Who race for one object.
const RACERS: u8 = 16;

/// One thing that rounds rely on. A store that fails any of it would lose updates, or let two centers both close
/// a round.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StoreCheck {
    /// What was tried.
    pub what: &'static str,
    /// What is wrong, and what would come of it; none if it is as it should be.
    pub problem: Option<String>,
}

impl Store {
    /// Tries what rounds rely on, with some small objects below `check/NAME`, which stay there. `name` must be
    /// one that was not used before.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn check(&self, name: &str) -> Result<Vec<StoreCheck>, Error> {
        let Kind::Objects(objects) = &self.kind else {
            let problem = "is a file of URLs for one node; check the store itself".to_owned();
            return Err(Error::Url { url: self.url.clone(), problem });
        };
        let path = |what: &str| format!("check/{name}/{what}");
        let mut checks = Vec::new();
        let mut check = |what: &'static str, is_fine: bool, problem: &str| {
            checks.push(StoreCheck { what, problem: (!is_fine).then(|| problem.to_owned()) });
        };

        let twice = path("twice");
        let first = self.create(&twice, b"first")?;
        let second = self.create(&twice, b"second")?;
        check(
            "an object is created once",
            first == Created::New
                && matches!(second, Created::Other(there) if there == b"first"[..]),
            "it can be created twice: an update could be replaced by another",
        );

        let race = path("race");
        let winners = objects.race(&race);
        let told = format!(
            "{} were told that they did: two centers could both close a round",
            winners.len()
        );
        check("one of 16 that create an object at a time does", winners.len() == 1, &told);
        let there = self.get(&race, 100)?;
        check(
            "its bytes are there",
            winners.iter().any(|winner| there.as_deref() == Some(&[*winner; 64][..])),
            "other bytes are there than were created",
        );

        let part = path("part");
        self.create(&part, b"0123456789")?;
        let at = objects.at(&part);
        let get = async || objects.by.get_range(&at, 3..7).await;
        let found = self.named(objects.wait(&self.patience, get), "get a part of", &part)?;
        check("a part of an object is that part", found == b"3456"[..], "it is not");

        let listed = self.list(path("").trim_end_matches('/'))?;
        let names: Vec<&str> = listed.iter().map(|object| object.path.as_str()).collect();
        let all = names == [part.as_str(), race.as_str(), twice.as_str()];
        check("what was created is listed", all, "it is not: updates would not be seen");
        Ok(checks)
    }
}

impl Objects {
    /// Who of those that create an object at a time are told that they did.
    fn race(&self, path: &str) -> Vec<u8> {
        let (at, start) = (self.at(path), Barrier::new(RACERS.into()));
        thread::scope(|scope| {
            let race = |racer: u8| {
                let (at, start) = (&at, &start);
                move || {
                    start.wait();
                    let payload = PutPayload::from(vec![racer; 64]);
                    let put = self.by.put_opts(at, payload, PutOptions::from(PutMode::Create));
                    self.once(put)?.is_ok().then_some(racer)
                }
            };
            let racers: Vec<_> = (0..RACERS).map(|racer| scope.spawn(race(racer))).collect();
            racers.into_iter().filter_map(|racer| racer.join().ok().flatten()).collect()
        })
    }
}
