//! A model that answers beside the one that answers: a new one before anybody hears it, or, on trial, the one before.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::Thread;

use monitor::Usual;

use super::answer::{Label, Status};
use super::compared::{Compared, Past};
use super::judged::{Terms, Verdict};
use super::observe::Observer;
use super::ready::Ready;
use super::tap::Seen;
use super::threads::lock;
use super::usual::LastConfidences;

/// Which of the two answers beside the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A new model; the live one answers.
    Candidate,
    /// The model before; the new one answers, as the canary.
    Before,
}

/// A model beside the one that answers.
#[derive(Debug)]
struct Beside {
    ready: Box<Ready>,
    role: Role,
    /// The one that answers: windows of others do not count.
    answers: Arc<Label>,
    compared: Compared,
    verdict: Verdict,
    /// How often the model before was right, if that is known.
    accuracy: Option<f64>,
    /// Whether the world is found to have changed for both, and whether that was told.
    world: bool,
    told: bool,
}

/// Where it has its place. The thread that watches answers with it; the one that looks for models acts on what is
/// found.
#[derive(Debug)]
pub struct Shadow {
    beside: Mutex<Option<Beside>>,
    last: Mutex<LastConfidences>,
    terms: Terms,
    /// Who acts.
    acts: OnceLock<Thread>,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The model that was beside.
    pub ready: Box<Ready>,
    /// What for.
    pub role: Role,
    /// What both said.
    pub compared: Compared,
    /// What follows of that.
    pub verdict: Verdict,
}

impl Shadow {
    /// With no model in it.
    pub fn new(terms: Terms) -> Self {
        Self { beside: Mutex::default(), last: Mutex::default(), terms, acts: OnceLock::new() }
    }

    /// What is asked of a new model.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// The calling thread is woken when something is found.
    pub fn wake_me(&self) {
        // There is one who acts.
        let _ = self.acts.set(std::thread::current());
    }

    /// How sure a model usually is here that answers, or did before; nothing where it gave few answers.
    pub fn usual(&self, hash: &str) -> Option<Usual> {
        lock(&self.last).usual(hash)
    }

    fn beside(&self) -> MutexGuard<'_, Option<Beside>> {
        lock(&self.beside)
    }

    /// Lets a model answer beside another, of both of which something may be known; gives back the model that was there.
    pub fn put(
        &self,
        (ready, role): (Box<Ready>, Role),
        answers: Arc<Label>,
        past: &Past,
    ) -> Option<Box<Ready>> {
        let compared = Compared::new(answers.classes.len(), past);
        let beside = Beside {
            ready,
            role,
            answers,
            compared,
            verdict: Verdict::Open,
            accuracy: past.accuracy,
            world: false,
            told: false,
        };
        self.beside().replace(beside).map(|before| before.ready)
    }

    /// What both said, once both are found to be wrong more often than the one before was, or less sure than they are:
    /// it is the world that changed, and not the model. Told once.
    pub fn world(&self) -> Option<Compared> {
        let mut place = self.beside();
        let beside = place.as_mut().filter(|beside| beside.world && !beside.told)?;
        beside.told = true;
        Some(beside.compared.clone())
    }

    /// The role and the hash of the model in it.
    pub fn holds(&self) -> Option<(Role, String)> {
        self.beside().as_ref().map(|beside| (beside.role, beside.ready.label.hash.clone()))
    }

    /// Takes the model out if that is so.
    fn take_if(&self, is_so: impl FnOnce(&Beside) -> bool) -> Option<Found> {
        let Beside { ready, role, compared, verdict, .. } =
            self.beside().take_if(|beside| is_so(beside))?;
        Some(Found { ready, role, compared, verdict })
    }

    /// Takes the model with this hash out.
    pub fn take(&self, hash: &str) -> Option<Found> {
        self.take_if(|beside| beside.ready.label.hash == hash)
    }

    /// Takes the model of this role out.
    pub fn clear(&self, role: Role) -> Option<Box<Ready>> {
        self.take_if(|beside| beside.role == role).map(|found| found.ready)
    }

    /// Takes the model out once something is found of it.
    pub fn found(&self) -> Option<Found> {
        self.take_if(|beside| beside.verdict != Verdict::Open)
    }

    /// A window without fault was answered with a class, or had no answer that is finite.
    pub fn window(&self, id: u64, answers: &Arc<Label>, class: Option<(u32, f32)>, values: &[f32]) {
        let mut place = self.beside();
        let Some(beside) = place.as_mut().filter(|beside| beside.is_beside(answers)) else {
            return;
        };
        let other = beside.ready.answer(values).map(|(class, p, _)| (class, p));
        let (new, old) = match beside.role {
            Role::Candidate => (other, class),
            Role::Before => (class, other),
        };
        match (new, old) {
            (Some(new), Some(old)) => beside.compared.window(id, new, old),
            (None, Some(_)) => {
                let reason = "an answer of it is not finite where that of the model before is";
                beside.verdict = Verdict::Bad(reason.to_owned());
            }
            (_, None) => {}
        }
        self.look(beside);
    }

    /// The class of a window that was answered became known.
    pub fn label(&self, id: u64, class: u32) {
        let mut place = self.beside();
        if let Some(beside) = place.as_mut() {
            beside.compared.label(id, class);
            self.look(beside);
        }
    }

    /// Sees what follows, and wakes who acts.
    fn look(&self, beside: &mut Beside) {
        if beside.verdict == Verdict::Open {
            beside.verdict = match beside.role {
                Role::Candidate => beside.compared.may_answer(self.terms),
                Role::Before => beside.compared.may_stay(self.terms),
            };
        }
        beside.world |= beside.compared.is_the_world(beside.accuracy);
        if (beside.verdict != Verdict::Open || beside.world && !beside.told)
            && let Some(acts) = self.acts.get()
        {
            acts.unpark();
        }
    }
}

impl Beside {
    /// Whether this model is the one that answers, and nothing is found yet.
    fn is_beside(&self, answers: &Arc<Label>) -> bool {
        Arc::ptr_eq(&self.answers, answers) && self.verdict == Verdict::Open
    }
}

/// Shows answered windows to the model in the shadow: only those that share no row, as others say the same twice.
#[derive(Debug)]
pub struct Trials(pub Arc<Shadow>);

impl Observer for Trials {
    fn answered(&mut self, seen: &Seen) {
        let Some(answers) = seen.model.as_ref().filter(|_| seen.is_fresh) else { return };
        let class = seen.class;
        if let Some((_, p)) = class {
            lock(&self.0.last).answered(answers, p);
        }
        // Of a window that is whole the live model had no answer that is finite.
        let has_none = class.is_none() && seen.status == Status::BadInput;
        if class.is_some() || has_none && seen.values.iter().all(|value| value.is_finite()) {
            self.0.window(seen.id, answers, class, &seen.values);
        }
    }

    fn labelled(&mut self, seen: &Seen, class: u32) {
        self.0.label(seen.id, class);
    }
}
