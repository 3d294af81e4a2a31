//! Lists of tensors that many files have in common.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{TensorInfo, WeightFile};

/// The lists of tensors of some files, each of them once.
///
/// Of thousands of open files nearly all memory is the lists, which are equal, and the metadata,
/// which is read once.
///
/// ```
/// use aggregate::{Layouts, TensorData, TensorRef, weight_file};
///
/// let layouts = Layouts::default();
/// let tensor = TensorRef { name: "w", shape: &[1], data: TensorData::F32(&[1.0]) };
/// let mut files = Vec::new();
/// for node in ["a", "b"] {
///     let mut file = weight_file(node, &[tensor], &Default::default())?;
///     layouts.share(&mut file);
///     files.push(file);
/// }
/// assert!(std::ptr::eq(files[0].tensors(), files[1].tensors()));
/// # Ok::<(), aggregate::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Layouts(Mutex<BTreeSet<Arc<[TensorInfo]>>>);

impl Layouts {
    /// Lets a file use the list of another one that has an equal one, and forget its metadata.
    pub fn share(&self, file: &mut WeightFile) {
        self.share_tensors(file);
        file.forget_metadata();
    }

    /// Lets a file use the list of another one that has an equal one.
    pub(crate) fn share_tensors(&self, file: &mut WeightFile) {
        let shared = self.only_one(file.shared_tensors());
        file.share(shared);
    }

    /// The first list that is equal to this one.
    pub(crate) fn only_one(&self, list: Arc<[TensorInfo]>) -> Arc<[TensorInfo]> {
        // The set only ever grows by whole entries, so it is sound even if another thread panicked.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = known.get(&list).map_or(list, Arc::clone);
        known.insert(Arc::clone(&first));
        first
    }
}
