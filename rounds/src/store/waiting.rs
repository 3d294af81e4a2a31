//! Waiting for a store that does not answer.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::error::Error;

/// For a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// For one object.
pub(super) const TRANSFER: Duration = Duration::from_mins(5);
/// The first pause, which doubles up to the last.
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(10);
/// How often a signal is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// Most bytes of what is passed on.
const LONGEST: usize = 400;
/// How often people are told that it is still so.
const REMIND: Duration = Duration::from_mins(1);

/// Who is told while a store does not answer, and says when to give up.
pub trait Hear: Send + Sync {
    /// The store does not answer, and why, as it says.
    fn waiting(&self, problem: &str);
    /// It answers again.
    fn answers(&self);
    /// Whether to stop waiting.
    fn stopped(&self) -> bool;
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Hear for Silent {
    fn waiting(&self, _: &str) {}
    fn answers(&self) {}
    fn stopped(&self) -> bool {
        false
    }
}

/// How long a store may be silent before that is an error.
#[derive(Clone)]
pub struct Patience {
    /// So long. Without an end, [`Duration::MAX`], an open store is also waited for while it denies permission, which may be
    /// given back; else that is an error at once.
    pub most: Duration,
    /// Who is told.
    pub hear: Arc<dyn Hear>,
}

impl Default for Patience {
    /// Half a minute, in silence.
    fn default() -> Self {
        Self { most: Duration::from_secs(30), hear: Arc::new(Silent) }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("most", &self.most).finish_non_exhaustive()
    }
}

/// Why there is no answer.
pub(super) enum Failed {
    Stopped,
    Problem(String),
    /// The object is not for whoever asks.
    Refused(String),
}

impl Failed {
    pub(super) fn named(self, url: &str, what: &'static str, path: &str) -> Error {
        match self {
            Self::Stopped => Error::Stopped,
            Self::Refused(problem) => Error::refused(path, problem),
            Self::Problem(problem) => {
                Error::Store { url: url.to_owned(), what, path: path.to_owned(), problem }
            }
        }
    }
}

/// Tries until it is done, it cannot be done, or patience ends. Of a store that `is_open` something was read before.
pub(super) fn patiently<T>(
    (patience, is_open): (&Patience, bool),
    tried: &mut dyn FnMut() -> Result<Answer<T>, Failed>,
) -> Result<T, Failed> {
    let began = Instant::now();
    let bears_denial = is_open && patience.most == Duration::MAX;
    let mut pause = FIRST;
    let mut told: Option<Instant> = None;
    loop {
        let (problem, is_final) = match tried()? {
            Answer::Done(done) => {
                if told.is_some() {
                    patience.hear.answers();
                }
                return Ok(done);
            }
            Answer::Silence(problem) => (problem, false),
            Answer::Denied(problem) => (problem, !bears_denial),
            Answer::Refused(problem) => (problem, true),
        };
        if is_final || began.elapsed() >= patience.most {
            return Err(Failed::Problem(problem));
        }
        // A single fault is common, and nobody's business.
        if pause > FIRST && told.is_none_or(|told| told.elapsed() >= REMIND) {
            patience.hear.waiting(&problem);
            told = Some(Instant::now());
        }
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if patience.hear.stopped() {
                return Err(Failed::Stopped);
            }
            std::thread::sleep(GLANCE);
        }
        pause = (2 * pause).min(LAST);
    }
}

/// What came of a try.
pub(super) enum Answer<T> {
    Done(T),
    /// No answer, and why.
    Silence(String),
    /// Whoever asks may not, and may be allowed to later.
    Denied(String),
    /// Trying again would give the same.
    Refused(String),
}

/// Tries once, as long as nobody stops it.
pub(super) async fn answer<T>(
    patience: &Patience,
    tried: &impl AsyncFn() -> Result<T, object_store::Error>,
) -> Result<Answer<T>, Failed> {
    let began = Instant::now();
    let mut tried = std::pin::pin!(tried());
    loop {
        match tokio::time::timeout(GLANCE, &mut tried).await {
            Ok(Ok(done)) => return Ok(Answer::Done(done)),
            Ok(Err(error)) => return Ok(fault(&error)),
            Err(_) if patience.hear.stopped() => return Err(Failed::Stopped),
            Err(_) => {}
        }
        if is_long(patience, began) {
            return Ok(Answer::Silence("no answer".to_owned()));
        }
    }
}

/// The same of what blocks its thread, which is left alone where nobody waits for it any more.
pub(super) fn blocking_answer<T: Send + 'static>(
    patience: &Patience,
    tried: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Result<Answer<T>, Failed> {
    let (say, said) = mpsc::channel();
    let began = Instant::now();
    let spawned = std::thread::Builder::new().spawn(move || say.send(tried()));
    if let Err(error) = spawned {
        return Ok(Answer::Silence(format!("no thread to ask it: {error}")));
    }
    loop {
        match said.recv_timeout(GLANCE) {
            Ok(answer) => return Ok(answer),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Ok(Answer::Silence("no answer".to_owned()));
            }
            Err(_) if patience.hear.stopped() => return Err(Failed::Stopped),
            Err(_) => {}
        }
        if is_long(patience, began) {
            return Ok(Answer::Silence("no answer".to_owned()));
        }
    }
}

/// Whether one answer has taken longer than anybody waits.
fn is_long(patience: &Patience, began: Instant) -> bool {
    began.elapsed() > patience.most.min(2 * TRANSFER)
}

fn fault<T>(error: &object_store::Error) -> Answer<T> {
    use io::ErrorKind as K;
    let problem = plain(error);
    if is_denial(error) {
        Answer::Denied(problem)
    } else if !matches!(error, object_store::Error::Generic { .. })
        || is_kind(error, &[K::Unsupported, K::InvalidFilename])
    {
        Answer::Refused(problem)
    } else {
        Answer::Silence(problem)
    }
}

/// Whether the store says that this is not allowed.
fn is_denial(error: &object_store::Error) -> bool {
    use io::ErrorKind as K;
    use object_store::Error as E;
    matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. })
        || is_kind(error, &[K::PermissionDenied, K::ReadOnlyFilesystem])
}

fn is_kind(error: &object_store::Error, kinds: &[io::ErrorKind]) -> bool {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|io| kinds.contains(&io.kind()))
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = Cause<'_>> {
    std::iter::successors(error.source(), |cause: &Cause<'_>| (*cause).source())
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// An error on one line, with its innermost cause, which is often the one that helps.
fn plain(error: &object_store::Error) -> String {
    let mut text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(last) = causes(error).last() {
        let last = last.to_string();
        if !text.contains(&last) {
            text = format!("{text}: {last}");
        }
    }
    short(text)
}

/// A text, or its beginning if it is long.
pub(super) fn short(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether somebody who waits so long gets an answer from a store that denies the first two requests.
    fn outlasts(kind: io::ErrorKind, most: Duration, is_open: bool) -> bool {
        let patience = Patience { most, ..Patience::default() };
        let mut tries = 0;
        let mut tried = || {
            tries += 1;
            let source = Box::new(io::Error::from(kind));
            Ok(match tries {
                1 | 2 => fault(&object_store::Error::Generic { store: "folder", source }),
                n => Answer::Done(n),
            })
        };
        patiently((&patience, is_open), &mut tried).is_ok_and(|tries| tries == 3)
    }

    #[test]
    fn lost_permission_is_waited_for_by_a_service_alone() {
        use io::ErrorKind as K;
        let once = Duration::from_secs(30);
        for kind in [K::PermissionDenied, K::ReadOnlyFilesystem] {
            assert!(outlasts(kind, Duration::MAX, true), "{kind}");
            assert!(!outlasts(kind, Duration::MAX, false), "{kind}, when it is opened");
            assert!(!outlasts(kind, once, true), "{kind}, by who looks once");
        }
        assert!(outlasts(K::StorageFull, once, false));
        assert!(!outlasts(K::InvalidFilename, Duration::MAX, true));
    }
}
