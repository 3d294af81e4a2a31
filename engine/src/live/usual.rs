//! How sure the model that answers was of its last windows: that is usual of it here.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use monitor::Usual;

use super::answer::Label;

/// Windows that are remembered.
const LAST: usize = 200;

/// Confidences of the model that answers, and of the one that answered before it.
#[derive(Debug, Default)]
pub(super) struct LastConfidences {
    now: Of,
    before: Of,
}

#[derive(Debug, Default)]
struct Of {
    model: Option<Arc<Label>>,
    confidences: VecDeque<f32>,
}

impl LastConfidences {
    /// A model answered a window that shares no row with the one before.
    pub(super) fn answered(&mut self, model: &Arc<Label>, p: f32) {
        if !self.now.model.as_ref().is_some_and(|known| Arc::ptr_eq(known, model)) {
            let now = Of { model: Some(Arc::clone(model)), ..Of::default() };
            self.before = mem::replace(&mut self.now, now);
        }
        if self.now.confidences.len() == LAST {
            self.now.confidences.pop_front();
        }
        self.now.confidences.push_back(p);
    }

    /// How sure one of them usually is; nothing where it gave few answers.
    pub(super) fn usual(&self, hash: &str) -> Option<Usual> {
        let is_it = |of: &&Of| of.model.as_ref().is_some_and(|model| model.hash == hash);
        let of = [&self.now, &self.before].into_iter().find(is_it)?;
        Usual::of(&of.confidences.iter().map(|&p| f64::from(p)).collect::<Vec<_>>())
    }
}
