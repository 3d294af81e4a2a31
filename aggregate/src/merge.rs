//! The merge: checks, reduces, steps and writes, block by block.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use crate::admit::{Base, admit};
use crate::atomic::check_target;
use crate::dtype::{Kind, encode_floats, encode_integers, kind};
use crate::mean::{Block, Cohort, Scratch, mean_of_floats, mean_of_integers};
use crate::server_step::Mover;
use crate::state::{SavedState, StateWriter};
use crate::write::{TensorWriter, layout_order};
use crate::{Error, Options, Report, ServerStep, Summary, TensorInfo, Update};

/// Elements per block: large enough to read well, small enough that the buffers stay in cache.
const BLOCK_ELEMENTS: usize = 1 << 15;

/// Merges weight files into one.
///
/// Every update is checked (see [`Reason`](crate::Reason)) and those that fail are left out and
/// reported; the rest is reduced, the server step is taken, and the result is written to `out`
/// under the metadata that the callback returns. `out` may be the base file.
///
/// The bytes of `out` do not depend on the order of `updates` or on the number of threads, and no
/// more than a few blocks of values are in memory at a time.
///
/// Without a base file, updates must have the names, shapes and dtypes that most of them have, and
/// must not state another base than most that state one. Each node votes once for each variant it
/// sent; in a tie, the update with the lowest content hash decides. Of two updates of one node, the
/// one with the lower hash counts, a weight of 0 coming last.
///
/// The state, if there is one, gets its name just before the model. Should the machine stop
/// between the two, the old model is in place and the state names the hash of a model that is not:
/// the next merge refuses it with [`Error::StateModel`] instead of mixing the rounds, unless
/// `state_in` and `state_out` are different files, when the merge can simply be run again.
///
/// ```
/// use aggregate::{Options, TensorData, TensorRef, Update, WeightFile, aggregate, write_file};
///
/// let folder = tempfile::tempdir()?;
/// let mut updates = Vec::new();
/// for (node, values, n_examples) in [("a", [1.0, 2.0], 30.0), ("b", [3.0, 2.0], 10.0)] {
///     let path = folder.path().join(node);
///     let tensor = TensorRef { name: "w", shape: &[2], data: TensorData::F32(&values) };
///     write_file(&path, &[tensor], &Default::default())?;
///     updates.push(Update { node: Some(node.into()), ..Update::new(path, n_examples) });
/// }
///
/// let out = folder.path().join("global.safetensors");
/// let report = aggregate(&updates, &Options::default(), &out, &|summary| {
///     [("inputs".to_owned(), summary.admitted.len().to_string())].into()
/// })?;
/// assert!(report.summary.rejected.is_empty());
/// assert_eq!(WeightFile::open(&out)?.read_f32("w")?, [1.5, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the list, the weights, the options, the base, the state or the output path are unusable, if
/// no update is admitted, or one is not and `on_rejection` does not forgive it, and if the result leaves the range of
/// its dtype. Neither `out` nor the state is written then.
pub fn aggregate(
    updates: &[Update],
    options: &Options,
    out: &Path,
    metadata: &dyn Fn(&Summary) -> BTreeMap<String, String>,
) -> Result<Report, Error> {
    merge(updates, options, out, metadata, BLOCK_ELEMENTS)
}

fn merge(
    updates: &[Update],
    options: &Options,
    out: &Path,
    metadata: &dyn Fn(&Summary) -> BTreeMap<String, String>,
    block_elements: usize,
) -> Result<Report, Error> {
    let state_out = check_options(options, out)?;
    let base = options.base.as_deref().map(Base::open).transpose()?;
    let mover = prepare_step(options, base.as_ref())?;
    let admission = admit(updates, base.as_ref(), options.on_rejection)?;
    let tensors = &admission.tensors;
    let cohort = Cohort::new(&admission.inputs);

    let step = mover.as_ref().map(Mover::step_number).filter(|_| state_out.is_some());
    let summary = Summary::of(&admission, &cohort, options, step);
    let mut layout: Vec<usize> = (0..tensors.len()).collect();
    layout.sort_by(|&a, &b| {
        let key = |i: usize| (tensors[i].dtype, tensors[i].name.as_str());
        layout_order(key(a), key(b))
    });
    let in_layout = || layout.iter().map(|&i| &tensors[i]);
    let specs = in_layout().map(|t| (t.name.clone(), t.dtype, t.shape.clone())).collect();
    let mut writer = TensorWriter::create(out, specs, &metadata(&summary))?;
    let mut state_writer = match (state_out, step) {
        (Some(path), Some(step)) => {
            Some(StateWriter::create(path, options.server_step, step, in_layout())?)
        }
        _ => None,
    };

    // The blocks depend on the tensors alone, and each is a result of its own: how many of them
    // are worked on at a time does not show in the output.
    let blocks: Vec<_> =
        layout.iter().flat_map(|&i| split(i, tensors[i].n_elements(), block_elements)).collect();
    for wave in blocks.chunks(4 * rayon::current_num_threads()) {
        let results: Vec<Result<Merged, Error>> = wave
            .par_iter()
            .map_init(Scratch::default, |scratch, &block| {
                let tensor = &tensors[block.tensor];
                merge_block(tensor, &cohort, block, base.as_ref(), mover.as_ref(), scratch)
            })
            .collect();
        for result in results {
            let Merged { bytes, momentum } = result?;
            writer.write(&bytes)?;
            if let Some(state_writer) = &mut state_writer {
                state_writer.write(&momentum)?;
            }
        }
    }

    let mut bytes_read = admission.n_read_rejected;
    for source in admission.inputs.iter().map(|input| &input.source) {
        source.check_unchanged()?;
        bytes_read += source.n_read();
    }
    if let Some(base) = &base {
        base.file.source().check_unchanged()?;
        bytes_read += base.file.source().n_read();
    }
    if let Some(saved) = mover.as_ref().and_then(|mover| mover.saved.as_ref()) {
        saved.check_unchanged()?;
        bytes_read += saved.n_read();
    }

    let (out_hash, model_file) = writer.finish()?;
    if let (Some(state_writer), Some(path)) = (state_writer, state_out) {
        state_writer.finish(path, out_hash.clone())?.persist()?;
    }
    model_file.persist()?;
    Ok(Report {
        out: out.to_owned(),
        out_hash,
        state_out: state_out.map(Path::to_owned),
        summary,
        n_tensors: tensors.len() as u64,
        n_parameters: tensors.iter().map(|t| t.n_elements() as u64).sum(),
        bytes_read,
    })
}

/// Checks what needs no reading; returns where the state goes, if there is one.
fn check_options<'a>(options: &'a Options, out: &Path) -> Result<Option<&'a Path>, Error> {
    check_target(out)?;
    options.server_step.validate()?;
    let ServerStep::Sgd { momentum, .. } = options.server_step else { return Ok(None) };
    if !options.server_step.has_state() {
        return Ok(None);
    }
    let path = options.state_out.as_deref().ok_or(Error::StateNeeded { momentum })?;
    if path == out {
        return Err(Error::StateIsModel { path: path.to_owned() });
    }
    check_target(path)?;
    Ok(Some(path))
}

/// The server step with its saved state, unless it is to replace.
fn prepare_step<'a>(options: &Options, base: Option<&'a Base>) -> Result<Option<Mover<'a>>, Error> {
    let Some((lr, config)) = options.server_step.movement()? else { return Ok(None) };
    let server_step = options.server_step.name();
    let base = base.ok_or(Error::BaseNeeded { server_step })?;
    let saved = match &options.state_in {
        Some(path) if options.server_step.has_state() => {
            SavedState::open(path, &base.hash, base.file.tensors())?
        }
        _ => None,
    };
    Ok(Some(Mover { base, lr, config, saved }))
}

/// The blocks of one tensor; none if it has no elements.
fn split(tensor: usize, n_elements: usize, block_elements: usize) -> impl Iterator<Item = Block> {
    (0..n_elements).step_by(block_elements).map(move |start| Block {
        tensor,
        start,
        n_elements: block_elements.min(n_elements - start),
    })
}

/// One block of the output, and its momentum if the server step has one.
struct Merged {
    bytes: Vec<u8>,
    momentum: Vec<f32>,
}

fn merge_block(
    tensor: &TensorInfo,
    cohort: &Cohort<'_>,
    block: Block,
    base: Option<&Base>,
    mover: Option<&Mover<'_>>,
    scratch: &mut Scratch,
) -> Result<Merged, Error> {
    let mut merged = Merged { bytes: Vec::new(), momentum: Vec::new() };
    if let Some(base) = base.filter(|_| !cohort.moves(&tensor.name)) {
        // A tensor that no update holds stays as it is, whatever momentum it has.
        base.read_block(block, &mut merged.bytes)?;
        if let Some(mover) = mover.filter(|_| kind(tensor.dtype) != Kind::Integer) {
            merged.momentum = mover.momentum(block, &mut scratch.bytes)?;
        }
        return Ok(merged);
    }
    if kind(tensor.dtype) == Kind::Integer {
        mean_of_integers(cohort, block, tensor, scratch)?;
        encode_integers(tensor.dtype, &scratch.integers.mean, &mut merged.bytes);
        return Ok(merged);
    }
    mean_of_floats(cohort, block, tensor, scratch)?;
    let mean = &scratch.floats.mean;
    match mover {
        Some(mover) => {
            merged.momentum = mover.step(block, mean, &mut scratch.bytes, &mut merged.bytes)?;
        }
        None => encode_floats(tensor.dtype, mean, &mut merged.bytes),
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Dtype, TensorData, TensorRef, write_file};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Where the blocks begin and end does not show, in the model or in the state.
        #[test]
        fn block_edges_do_not_show(
            block_elements in 1..9usize,
            n_elements in 0..20usize,
            n_files in 1..4u64,
            momentum in prop::sample::select(vec![0.0f32, 0.9]),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let save = |name: String, seed| {
                let floats = testkit::sequence(seed, n_elements);
                let wide: Vec<f64> = floats.iter().map(|&v| f64::from(v) / 3.0).collect();
                let counts: Vec<i64> = floats.iter().map(|v| (v * 1e6) as i64).collect();
                let flags: Vec<u8> = floats.iter().map(|&v| u8::from(v > 0.0)).collect();
                let shape = &[n_elements];
                let data = [
                    ("a", TensorData::Raw { dtype: Dtype::BOOL, bytes: &flags }),
                    ("b", TensorData::F32(&floats)),
                    ("c", TensorData::F64(&wide)),
                    ("d", TensorData::I64(&counts)),
                ];
                let tensors = data.map(|(name, data)| TensorRef { name, shape, data });
                write_file(path(&name), &tensors, &BTreeMap::new()).unwrap();
                Update::new(path(&name), seed as f64)
            };
            let base = save("base".into(), 99).path;
            let updates: Vec<_> = (1..=n_files).map(|seed| save(seed.to_string(), seed)).collect();

            let mut outputs = Vec::new();
            for block_elements in [block_elements, BLOCK_ELEMENTS] {
                // Two rounds, the second with the state of the first.
                let mut base = base.clone();
                for round in 0..2 {
                    let options = Options {
                        base: Some(base),
                        server_step: ServerStep::Sgd { lr: 0.5, momentum, nesterov: false },
                        state_in: Some(path("state")).filter(|_| round > 0),
                        state_out: Some(path("state")),
                        ..Options::default()
                    };
                    let out = path(&format!("out{round}"));
                    merge(&updates, &options, &out, &|_| BTreeMap::new(), block_elements).unwrap();
                    outputs.push(std::fs::read(&out).unwrap());
                    outputs.push(std::fs::read(path("state")).unwrap_or_default());
                    base = out;
                }
            }
            let (small, large) = outputs.split_at(4);
            prop_assert_eq!(small, large);
        }
    }

    #[test]
    fn blocks_cover_a_tensor_once() {
        let edges =
            |n: usize| -> Vec<_> { split(0, n, 4).map(|b| (b.start, b.n_elements)).collect() };
        assert_eq!(edges(0), []);
        assert_eq!(edges(1), [(0, 1)]);
        assert_eq!(edges(4), [(0, 4)]);
        assert_eq!(edges(5), [(0, 4), (4, 1)]);
        assert_eq!(edges(8), [(0, 4), (4, 4)]);
    }
}
