//! Rounds between machines over a shared store: create, get and list, signed.
#![doc = include_str!("../README.md")]

mod board;
mod desk;
mod error;
mod file;
mod hash;
mod key;
mod layout;
mod message;
mod name;
mod pack;
mod presign;
mod roster;
mod seat;
mod signed;
mod store;
mod urls;

pub use board::Board;
pub use desk::{Arrival, Closed, Desk};
pub use error::Error;
pub use hash::Hash;
pub use key::{PublicKey, SecretKey};
pub use message::{
    BlobRef, Commit, Encoding, Job, Metrics, Outcome, PROTOCOL, Plan, UnixMs, Verdict, Work,
};
pub use name::NodeId;
pub use presign::Presign;
pub use roster::Roster;
pub use seat::{Memory, Seat};
pub use signed::{Checked, Document, sign, unverified, verify};
pub use store::{Created, Hear, Object, Patience, Silent, Store, StoreCheck};
pub use urls::Urls;
