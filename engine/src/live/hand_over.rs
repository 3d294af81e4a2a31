//! A new model is handed to the thread that answers, between two windows, without making it wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

/// What is handed over and back. Never waits longer than it takes to move a pointer.
#[derive(Debug)]
pub struct HandOver<T> {
    places: Mutex<Places<T>>,
    /// Whether there is an old one: who looks for it again and again would be in the way.
    taken: AtomicBool,
}

#[derive(Debug)]
struct Places<T> {
    next: Option<Box<T>>,
    old: Option<Box<T>>,
}

impl<T> Default for HandOver<T> {
    fn default() -> Self {
        Self { places: Mutex::new(Places { next: None, old: None }), taken: AtomicBool::new(false) }
    }
}

impl<T> HandOver<T> {
    /// Offers a new one. What was offered before and not taken comes back.
    pub fn offer(&self, new: Box<T>) -> Option<Box<T>> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.next.replace(new)
    }

    /// Takes the offer back, if it was not taken.
    pub fn withdraw(&self) -> Option<Box<T>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).next.take()
    }

    /// Puts the new one, if there is one, in the place of the old one; says whether it did. Does not wait: while
    /// another has the lock, or has not taken the old one back, it is for the next time.
    pub fn take(&self, current: &mut Box<T>) -> bool {
        let mut places = match self.places.try_lock() {
            Ok(places) => places,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if places.old.is_some() {
            return false;
        }
        let Some(new) = places.next.take() else { return false };
        // Whoever offered it drops the old one: that takes longer than an answer may.
        places.old = Some(std::mem::replace(current, new));
        self.taken.store(true, Ordering::Release);
        true
    }

    /// The old one, once a new one has taken its place.
    pub fn old(&self) -> Option<Box<T>> {
        if !self.taken.swap(false, Ordering::Acquire) {
            return None;
        }
        self.places.lock().unwrap_or_else(PoisonError::into_inner).old.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_taken_once_and_the_old_one_comes_back() {
        let (place, mut current) = (HandOver::default(), Box::new(0));
        assert!(!place.take(&mut current));
        assert!(place.offer(Box::new(1)).is_none());
        assert_eq!(place.offer(Box::new(2)).as_deref(), Some(&1));
        assert!(place.take(&mut current) && *current == 2);
        assert!(place.offer(Box::new(3)).is_none());
        assert!(!place.take(&mut current), "the old one is still there");
        assert_eq!(place.old().as_deref(), Some(&0));
        assert!(place.take(&mut current) && *current == 3);
        place.offer(Box::new(4));
        assert_eq!(place.withdraw().as_deref(), Some(&4));
        assert!(place.old().is_some() && !place.take(&mut current));
    }

    #[test]
    fn a_lock_that_is_held_is_not_waited_for() {
        let (place, mut current) = (HandOver::default(), Box::new(0));
        place.offer(Box::new(1));
        let held = place.places.lock().expect("free");
        assert!(!place.take(&mut current));
        drop(held);
        assert!(place.take(&mut current));
    }
}
