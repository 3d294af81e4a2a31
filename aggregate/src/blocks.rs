//! The cut of all tensors into blocks, and the pass over them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::dtype::element_width;
use crate::{Error, TensorInfo};

/// Bytes of the rows of a block together: what stays in a core's second-level cache.
const BLOCK_BYTES: usize = 1 << 20;
/// Most and least bytes of one row.
const ROW_BYTES: [usize; 2] = [1 << 16, 1 << 13];
/// Most blocks that wait to be written, unless there are more workers.
const MAX_WAITING: usize = 16;

/// Some consecutive elements of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Block {
    /// Which tensor, in order of names.
    pub(crate) tensor: usize,
    /// The first element.
    pub(crate) start: usize,
    pub(crate) n_elements: usize,
}

/// All blocks of some tensors, in an order of tensors. The cut depends on tensors and the number of
/// rows alone, so that results do not depend on the threads.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Tensor, elements, elements per block, and the blocks of all tensors before.
    tensors: Vec<(usize, usize, usize, usize)>,
    len: usize,
}

impl Blocks {
    /// Blocks for `n_rows` files at a time.
    pub(crate) fn new(
        tensors: &[TensorInfo],
        order: impl Iterator<Item = usize>,
        n_rows: usize,
    ) -> Self {
        let [most, least] = ROW_BYTES;
        let row_bytes = (BLOCK_BYTES / n_rows.max(1)).clamp(least, most);
        Self::of_bytes(tensors, order, 1 << row_bytes.ilog2())
    }

    /// Blocks of so many bytes of each file.
    pub(crate) fn of_bytes(
        tensors: &[TensorInfo],
        order: impl Iterator<Item = usize>,
        row_bytes: usize,
    ) -> Self {
        let mut len = 0;
        let tensors = order
            .map(|i| {
                let n = tensors[i].n_elements();
                // 16 bits become f32 in memory.
                let per_block = (row_bytes / element_width(tensors[i].dtype).max(4)).max(1);
                // A block of packed elements begins and ends with a byte.
                let is_packed = element_width(tensors[i].dtype) == 0;
                let per_block = if is_packed { per_block.next_multiple_of(8) } else { per_block };
                let before = len;
                len += n.div_ceil(per_block);
                (i, n, per_block, before)
            })
            .collect();
        Self { tensors, len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, index: usize) -> Block {
        // The last tensor that begins at or before the index; those without elements begin where
        // the next one does.
        let at = self.tensors.partition_point(|&(.., before)| before <= index) - 1;
        let (tensor, n, per_block, before) = self.tensors[at];
        let start = (index - before) * per_block;
        Block { tensor, start, n_elements: per_block.min(n - start) }
    }
}

/// Does `work` for every number below `n`, on all workers at once, and hands the results to `take`
/// in order, one at a time, by whichever worker has the next one.
pub(crate) fn pass<W: Send, R: Send>(
    n: usize,
    workers: &mut [W],
    work: impl Fn(&mut W, usize) -> Result<R, Error> + Sync,
    mut take: impl FnMut(usize, R) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    pass_until(n, workers, work, |i, result| {
        take(i, result)?;
        Ok(ControlFlow::Continue(()))
    })
}

/// A [`pass`] that `take` may end before all results are there.
pub(crate) fn pass_until<W: Send, R: Send>(
    n: usize,
    workers: &mut [W],
    work: impl Fn(&mut W, usize) -> Result<R, Error> + Sync,
    take: impl FnMut(usize, R) -> Result<ControlFlow<()>, Error> + Send,
) -> Result<(), Error> {
    let most_waiting = MAX_WAITING.max(2 * workers.len());
    let next = AtomicUsize::new(0);
    let queue = Queue {
        turn: Mutex::new(Turn {
            at: 0,
            waiting: BTreeMap::new(),
            take: Some(take),
            end: Ok(false),
            n_asleep: 0,
        }),
        taken: Condvar::new(),
    };
    workers.par_iter_mut().with_max_len(1).for_each(|worker| {
        let _end = EndOfPanic(&queue);
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n || !queue.has_room(i, most_waiting) {
                return;
            }
            queue.put(i, work(worker, i));
        }
    });
    let turn = queue.turn.into_inner().unwrap_or_else(PoisonError::into_inner);
    turn.end.map(|_| ())
}

/// Results that wait until those before them are taken.
struct Queue<R, T> {
    turn: Mutex<Turn<R, T>>,
    /// Told whenever results were taken, or there is an end.
    taken: Condvar,
}

struct Turn<R, T> {
    /// The result that is taken next.
    at: usize,
    waiting: BTreeMap<usize, Result<R, Error>>,
    /// What takes them; none while a worker is at it.
    take: Option<T>,
    /// Whether nothing more is to be taken, or the error that is the reason.
    end: Result<bool, Error>,
    /// Workers that wait for room: to tell nobody is a call of the system, too.
    n_asleep: usize,
}

/// Ends a pass whose worker panics: others would wait for its result.
struct EndOfPanic<'a, R, T>(&'a Queue<R, T>);

impl<R, T> Drop for EndOfPanic<'_, R, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.turn().end = Ok(true);
            self.0.taken.notify_all();
        }
    }
}

impl<R, T> Queue<R, T> {
    fn turn(&self) -> MutexGuard<'_, Turn<R, T>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R, T: FnMut(usize, R) -> Result<ControlFlow<()>, Error>> Queue<R, T> {
    /// Waits until a result would be one of the next so many; false if there is an end.
    ///
    /// Whoever has the next result is at work on it, or takes results, and waits for nobody.
    fn has_room(&self, i: usize, most_waiting: usize) -> bool {
        let mut turn = self.turn();
        while matches!(turn.end, Ok(false)) && i >= turn.at + most_waiting {
            turn.n_asleep += 1;
            turn = self.taken.wait(turn).unwrap_or_else(PoisonError::into_inner);
            turn.n_asleep -= 1;
        }
        matches!(turn.end, Ok(false))
    }

    /// Leaves a result, and takes all that are next, unless another worker does.
    fn put(&self, i: usize, result: Result<R, Error>) {
        let mut turn = self.turn();
        turn.waiting.insert(i, result);
        let Some(mut take) = turn.take.take() else { return };
        while matches!(turn.end, Ok(false)) {
            let at = turn.at;
            let Some(result) = turn.waiting.remove(&at) else { break };
            // The others go on meanwhile.
            drop(turn);
            let end = result.and_then(|result| take(at, result)).map(|flow| flow.is_break());
            turn = self.turn();
            turn.at += 1;
            turn.end = end;
            if turn.n_asleep > 0 {
                self.taken.notify_all();
            }
        }
        turn.take = Some(take);
    }
}

/// One scratch for each thread of the calling pool, but no more than keep memory within bounds.
pub(crate) fn workers<W>(make: impl Fn() -> W) -> Vec<W> {
    (0..rayon::current_num_threads().min(16)).map(|_| make()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    #[test]
    fn blocks_cover_every_tensor_once() {
        let tensor = |n: usize, dtype| TensorInfo {
            name: String::new(),
            dtype,
            shape: vec![n],
            start: 0,
            shard: 0,
        };
        let tensors = [
            tensor(5, Dtype::F32),
            tensor(0, Dtype::F32),
            tensor(3, Dtype::F64),
            tensor(4, Dtype::F16),
            tensor(0, Dtype::BOOL),
            tensor(12, Dtype::F4),
        ];
        let blocks = Blocks::of_bytes(&tensors, [3, 1, 2, 0, 4, 5].into_iter(), 16);
        let all: Vec<_> = (0..blocks.len()).map(|i| blocks.get(i)).collect();
        let edges: Vec<_> = all.iter().map(|b| (b.tensor, b.start, b.n_elements)).collect();
        let packed = [(5, 0, 8), (5, 8, 4)];
        let others = [(3, 0, 4), (2, 0, 2), (2, 2, 1), (0, 0, 4), (0, 4, 1)];
        assert_eq!(edges, [&others[..], &packed].concat());
    }

    #[test]
    fn results_come_in_order_and_errors_end_the_pass() {
        for n_threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| {
                let mut seen = Vec::new();
                let take = |i, r: usize| {
                    seen.push((i, r));
                    Ok(())
                };
                pass(1000, &mut workers(|| ()), |(), i| Ok(i * i), take).unwrap();
                let expected: Vec<_> = (0..1000).map(|i| (i, i * i)).collect();
                assert_eq!(seen, expected);
                let fail = |(): &mut (), i| if i == 7 { Err(Error::NoUpdates) } else { Ok(i) };
                assert!(pass(1000, &mut workers(|| ()), fail, |_, _| Ok(())).is_err());
            });
        }
    }

    #[test]
    #[should_panic(expected = "block 40")]
    fn a_panic_ends_the_pass() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let work = |(): &mut (), i| {
            assert!(i != 40, "block {i}");
            Ok(i)
        };
        let _ = pool.install(|| pass(100_000, &mut workers(|| ()), work, |_, _| Ok(())));
    }

    #[test]
    fn no_worker_runs_far_ahead() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        pool.install(|| {
            let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = |(): &mut (), i| {
                begun.fetch_max(i, Ordering::Relaxed);
                Ok(i)
            };
            let take = |i, _| {
                let ahead = begun.load(Ordering::Relaxed).saturating_sub(i);
                assert!(ahead <= MAX_WAITING + 4, "{ahead} blocks ahead");
                taken.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            pass(10_000, &mut workers(|| ()), work, take).unwrap();
            assert_eq!(taken.into_inner(), 10_000);
        });
    }

    #[test]
    fn a_pass_ends_where_it_is_told_to() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| {
            let mut seen = Vec::new();
            let take = |i, _| {
                seen.push(i);
                Ok(if i == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            pass_until(1000, &mut workers(|| ()), |(), i| Ok(i), take).unwrap();
            assert_eq!(seen, (0..8).collect::<Vec<_>>());
        });
    }
}
