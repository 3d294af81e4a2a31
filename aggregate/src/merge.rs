//! The merge: checks, reduces, steps and writes, block by block.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::admit::{Admission, Base, Candidates, Checks};
use crate::atomic::check_target;
use crate::blocks::{Block, Blocks, pass, workers};
use crate::cohort::Cohort;
use crate::dtype::{Kind, element_width, encode_floats, first_invalid, kind};
use crate::gram::{Gram, Origin, gram};
use crate::mover::{Mover, out_of_range};
use crate::patterns::Patterns;
use crate::plan::{Linear, Plan, Slerp, check_number, needs_gram, plan};
use crate::privacy::{PrivacyState, PrivateRound};
use crate::reduce::{Outcome, Reduced, Scratch, reduce_block, square_distance};
use crate::reject::Reason;
use crate::select::median;
use crate::sparse::Sparse;
use crate::state::{SavedState, StateWriter};
use crate::write::{TensorWriter, layout_order};
use crate::{
    Admitted, Change, Dtype, Error, Options, PrivacyReport, Reducer, Report, ServerStep, Summary,
    TensorInfo, Update,
};

/// How the names of control variates begin, which are averaged whatever the reducer is.
pub const CONTROL_PREFIX: &str = "control.";

/// The most characters of a number.
const LONGEST_NUMBER: usize = 24;

/// With fewer updates, a norm cannot be told from the others'.
const LEAST_FOR_NORMS: usize = 4;

/// Merges weight files into one.
///
/// Every update is checked (see [`Reason`](crate::Reason)) and those that fail are left out and
/// reported; the rest is reduced, the server step is taken, and the result is written to `out`
/// under the metadata that the callback returns. `out` may be the base file.
///
/// The bytes of `out` do not depend on the order of `updates` or on the number of threads, and a
/// few blocks of values are in memory at a time, whatever the size of the files. Values are read
/// once; twice if the rule needs distances; once more for each time that an update turns out to be
/// bad.
///
/// Without a base file, updates must have the names, shapes and dtypes that most of them have, and
/// must not state another base than most that state one. Each node votes once for each variant it
/// sent; in a tie, the update with the lowest fingerprint decides. Of two updates of one node, the
/// one with the lower fingerprint counts, a weight of 0 coming last.
///
/// Integers and booleans are carried: updates whose integers are not those of most are rejected.
///
/// The callback is called twice: with placeholders for what the merge has yet to find out, to leave
/// room for it, and with the result. Its text may only differ in those numbers.
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
/// fewer updates are admitted than the quorum or the rule needs, or one is not and `on_rejection`
/// does not forgive it, and if the result leaves the range of its dtype. Neither `out` nor the state
/// is written then.
pub fn aggregate(
    updates: &[Update],
    options: &Options,
    out: &Path,
    metadata: &Metadata<'_>,
) -> Result<Report, Error> {
    merge(updates, options, out, metadata, None)
}

/// Makes the metadata of the output from what is known of the merge.
type Metadata<'a> = dyn Fn(&Summary) -> BTreeMap<String, String> + 'a;

fn merge(
    updates: &[Update],
    options: &Options,
    out: &Path,
    metadata: &Metadata<'_>,
    row_bytes: Option<usize>,
) -> Result<Report, Error> {
    let state_out = check_options(options, out)?;
    let keep_local = Patterns::new(&options.keep_local)?;
    let base = options.base.as_deref().map(Base::open).transpose()?;
    if let Some(base) = &base {
        let names = base.file.tensors().iter().map(|tensor| tensor.name.as_str());
        keep_local.check_all_match(names)?;
    }
    let older = match options.reducer {
        Reducer::Buffered { .. } => open_older(options, base.as_ref())?,
        _ => Vec::new(),
    };
    let (mover, private) = prepare(options, base.as_ref())?;
    let checks = Checks {
        base: base.as_ref(),
        older: older.iter().map(|base| base.hash.as_str()).collect(),
        keep_local: &keep_local,
        options,
    };
    let mut candidates = Candidates::open(updates, &checks)?;
    loop {
        let admission = match candidates.select(&checks) {
            // Nothing is merged: then all that is wrong shall be said at once.
            Err(Error::Rejected { .. } | Error::NothingAdmitted { .. }) => {
                candidates.refuse(candidates.not_finite()?);
                candidates.select(&checks)?
            }
            other => other?,
        };
        let tensors = &admission.tensors;
        let cohort = Cohort::new(tensors, &admission.inputs, base.as_ref(), &older);
        let run = Run {
            kept: tensors.iter().map(|t| keep_local.matches(&t.name)).collect(),
            admission: &admission,
            cohort: &cohort,
            options,
            mover: mover.as_ref(),
            private: private.as_ref(),
            row_bytes,
        };
        match run.attempt(out, state_out, metadata)? {
            Attempt::NotFinite(block) => {
                let refused = candidates.not_finite()?;
                if refused.is_empty() {
                    cohort.check_unchanged()?;
                    if let Some(base) = &base {
                        base.read_block(block, &mut Vec::new())?;
                    }
                    return Err(out_of_range(&tensors[block.tensor], block.start));
                }
                candidates.refuse(refused);
            }
            Attempt::Refused(refused) => candidates.refuse(refused),
            Attempt::Done(mut report) => {
                report.bytes_read = candidates.n_read()
                    + base.iter().chain(&older).map(|base| base.file.n_read()).sum::<u64>()
                    + mover.as_ref().and_then(|m| m.saved.as_ref()).map_or(0, SavedState::n_read);
                return Ok(*report);
            }
        }
    }
}

/// Checks what needs no reading; returns where the state goes, if there is one.
fn check_options<'a>(options: &'a Options, out: &Path) -> Result<Option<&'a Path>, Error> {
    check_target(out)?;
    options.reducer.validate()?;
    options.server_step.validate()?;
    if let Some(bucketing) = options.bucketing {
        let reducer = options.reducer;
        let goes = matches!(reducer, Reducer::Median | Reducer::TrimmedMean { .. })
            || needs_gram(options) && options.privacy.is_none();
        if !goes {
            return Err(Error::Bucketing { reducer: reducer.name() });
        }
        if bucketing.size == 0 {
            return Err(Error::BucketSize);
        }
    }
    let has_base = options.base.is_some();
    if let Some(privacy) = &options.privacy {
        privacy.validate()?;
        let problem = match options.reducer {
            Reducer::Mean if has_base => None,
            Reducer::Mean => Some("name the base"),
            _ => Some("leave the reducer out"),
        };
        if let Some(problem) = problem {
            return Err(Error::PrivacyConflict { problem });
        }
    }
    let needs_state = options.server_step.has_state() || options.privacy.is_some();
    let state_out = match &options.state_out {
        Some(path) if needs_state && path == out => {
            return Err(Error::StateIsModel { path: path.to_owned() });
        }
        Some(path) if needs_state => {
            check_target(path)?;
            Some(path.as_path())
        }
        None if needs_state => {
            let replaces = options.server_step == ServerStep::Replace;
            let server_step = if replaces { "of privacy" } else { options.server_step.name() };
            return Err(Error::StateNeeded { server_step });
        }
        _ => None,
    };
    if options.reducer.needs_base() && !has_base {
        return Err(Error::BaseNeeded { rule: options.reducer.name() });
    }
    if options.server_step != ServerStep::Replace && !has_base {
        return Err(Error::BaseNeeded { rule: options.server_step.name() });
    }
    if !options.keep_local.is_empty() && !has_base {
        return Err(Error::BaseNeeded { rule: "keeping tensors local" });
    }
    Ok(state_out)
}

/// The older bases, each of which must have the tensors of the base.
fn open_older(options: &Options, base: Option<&Base>) -> Result<Vec<Base>, Error> {
    let open = |path: &PathBuf| {
        let older = Base::open(path)?;
        let expected = base.map_or(older.file.tensors(), |base| base.file.tensors());
        match Reason::mismatch(expected, older.file.tensors()) {
            None => Ok(older),
            Some(reason) => Err(Error::OlderBase { path: path.clone(), reason }),
        }
    };
    options.older_bases.iter().map(open).collect()
}

/// The server step with its saved state, unless it is to replace, and the private round.
fn prepare<'a>(
    options: &Options,
    base: Option<&'a Base>,
) -> Result<(Option<Mover<'a>>, Option<PrivateRound>), Error> {
    let movement = options.server_step.movement()?;
    let Some(base) = base else { return Ok((None, None)) };
    let has_state = options.server_step.has_state() || options.privacy.is_some();
    let slots = movement.as_ref().map_or(&[][..], |movement| &movement.slots);
    let mut saved = match &options.state_in {
        Some(path) if has_state => {
            let step = &options.server_step;
            SavedState::open(path, &base.hash, step, slots, base.file.tensors())?
        }
        _ => None,
    };
    let before: Option<PrivacyState> = saved.as_mut().and_then(|saved| saved.privacy.take());
    let private = options.privacy.map(|privacy| PrivateRound::new(privacy, before)).transpose()?;
    Ok((movement.map(|movement| Mover { base, movement, saved }), private))
}

/// What came of a try to merge some updates.
enum Attempt {
    Done(Box<Report>),
    /// These updates turned out to be bad; nothing was written.
    Refused(Vec<(PathBuf, Reason)>),
    /// An update holds NaN or infinity, perhaps in this block; nothing was written.
    NotFinite(Block),
}

/// One try to merge the updates that are admitted so far.
struct Run<'a> {
    admission: &'a Admission<'a>,
    cohort: &'a Cohort<'a>,
    options: &'a Options,
    mover: Option<&'a Mover<'a>>,
    private: Option<&'a PrivateRound>,
    /// Which tensors keep the base's values.
    kept: Vec<bool>,
    row_bytes: Option<usize>,
}

/// One block of the output, and what was found out on the way.
struct Merged {
    outcome: Outcome,
    bytes: Vec<u8>,
    memory: Vec<Vec<f32>>,
    moments: Vec<(usize, [f64; 2])>,
    square: f64,
    /// `‖new − base‖²` and `‖base‖²`
    change: [f64; 2],
}

/// Sums over all blocks.
#[derive(Debug, Clone)]
struct Totals {
    moments: Vec<[f64; 2]>,
    square: f64,
    changes: Vec<[f64; 2]>,
}

impl Totals {
    fn new(cohort: &Cohort<'_>) -> Self {
        let changes = vec![[0.0; 2]; cohort.tensors.len()];
        Self { moments: vec![[0.0; 2]; cohort.len()], square: 0.0, changes }
    }
}

impl Run<'_> {
    fn attempt(
        &self,
        out: &Path,
        state_out: Option<&Path>,
        metadata: &Metadata<'_>,
    ) -> Result<Attempt, Error> {
        let tensors = self.cohort.tensors;
        check_number(self.cohort, self.options)?;
        if let Some(private) = self.private {
            private.check(self.cohort.len())?;
        }
        let mut layout: Vec<usize> = (0..tensors.len()).collect();
        layout.sort_by(|&a, &b| {
            let key = |i: usize| (tensors[i].dtype, tensors[i].name.as_str());
            layout_order(key(a), key(b))
        });
        let merged: Vec<usize> = layout.iter().copied().filter(|&i| self.is_reduced(i)).collect();
        let Some((plan, gram)) = self.plan(&merged)? else {
            let tensor = merged.first().copied().unwrap_or(0);
            return Ok(Attempt::NotFinite(Block { tensor, start: 0, n_elements: 0 }));
        };
        let norms: Option<Vec<f64>> =
            gram.as_ref().map(|gram| (0..gram.len()).map(|i| gram.norm(i)).collect());
        let (mut privacy_state, mut privacy) = (None, None);
        if let (Some(private), Some(norms)) = (self.private, &norms) {
            let (state, report) = private.finish(norms)?;
            (privacy_state, privacy) = (Some(state), Some(report));
        }
        if let Some(refused) = norms.and_then(|norms| self.far_norms(&norms)) {
            return Ok(Attempt::Refused(refused));
        }

        let rounds = privacy.map_or(1, |report| report.rounds);
        let step = self.mover.map_or(rounds, Mover::step_number);
        let step = state_out.map(|_| step);
        let placeholder = self.summary(&plan, &layout, step, None, privacy);
        let in_layout = || layout.iter().map(|&i| &tensors[i]);
        let specs = in_layout().map(|t| (t.name.clone(), t.dtype, t.shape.clone())).collect();
        let mut writer = {
            // Metadata that tells of the numbers gets room for the longest of them.
            let text = metadata(&placeholder);
            let none = Totals::new(self.cohort);
            let other = self.summary(&plan, &layout, step, Some(&none), privacy);
            let n_numbers = 3 * other.admitted.len() + 2 * other.changes.len();
            let spare = if metadata(&other) == text { 0 } else { LONGEST_NUMBER * n_numbers };
            TensorWriter::create(out, specs, &text, spare)?
        };
        let mut state_writer = match (state_out, step) {
            (Some(path), Some(step)) => {
                let slots = self.mover.map_or(&[][..], |mover| &mover.movement.slots);
                let numbered = layout.iter().map(|&i| (i, &tensors[i]));
                let (server_step, saved) = (self.options.server_step, privacy_state);
                Some(StateWriter::create(path, server_step, slots, step, saved, numbered)?)
            }
            _ => None,
        };

        let mut places = vec![0; tensors.len()];
        layout.iter().enumerate().for_each(|(place, &i)| places[i] = place);
        let blocks = self.blocks(&layout);
        let mut totals = Totals::new(self.cohort);
        let mut bad_block = None;
        let mut scratches = workers(Scratch::default);
        // Buffers of blocks that were written: new ones would be fetched from the system again and
        // again.
        let spare = Mutex::new(Vec::new());
        let done = pass(
            blocks.len(),
            &mut scratches,
            |scratch, i| {
                let bytes = spare.lock().ok().and_then(|mut spare| spare.pop()).unwrap_or_default();
                self.merge_block(&plan, blocks.get(i), scratch, bytes)
            },
            |i, merged| {
                let block = blocks.get(i);
                if merged.outcome == Outcome::NotFinite {
                    bad_block = Some(block);
                    return Err(Error::NoUpdates);
                }
                for (member, moments) in &merged.moments {
                    let sums = &mut totals.moments[*member];
                    sums.iter_mut().zip(moments).for_each(|(sum, more)| *sum += more);
                }
                totals.square += merged.square;
                let changes = &mut totals.changes[block.tensor];
                changes.iter_mut().zip(merged.change).for_each(|(sum, more)| *sum += more);
                writer.write(places[block.tensor], block.start, &merged.bytes)?;
                if let Some(state_writer) = &mut state_writer {
                    state_writer.write(block, &merged.memory)?;
                }
                if let Ok(mut spare) = spare.lock() {
                    spare.push(merged.bytes);
                }
                Ok(())
            },
        );
        if let Some(block) = bad_block {
            return Ok(Attempt::NotFinite(block));
        }
        done?;
        self.cohort.check_unchanged()?;
        if let Some(saved) = self.mover.and_then(|mover| mover.saved.as_ref()) {
            saved.check_unchanged()?;
        }
        let norms: Vec<f64> = totals.moments.iter().map(|m| m[0].sqrt()).collect();
        if let Some(refused) = self.far_norms(&norms) {
            return Ok(Attempt::Refused(refused));
        }

        let buffer_bytes: usize = scratches.iter().map(Scratch::n_bytes).sum();
        let summary = self.summary(&plan, &layout, step, Some(&totals), privacy);
        let (out_hash, model_file) = writer.finish(&metadata(&summary))?;
        if let (Some(state_writer), Some(path)) = (state_writer, state_out) {
            state_writer.finish(path, out_hash.clone())?.persist()?;
        }
        model_file.persist()?;
        Ok(Attempt::Done(Box::new(Report {
            out: out.to_owned(),
            out_hash,
            state_out: state_out.map(Path::to_owned),
            summary,
            n_tensors: tensors.len() as u64,
            n_parameters: tensors.iter().map(|t| t.n_elements() as u64).sum(),
            bytes_read: 0,
            buffer_bytes: buffer_bytes as u64,
        })))
    }

    /// Whether a tensor is reduced by the rule: a float that is not kept, and no control variate.
    fn is_reduced(&self, tensor: usize) -> bool {
        let info = &self.cohort.tensors[tensor];
        kind(info.dtype) == Kind::Float && !self.kept[tensor] && !is_control(info)
    }

    fn blocks(&self, layout: &[usize]) -> Blocks {
        let (tensors, order) = (self.cohort.tensors, layout.iter().copied());
        match self.row_bytes {
            Some(row_bytes) => Blocks::of_bytes(tensors, order, row_bytes),
            None => Blocks::new(tensors, order, self.cohort.len() + self.cohort.older.len() + 1),
        }
    }

    /// Makes the plan, with the passes that it takes; `None` if products are not finite.
    fn plan(&self, merged: &[usize]) -> Result<Option<(Plan, Option<Gram>)>, Error> {
        let cohort = self.cohort;
        match (self.options.reducer, cohort.base) {
            (reducer @ Reducer::Ties { density, .. }, Some(base)) => {
                let sparse = Sparse::ties(reducer, density, cohort, base, merged)?;
                return Ok(Some((Plan::Sparse(sparse), None)));
            }
            (reducer @ Reducer::Dare { .. }, _) => {
                return Ok(Some((Plan::Sparse(Sparse::dare(reducer)), None)));
            }
            (Reducer::Slerp { t }, _) => {
                return Ok(Some((Plan::Slerp(Slerp::new(cohort, merged, t)?), None)));
            }
            _ => {}
        }
        if !needs_gram(self.options) {
            return Ok(Some((plan(cohort, None, None, self.options), None)));
        }
        let mut products = gram(cohort, merged, Origin::Base)?;
        if !products.is_finite() {
            return Ok(None);
        }
        if cohort.base.is_none()
            && let Some(origin) = products.better_origin()
        {
            products = gram(cohort, merged, Origin::Member(origin))?;
        }
        let plan = plan(cohort, Some(&products), self.private, self.options);
        Ok(Some((plan, Some(products))))
    }

    /// The updates that moved much further than the others, if there are some.
    fn far_norms(&self, norms: &[f64]) -> Option<Vec<(PathBuf, Reason)>> {
        let max_deviation = self.options.max_deviation.filter(|_| self.private.is_none())?;
        self.cohort.base?;
        if norms.len() < LEAST_FOR_NORMS {
            return None;
        }
        let middle = median(norms);
        let distances: Vec<f64> = norms.iter().map(|norm| (norm - middle).abs()).collect();
        let deviation = (1.4826 * median(&distances)).max(0.1 * middle);
        let limit = middle + max_deviation * deviation;
        let members = self.cohort.members.iter().zip(norms);
        let refused: Vec<_> = members
            .filter(|&(_, &norm)| norm > limit)
            .map(|(member, &norm)| {
                (member.input.update.path.clone(), Reason::Norm { norm, median: middle, limit })
            })
            .collect();
        // Where half of the updates did not move at all, moving is no reason.
        (!refused.is_empty() && middle > 0.0).then_some(refused)
    }

    fn merge_block(
        &self,
        plan: &Plan,
        block: Block,
        scratch: &mut Scratch,
        mut bytes: Vec<u8>,
    ) -> Result<Merged, Error> {
        bytes.clear();
        let cohort = self.cohort;
        let tensor = &cohort.tensors[block.tensor];
        let mut merged = Merged {
            outcome: Outcome::Unmoved,
            bytes,
            memory: Vec::new(),
            moments: Vec::new(),
            square: 0.0,
            change: [0.0; 2],
        };
        let is_float = kind(tensor.dtype) == Kind::Float;
        if is_float && !self.kept[block.tensor] {
            let control = is_control(tensor).then(|| self.control_plan());
            let plan = control.as_ref().unwrap_or(plan);
            let with_moments = control.is_none() && self.private.is_none();
            let Scratch { bytes, narrow, wide, result } = scratch;
            merged.outcome = if tensor.dtype == Dtype::F64 {
                reduce_block(cohort, plan, block, with_moments, bytes, wide, result)?
            } else {
                reduce_block(cohort, plan, block, with_moments, bytes, narrow, result)?
            };
        }
        match merged.outcome {
            Outcome::NotFinite => return Ok(merged),
            Outcome::Unmoved => return self.carry(block, merged),
            Outcome::Reduced => {}
        }

        let Reduced { values, base, moments, squares, .. } = &mut scratch.result;
        (merged.moments, merged.square, merged.change) =
            (std::mem::take(moments), squares[0], *squares);
        if let Some(mover) = self.mover.filter(|_| !is_control(tensor)) {
            if let Some(index) = base.iter().position(|v| !v.is_finite()) {
                return Err(mover.base.value_error(tensor, block.start + index));
            }
            // The optimizer moves a copy, as the base is needed for the size of the change.
            let mut moved = base.clone();
            merged.memory = mover.step(block, cohort.len(), values, &mut moved)?;
            merged.change[0] = square_distance(&moved, base);
            *values = moved;
        } else if let Some(mover) = self.mover {
            merged.memory = mover.memory(block)?;
        }
        if encode_floats(tensor.dtype, values, &mut merged.bytes) {
            return Ok(merged);
        }
        let index = first_invalid(tensor.dtype, &merged.bytes).map_or(0, |(index, _)| index);
        Err(out_of_range(tensor, block.start + index))
    }

    /// A block that no rule moves: integers are those of the updates, all else is the base's.
    fn carry(&self, block: Block, mut merged: Merged) -> Result<Merged, Error> {
        let cohort = self.cohort;
        let tensor = &cohort.tensors[block.tensor];
        let holder = cohort.holders(block.tensor).next().filter(|_| !self.kept[block.tensor]);
        match (holder.and_then(|holder| cohort.info(holder, block.tensor)), cohort.base) {
            (Some((file, own)), _) if kind(tensor.dtype) != Kind::Float => {
                merged.bytes.resize(block.n_elements * element_width(own.dtype), 0);
                file.read_at(own, block.start, &mut merged.bytes)?;
            }
            (_, Some(base)) => {
                base.read_block(block, &mut merged.bytes)?;
                if let Some(mover) = self.mover.filter(|_| kind(tensor.dtype) == Kind::Float) {
                    merged.memory = mover.memory(block)?;
                }
            }
            (_, None) => return Err(out_of_range(tensor, block.start)),
        }
        Ok(merged)
    }

    /// Control variates: the center's moves by the mean change, as far as nodes took part.
    fn control_plan(&self) -> Plan {
        let n = self.cohort.len();
        let all = self.options.population.map_or(n, |all| (all as usize).max(n));
        Plan::Linear(Linear::new(vec![1.0; n], all as f64))
    }

    /// What there is to say; without sums, with numbers that are as long as numbers get.
    fn summary(
        &self,
        plan: &Plan,
        layout: &[usize],
        step: Option<u64>,
        totals: Option<&Totals>,
        privacy: Option<PrivacyReport>,
    ) -> Summary {
        const LONGEST: f64 = -2.225_073_858_507_201_4e-308;
        let (tensors, cohort) = (self.cohort.tensors, self.cohort);
        let shares = shares(plan, cohort);
        let is_private = self.private.is_some();
        let mut members = cohort.members.iter().enumerate().peekable();
        let admitted: Vec<Admitted> = self
            .admission
            .inputs
            .iter()
            .map(|&input| {
                // The cohort has the same order, without the inputs of weight 0.
                let member = members.next_if(|(_, member)| std::ptr::eq(member.input, input));
                let member = member.map(|(i, _)| i);
                let known = member.filter(|_| !is_private);
                let norm = |i: usize| totals.map_or(LONGEST, |t| t.moments[i][0].sqrt());
                let distance = |i: usize| {
                    totals.map_or(LONGEST, |t| {
                        let [square, product] = t.moments[i];
                        ((square + t.square) - 2.0 * product).max(0.0).sqrt()
                    })
                };
                let cosine = |i: usize| match totals {
                    None => Some(LONGEST),
                    Some(t) => {
                        let product = t.moments[i][0].sqrt() * t.square.sqrt();
                        let cosine = t.moments[i][1] / product;
                        (product > 0.0 && cosine.is_finite()).then(|| cosine.clamp(-1.0, 1.0))
                    }
                };
                let update = &input.update;
                Admitted {
                    path: update.path.clone(),
                    node: update.node.clone(),
                    base: update.base.clone(),
                    weight: update.weight,
                    share: member.map_or(0.0, |i| shares[i]),
                    fingerprint: input.fingerprint.clone(),
                    norm: known.map(norm),
                    distance: known.map(distance),
                    cosine: known.and_then(cosine),
                }
            })
            .collect();
        let mut changes: Vec<Change> = layout
            .iter()
            .filter(|&&i| kind(tensors[i].dtype) == Kind::Float)
            .map(|&i| {
                let [moved, base] = totals.map_or([0.0; 2], |t| t.changes[i]).map(f64::sqrt);
                let relative = match totals {
                    None => Some(LONGEST),
                    Some(_) => (base > 0.0).then(|| moved / base),
                };
                let norm = if totals.is_none() { LONGEST } else { moved };
                Change { tensor: tensors[i].name.clone(), norm, relative }
            })
            .collect();
        changes.sort_by(|a, b| a.tensor.cmp(&b.tensor));
        Summary {
            total_weight: admitted.iter().map(|update| update.weight).sum(),
            admitted,
            rejected: self.admission.rejected.clone(),
            base_hash: self.admission.base_hash.clone(),
            reducer: self.options.reducer,
            server_step: self.options.server_step,
            step,
            changes,
            privacy,
        }
    }
}

fn is_control(tensor: &TensorInfo) -> bool {
    tensor.name.starts_with(CONTROL_PREFIX)
}

/// What each member has in the result.
fn shares(plan: &Plan, cohort: &Cohort<'_>) -> Vec<f64> {
    let n = cohort.len();
    match plan {
        Plan::Linear(linear) => linear.weights.iter().map(|w| w / linear.total).collect(),
        Plan::Columns(columns) => {
            let members: Vec<usize> = columns.groups.concat();
            let share = |i| if members.contains(&i) { 1.0 / members.len() as f64 } else { 0.0 };
            (0..n).map(share).collect()
        }
        Plan::Sparse(_) => {
            let total: f64 = cohort.members.iter().map(|member| member.weight).sum();
            cohort.members.iter().map(|member| member.weight / total).collect()
        }
        Plan::Slerp(slerp) => slerp.shares(),
    }
}

#[cfg(test)]
mod tests;
