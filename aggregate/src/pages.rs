//! Factors of many files, read some rows at a time: a file is opened once for all that a page takes of it.
//!
//! Each block of the result takes a few values of every file. Where there are more files than may be
//! open, each read would open its file again, thousands of times for one factor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dtype::{byte_len, decode_floats, first_invalid};
use crate::{Dtype, Error, TensorInfo, WeightFile};

/// About how many bytes a page has, but for rows that are longer.
const PAGE_BYTES: usize = 1 << 24;

/// Bytes that an element takes for the count, as most do, or twice as much.
const ELEMENT_BYTES: usize = 4;

/// Most pages that are kept: workers may be at as many small tensors at a time.
const MAX_PAGES: usize = 16;

/// Rows of one tensor, by the tensor and the number of the page.
type Key = (usize, usize);

/// Pages that were read, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<Vec<(Key, Arc<Slot>)>>);

/// A page, or the place of one that is being read; who comes meanwhile waits.
#[derive(Debug)]
struct Slot {
    n_bytes: usize,
    page: Mutex<Option<Arc<Page>>>,
}

/// What the members have in some rows.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// In order of members.
    pieces: Vec<Piece>,
    /// Whether all of it is finite.
    pub(crate) is_finite: bool,
}

/// What one member has in them.
#[derive(Debug)]
struct Piece {
    member: usize,
    /// Which of the member's own elements is the first.
    start: usize,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Page {
    /// Reads elements of a member's own tensor, from `start` on.
    pub(crate) fn read(
        &mut self,
        member: usize,
        (file, own): (&WeightFile, &TensorInfo),
        start: usize,
        n_elements: usize,
    ) -> Result<(), Error> {
        let mut bytes = vec![0; byte_len(own.dtype, n_elements)];
        file.read_at(own, start, &mut bytes)?;
        self.is_finite &= first_invalid(own.dtype, &bytes).is_none();
        self.pieces.push(Piece { member, start, dtype: own.dtype, bytes });
        Ok(())
    }

    /// The values of a member's own elements from `start` on, which are on this page; none if it does not
    /// have the tensor.
    pub(crate) fn values(&self, member: usize, start: usize, n: usize, out: &mut Vec<f64>) -> bool {
        let Ok(at) = self.pieces.binary_search_by(|piece| piece.member.cmp(&member)) else {
            return false;
        };
        let Piece { start: first, dtype, bytes, .. } = &self.pieces[at];
        let from = byte_len(*dtype, start - first);
        decode_floats(*dtype, &bytes[from..from + byte_len(*dtype, n)], out);
        true
    }
}

/// How many rows of so many elements a page has.
pub(crate) fn rows_per_page(row: usize) -> usize {
    (PAGE_BYTES / ELEMENT_BYTES / row.max(1)).max(1)
}

impl Pages {
    /// A page of so many elements, which `load` reads if it is not here.
    pub(crate) fn get(
        &self,
        key: Key,
        n_elements: usize,
        load: impl FnOnce(&mut Page) -> Result<(), Error>,
    ) -> Result<Arc<Page>, Error> {
        let slot = self.slot(key, n_elements.saturating_mul(ELEMENT_BYTES));
        let mut known = slot.page.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = &*known {
            return Ok(Arc::clone(page));
        }
        let mut page = Page { pieces: Vec::new(), is_finite: true };
        load(&mut page)?;
        Ok(Arc::clone(known.insert(Arc::new(page))))
    }

    /// The place of a page; the oldest give way to it.
    fn slot(&self, key: Key, n_bytes: usize) -> Arc<Slot> {
        let mut all = self.lock();
        if let Some((_, slot)) = all.iter().find(|(other, _)| *other == key) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot { n_bytes, page: Mutex::new(None) });
        all.push((key, Arc::clone(&slot)));
        // Blocks are taken in order, so that two neighbours are all that is needed of large ones.
        let held = |all: &[(Key, Arc<Slot>)]| {
            all.iter().fold(0, |sum: usize, (_, slot)| sum.saturating_add(slot.n_bytes))
        };
        while all.len() > MAX_PAGES || (all.len() > 2 && held(&all) > 2 * PAGE_BYTES) {
            all.remove(0);
        }
        slot
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Key, Arc<Slot>)>> {
        // It only ever changes by whole entries, so it is sound even if another thread panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{TensorData, TensorRef, weight_file};

    #[test]
    fn pages_are_read_once_and_the_oldest_give_way() {
        let values = [1.0, 2.0, 3.0, 4.0];
        let tensor = TensorRef { name: "w", shape: &[4], data: TensorData::F32(&values) };
        let file = weight_file("x", &[tensor], &BTreeMap::new()).unwrap();
        let (pages, mut n_loaded) = (Pages::default(), 0);
        let mut get = |key: Key, n: usize| {
            pages.get(key, n, |page| {
                n_loaded += 1;
                page.read(7, (&file, &file.tensors()[0]), 1, 3)
            })
        };
        let page = get((0, 0), 3).unwrap();
        let mut out = Vec::new();
        assert!(page.values(7, 2, 2, &mut out) && !page.values(6, 2, 2, &mut Vec::new()));
        assert_eq!(out, [3.0, 4.0]);
        get((0, 0), 3).unwrap();
        for number in 0..3 {
            get((1, number), PAGE_BYTES / ELEMENT_BYTES).unwrap();
        }
        get((1, 2), 3).unwrap();
        get((0, 0), 3).unwrap();
        assert_eq!(n_loaded, 5);
        assert!(pages.lock().len() <= 3);
    }
}
