//! Updates as differences: what arrives, what is left over, and that no file breaks the reader.

use std::collections::BTreeMap;

use aggregate::{
    DIFFERENCE_KEY, Differences, Dtype, Error, Precision, RESIDUAL, Reason, Residual, TensorRef,
    WeightFile, hash_file, weight_file,
};
use proptest::prelude::*;
use testkit::{assert_close, assert_same_bits, sequence};

use crate::support::{Folder, f32_tensor, raw_tensor};

/// Sizes around those of blocks and pieces.
const SIZES: [usize; 7] = [0, 1, 255, 256, 257, 1000, 40_000];

fn model(values: &[f32]) -> WeightFile {
    file(&[f32_tensor("w", &[values.len()], values)])
}

fn file(tensors: &[TensorRef<'_>]) -> WeightFile {
    let metadata = BTreeMap::from([("round".to_owned(), "7".to_owned())]);
    weight_file("node", tensors, &metadata).unwrap()
}

fn left(residual: &Residual, n: usize) -> Vec<f32> {
    residual.file().map_or_else(|| vec![0.0; n], |file| file.read_f32("w").unwrap())
}

/// Differences to models of one tensor.
struct Sender {
    base: Vec<f32>,
    differences: Differences,
}

/// What came of one.
struct Sent {
    bytes: Vec<u8>,
    residual: Residual,
    received: Vec<f32>,
    left: Vec<f32>,
}

impl Sender {
    fn new(base: Vec<f32>) -> Self {
        let differences = Differences::of_base(model(&base)).unwrap();
        Self { base, differences }
    }

    fn send(&self, update: &[f32], residual: &Residual, precision: Precision) -> Sent {
        let update = model(update);
        let (bytes, residual) = self.differences.encode(&update, residual, precision).unwrap();
        let file = WeightFile::of_bytes("sent", bytes.clone()).unwrap();
        let decoded = self.differences.decode(&file).unwrap();
        assert_eq!(decoded.tensors().len(), 1);
        assert_eq!(decoded.tensors()[0].shape, update.tensors()[0].shape);
        assert_eq!(decoded.metadata(), update.metadata());
        let left = left(&residual, self.base.len());
        Sent { bytes, residual, received: decoded.read_f32("w").unwrap(), left }
    }
}

/// Numbers of usual size times a scale that may be far from 1.
fn scaled(seed: u64, n: usize, exponent: i32) -> Vec<f32> {
    sequence(seed, n).into_iter().map(|v| v * 2f32.powi(exponent)).collect()
}

/// How far what arrives may be from `change` in its block, beside the rounding of the sum.
fn half_step(precision: Precision, block: &[f64], change: f64) -> f64 {
    match precision {
        // Half of the last of eight bits, or of the smallest number.
        Precision::Bf16 => change.abs() * 2f64.powi(-8) + 2f64.powi(-134),
        Precision::Int8 => {
            let most = block.iter().fold(0.0f64, |most, v| most.max(v.abs()));
            let step = most / 127.0;
            // Changes whose steps would be below the normal numbers wait.
            if step < 2f64.powi(-126) * (1.0 + 1e-6) { most } else { step / 2.0 * (1.0 + 1e-4) }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What arrives is the update and what was left over, to half a step; what is left over is the
    /// rest as it is defined; and the same bytes come of the same files.
    #[test]
    fn an_update_arrives_to_half_a_step(
        seed in 0..u64::MAX / 4,
        n in prop::sample::select(SIZES.to_vec()),
        precision in prop::sample::select(Precision::ALL.to_vec()),
        exponents in [-30..3i32, -120..3i32, -40..3i32],
    ) {
        let sender = Sender::new(scaled(seed, n, exponents[0]));
        let update: Vec<f32> = scaled(seed + 1, n, exponents[1])
            .iter().zip(&sender.base).map(|(d, b)| b + d).collect();
        let before = {
            let other: Vec<f32> = scaled(seed + 2, n, exponents[2])
                .iter().zip(&sender.base).map(|(d, b)| b + d).collect();
            sender.send(&other, &Residual::default(), precision)
        };
        let sent = sender.send(&update, &before.residual, precision);

        let base = |i: usize| f64::from(sender.base[i]);
        let d: Vec<f64> =
            (0..n).map(|i| f64::from(update[i]) - base(i) + f64::from(before.left[i])).collect();
        let moved = |i: usize| f64::from(sent.received[i]) - base(i);
        let rest: Vec<f32> = (0..n).map(|i| (d[i] - moved(i)) as f32).collect();
        assert_same_bits("left over", &sent.left, &rest);
        for (block, start) in d.chunks(256).zip((0..n).step_by(256)) {
            for (i, &change) in (start..).zip(block) {
                let rounding = f64::from(sent.received[i].abs()) * 2f64.powi(-24) + 2f64.powi(-149);
                let limit = half_step(precision, block, change) + rounding;
                let miss = (moved(i) - change).abs();
                prop_assert!(miss <= limit, "{precision}: {miss:e} above {limit:e} at {i}");
            }
        }
        let again = sender.send(&update, &before.residual, precision);
        prop_assert_eq!(again.bytes, sent.bytes);
        assert_same_bits("left over again", &again.left, &sent.left);
    }

    /// A base that was not changed arrives bit for bit, zeros of both signs and all.
    #[test]
    fn no_change_is_the_base_itself(
        bits in prop::collection::vec(any::<u32>(), 1..600),
        precision in prop::sample::select(Precision::ALL.to_vec()),
    ) {
        let finite = |bits: &u32| Some(f32::from_bits(*bits)).filter(|v| v.is_finite());
        let mut base: Vec<f32> = bits.iter().filter_map(finite).collect();
        base.extend([0.0, -0.0, f32::MAX, f32::MIN, 1e-45]);
        let sender = Sender::new(base.clone());
        let sent = sender.send(&base, &Residual::default(), precision);
        assert_same_bits("received", &sent.received, &base);
        assert_same_bits("left over", &sent.left, &vec![0.0; base.len()]);
    }

    /// Any bytes changed, cut or added: a reason or an update, and never a panic.
    #[test]
    fn damaged_differences_never_panic(
        precision in prop::sample::select(Precision::ALL.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        added in 0..3usize,
    ) {
        let (differences, mut bytes) = small(precision);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes.resize(bytes.len() + added, 0);
        check_harmless(&differences, bytes);
    }
}

proptest! {
    // Half of them sync forty files.
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Over many rounds, and over bases that change, all that was to be sent arrives, but for the last
    /// residual.
    #[test]
    fn nothing_is_lost_for_good(
        seed in 0..u64::MAX / 4,
        precision in prop::sample::select(Precision::ALL.to_vec()),
        on_disk in any::<bool>(),
    ) {
        let (n, n_rounds) = (300, 40);
        let folder = Folder::new();
        let path = RESIDUAL.path(&folder.path("node"));
        let (mut wanted, mut arrived) = (vec![0f64; n], vec![0f64; n]);
        let (mut base, mut residual) = (sequence(seed, n), Residual::default());
        for round in 0..n_rounds {
            let update: Vec<f32> =
                scaled(seed + round, n, -7).iter().zip(&base).map(|(d, b)| b + d + 1e-4).collect();
            let sent = Sender::new(base.clone()).send(&update, &residual, precision);
            for i in 0..n {
                wanted[i] += f64::from(update[i]) - f64::from(base[i]);
                arrived[i] += f64::from(sent.received[i]) - f64::from(base[i]);
            }
            residual = sent.residual;
            if on_disk {
                residual.write(&path).unwrap();
                residual = Residual::open(&path).unwrap();
            }
            // What the center makes of it is no sum of a node's own.
            base = sequence(seed + 1000 + round, n).iter().zip(&sent.received)
                .map(|(other, own)| 0.9 * own + 0.1 * other).collect();
        }
        let left = left(&residual, n);
        let explained: Vec<f64> = arrived.iter().zip(&left).map(|(a, &r)| a + f64::from(r)).collect();
        // Each residual is rounded to f32, and is smaller than 1e-4.
        assert_close("arrived and left over", &explained, &wanted, 0.0, n_rounds as f64 * 1e-11);
        prop_assert!(left.iter().all(|r| r.abs() < 1e-4));
        let short: f64 = arrived.iter().zip(&wanted).map(|(a, w)| (a - w).abs()).sum();
        prop_assert!(short > n as f64 * 1e-8, "a law that anything fulfils: {short:e}");
    }
}

/// A small difference of two tensors.
fn small(precision: Precision) -> (Differences, Vec<u8>) {
    let (a, b) = (sequence(1, 6), sequence(2, 300));
    let base = file(&[f32_tensor("a", &[2, 3], &a), f32_tensor("b", &[300], &b)]);
    let (c, d) = (sequence(3, 6), sequence(4, 300));
    let update = file(&[f32_tensor("a", &[2, 3], &c), f32_tensor("b", &[300], &d)]);
    let differences = Differences::of_base(base).unwrap();
    let (bytes, _) = differences.encode(&update, &Residual::default(), precision).unwrap();
    (differences, bytes)
}

/// What is accepted is an update of the base's tensors, all of it finite.
fn check_harmless(differences: &Differences, bytes: Vec<u8>) -> bool {
    let Ok(file) = WeightFile::of_bytes("damaged", bytes) else { return false };
    match differences.decode(&file) {
        Ok(update) => {
            for tensor in update.tensors() {
                assert_eq!(differences.base().tensor(&tensor.name).unwrap().shape, tensor.shape);
                assert!(update.read_f32(&tensor.name).unwrap().iter().all(|v| v.is_finite()));
            }
            true
        }
        Err(Error::Difference { .. } | Error::HeaderLen { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Every byte flipped in three ways, every length cut: more than the chance of the campaign above.
#[test]
fn no_single_byte_breaks_the_reader() {
    for precision in Precision::ALL {
        let (differences, bytes) = small(precision);
        assert!(check_harmless(&differences, bytes.clone()));
        let mut n_accepted = 0;
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                n_accepted += usize::from(check_harmless(&differences, damaged));
            }
            assert!(!check_harmless(&differences, bytes[..at].to_vec()), "cut at {at}");
        }
        // Other values are another update; the header takes few changes.
        let n_values = bytes.len() - 8 - usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        assert!(n_accepted > n_values && n_accepted < 3 * bytes.len(), "{n_accepted}");
    }
}

#[test]
fn sizes_are_as_promised() {
    let base = sequence(1, 1_000_000);
    let sender = Sender::new(base);
    let update = sequence(2, 1_000_000);
    for (precision, share) in [(Precision::Int8, 0.26), (Precision::Bf16, 0.501)] {
        let sent = sender.send(&update, &Residual::default(), precision);
        let most = share * 4e6;
        assert!((sent.bytes.len() as f64) <= most, "{precision}: {}", sent.bytes.len());
    }
}

#[test]
fn the_file_says_what_it_is() {
    let folder = Folder::new();
    let path = folder.save_f32("base", &[1.0, 2.0, 3.0]);
    let differences = Differences::of_base(WeightFile::open(&path).unwrap()).unwrap();
    let update = model(&[1.0, 2.5, 2.0]);
    let encode = |precision| {
        let (bytes, _) = differences.encode(&update, &Residual::default(), precision).unwrap();
        WeightFile::of_bytes("sent", bytes).unwrap()
    };
    let int8 = encode(Precision::Int8);
    let hash = hash_file(&path).unwrap();
    assert_eq!(differences.base_hash(), hash);
    let json = format!(r#"{{"kind":"int8","base":"{hash}"}}"#);
    assert_eq!(int8.metadata()[DIFFERENCE_KEY], json);
    assert_eq!(int8.metadata()["round"], "7");
    let spec = |file: &WeightFile, name: &str| {
        let tensor = file.tensor(name).unwrap();
        (tensor.dtype, tensor.shape.clone())
    };
    assert_eq!(spec(&int8, "w"), (Dtype::I8, vec![3]));
    assert_eq!(spec(&int8, "w.difference_scales"), (Dtype::F32, vec![1]));
    let mut steps = Vec::new();
    int8.visit_f64("w", |piece| steps.extend_from_slice(piece)).unwrap();
    // 0.5 is 63.5 steps, and the even one is 64.
    assert_same_bits("steps", &steps, &[0.0, 64.0, -127.0]);
    let bf16 = encode(Precision::Bf16);
    assert_eq!((spec(&bf16, "w"), bf16.tensors().len()), ((Dtype::BF16, vec![3]), 1));
    assert_same_bits("bf16", &bf16.read_f32("w").unwrap(), &[0.0, 0.5, -1.0]);
}

/// An update of some tensors moves those; what is left of the others waits for them.
#[test]
fn parts_of_a_model_are_sent_and_the_others_wait() {
    let (a, b) = (sequence(1, 10), sequence(2, 20));
    let both = |a: &[f32], b: &[f32]| file(&[f32_tensor("a", &[10], a), f32_tensor("b", &[20], b)]);
    let differences = Differences::of_base(both(&a, &b)).unwrap();
    let (c, d) = (sequence(3, 10), sequence(4, 20));
    let none = Residual::default();
    let (_, first) = differences.encode(&both(&c, &d), &none, Precision::Int8).unwrap();
    let part = file(&[f32_tensor("a", &[10], &c)]);
    let (bytes, second) = differences.encode(&part, &first, Precision::Int8).unwrap();
    let sent = differences.decode(&WeightFile::of_bytes("sent", bytes).unwrap()).unwrap();
    assert_eq!(sent.tensors().len(), 1);
    let read = |residual: &Residual, name: &str| residual.file().unwrap().read_f32(name).unwrap();
    assert_same_bits("b waits", &read(&second, "b"), &read(&first, "b"));
    assert!(read(&first, "b").iter().any(|&v| v != 0.0));
    let (_, alone) = differences.encode(&part, &none, Precision::Int8).unwrap();
    assert_eq!(alone.file().unwrap().tensors().len(), 1);
}

#[test]
fn what_cannot_be_a_difference_is_to_be_sent_whole() {
    let differences = Differences::of_base(file(&[
        f32_tensor("w", &[2], &[1.0, 2.0]),
        f32_tensor("big", &[1], &[-3e38]),
        raw_tensor("half", &[1], Dtype::F16, &[0, 0]),
        f32_tensor("w.difference_scales", &[1], &[0.0]),
    ]))
    .unwrap();
    let check = |tensor: TensorRef<'_>, precision: Precision, expected: &str| {
        let (update, none) = (file(&[tensor]), Residual::default());
        let error = differences.encode(&update, &none, precision).unwrap_err();
        assert!(matches!(error, Error::NoDifference { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("node cannot be sent as a difference: "), "{text}");
        assert!(text.contains(expected) && text.ends_with("; send it whole"), "{text}");
    };
    for precision in Precision::ALL {
        check(f32_tensor("v", &[1], &[1.0]), precision, r#"the base has no tensor "v""#);
        let shape = r#"tensor "w" has shape [1, 2], the base's [2]"#;
        check(f32_tensor("w", &[1, 2], &[1.0, 2.0]), precision, shape);
        let dtype = r#"tensor "w" has dtype I64, expected F32"#;
        check(raw_tensor("w", &[1], Dtype::I64, &[0; 8]), precision, dtype);
        let dtype = r#"tensor "half" of the base has dtype F16, expected F32"#;
        check(f32_tensor("half", &[1], &[1.0]), precision, dtype);
        let value = r#"tensor "w" holds NaN at element 1"#;
        check(f32_tensor("w", &[2], &[1.0, f32::NAN]), precision, value);
        let range = format!(r#"tensor "big" leaves the range of {precision} at element 0"#);
        check(f32_tensor("big", &[1], &[3e38]), precision, &range);
    }
    // Beyond the greatest BF16, though not beyond f32.
    let (zero, most) = (model(&[0.0, 0.0]), model(&[1.0, f32::MAX]));
    let to_zero = Differences::of_base(zero).unwrap();
    let error = to_zero.encode(&most, &Residual::default(), Precision::Bf16).unwrap_err();
    assert!(error.to_string().contains("leaves the range of bf16 at element 1"), "{error}");

    let scales = f32_tensor("w.difference_scales", &[1], &[1.0]);
    check(scales, Precision::Int8, r#"ends with ".difference_scales" like those of scales"#);
    let (update, none) = (file(&[scales]), Residual::default());
    let (bytes, _) = differences.encode(&update, &none, Precision::Bf16).unwrap();
    let sent = WeightFile::of_bytes("sent", bytes).unwrap();
    let decoded = differences.decode(&sent).unwrap();
    assert_same_bits("w", &decoded.read_f32("w.difference_scales").unwrap(), &[1.0]);
    let error = differences.encode(&sent, &none, Precision::Bf16).unwrap_err();
    assert!(error.to_string().contains("so it is one"), "{error}");

    let broken = Differences::of_base(model(&[1.0, f32::INFINITY])).unwrap();
    let error = broken.encode(&model(&[1.0, 2.0]), &none, Precision::Int8).unwrap_err();
    assert!(matches!(error, Error::BaseValue { index: 1, .. }), "{error}");
}

#[test]
fn residuals_of_other_models_are_refused() {
    let folder = Folder::new();
    let path = RESIDUAL.path(&folder.path("node"));
    let differences = Differences::of_base(model(&[1.0, 2.0])).unwrap();
    let save = |tensor: TensorRef<'_>| RESIDUAL.write(&path, &BTreeMap::<u8, u8>::new(), &[tensor]);
    let check = |expected: &str| {
        let residual = Residual::open(&path);
        let encode = |residual: Residual| {
            let update = model(&[1.0, 3.0]);
            differences.encode(&update, &residual, Precision::Bf16).map(|_| ())
        };
        let error = residual.and_then(encode).unwrap_err();
        assert!(matches!(error, Error::Sidecar { kind: "residual", .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("node.residual cannot be used as the residual"), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    save(f32_tensor("v", &[2], &[0.0; 2])).unwrap();
    check(r#"its tensor "v" has shape [2], the model has none of that name"#);
    save(f32_tensor("w", &[1, 2], &[0.0; 2])).unwrap();
    check(r#"its tensor "w" has shape [1, 2], the model's has [2]"#);
    save(f32_tensor("w", &[2], &[0.0, f32::NAN])).unwrap();
    check(r#"its tensor "w" holds NaN at element 1"#);
    save(raw_tensor("w", &[2], Dtype::I8, &[0; 2])).unwrap();
    check(r#"its tensor "w" has dtype I8, expected F32"#);
    aggregate::write_file(&path, &[], &BTreeMap::new()).unwrap();
    check("its metadata has no key \"sidecar\"");
    // Nothing that is left over is a residual, too.
    Residual::default().write(&path).unwrap();
    assert!(Residual::open(&path).unwrap().file().unwrap().tensors().is_empty());
    assert!(Residual::open(&folder.path("missing")).unwrap().file().is_none());
}

/// Every lie by its reason.
#[test]
fn hostile_differences_are_refused_by_reason() {
    let base = file(&[
        f32_tensor("big", &[1], &[3e38]),
        f32_tensor("w", &[2], &[1.0, 2.0]),
        raw_tensor("n", &[1], Dtype::I64, &[0; 8]),
    ]);
    let differences = Differences::of_base(base).unwrap();
    let record =
        |kind: &str| format!(r#"{{"kind":"{kind}","base":"{}"}}"#, differences.base_hash());
    let reason = |json: Option<String>, tensors: &[TensorRef<'_>]| {
        let metadata = json.map(|json| (DIFFERENCE_KEY.to_owned(), json)).into_iter().collect();
        let file = weight_file("sent", tensors, &metadata).unwrap();
        match differences.decode(&file) {
            Err(Error::Difference { reason, path }) => {
                assert_eq!(path.to_str(), Some("sent"));
                reason
            }
            other => panic!("{other:?}"),
        }
    };
    let check = |kind: &str, tensors: &[TensorRef<'_>], expected: &str| {
        let text = reason(Some(record(kind)), tensors).to_string();
        assert!(text.contains(expected), "{text}");
    };
    let text = reason(None, &[]).to_string();
    assert_eq!(text, r#"its metadata has no key "edgectl.difference""#);
    let found = reason(Some("{".to_owned()), &[]);
    assert_eq!(found.kind(), "difference");
    let other = record("bf16").replace(differences.base_hash(), "00");
    assert!(matches!(reason(Some(other), &[]), Reason::Base { found, .. } if found == "00"));
    check("int4", &[], r#"of kind "int4", expected bf16 or int8"#);
    let long = "9".repeat(100_000);
    let kinds = [record(&long), format!(r#"{{"kind":"{long}"}}"#), format!("\"{long}\"")];
    for json in kinds {
        assert!(reason(Some(json), &[]).to_string().len() < 300);
    }

    let bf16 = |bytes| raw_tensor("w", &[2], Dtype::BF16, bytes);
    check("bf16", &[bf16(&[0, 0, 0xC0, 0x7F])], r#"tensor "w" holds NaN at element 1"#);
    check("bf16", &[bf16(&[0x80, 0xFF, 0, 0])], r#"tensor "w" holds -inf at element 0"#);
    let wide = f32_tensor("w", &[2], &[0.0; 2]);
    check("bf16", &[wide], r#"tensor "w" has dtype F32, expected BF16"#);
    let flat = raw_tensor("w", &[1], Dtype::BF16, &[0; 2]);
    check("bf16", &[flat], r#"tensor "w" has shape [1], expected [2]"#);
    let more = raw_tensor("v", &[1], Dtype::BF16, &[0; 2]);
    check("bf16", &[more], r#"tensor "v" is not expected"#);
    let counter = raw_tensor("n", &[1], Dtype::BF16, &[0; 2]);
    check("bf16", &[counter], r#"tensor "n" of the base has dtype I64, and it takes an F32"#);
    let far = raw_tensor("big", &[1], Dtype::BF16, &[0x61, 0x7F]);
    check("bf16", &[far], r#"tensor "big" holds a change that takes 3e38 out of the range of F32"#);

    let int8 = |bytes| raw_tensor("w", &[2], Dtype::I8, bytes);
    let scale = |values| f32_tensor("w.difference_scales", &[1], values);
    check("int8", &[int8(&[1, 2])], r#"tensor "w.difference_scales" is missing"#);
    check("int8", &[scale(&[1.0])], r#"tensor "w.difference_scales" is not expected"#);
    check("int8", &[int8(&[1, 2]), scale(&[f32::NAN])], "holds NaN, no scale, at element 0");
    check("int8", &[int8(&[1, 2]), scale(&[f32::INFINITY])], "holds inf, no scale, at element 0");
    check("int8", &[int8(&[1, 2]), scale(&[-1.0])], "holds -1.0, no scale, at element 0");
    check("int8", &[int8(&[1, 2]), scale(&[-0.0])], "holds -0.0, no scale, at element 0");
    check(
        "int8",
        &[int8(&[1, 2]), scale(&[3e38])],
        r#"tensor "w" holds a change that takes 2e0 out of"#,
    );
    check("int8", &[int8(&[0, 0x80]), scale(&[1.0])], r#"tensor "w" holds -128, and steps end"#);
    check("int8", &[bf16(&[0; 4]), scale(&[1.0])], r#"tensor "w" has dtype BF16, expected I8"#);
    let two = f32_tensor("w.difference_scales", &[2], &[1.0; 2]);
    check("int8", &[int8(&[1, 2]), two], "has shape [2], expected [1]");
    let wide = raw_tensor("w.difference_scales", &[1], Dtype::F64, &[0; 8]);
    check("int8", &[int8(&[1, 2]), wide], "has dtype F64, expected F32");

    // Nothing at all changes nothing, and the fault of a base is not the node's.
    let empty = weight_file("sent", &[], &[(DIFFERENCE_KEY.into(), record("int8"))].into());
    assert!(differences.decode(&empty.unwrap()).unwrap().tensors().is_empty());
    let broken = Differences::of_base(model(&[f32::NAN])).unwrap();
    let json = format!(r#"{{"kind":"bf16","base":"{}"}}"#, broken.base_hash());
    let change = raw_tensor("w", &[1], Dtype::BF16, &[0; 2]);
    let sent = weight_file("sent", &[change], &[(DIFFERENCE_KEY.into(), json)].into()).unwrap();
    assert!(matches!(broken.decode(&sent), Err(Error::BaseValue { index: 0, .. })));
}
