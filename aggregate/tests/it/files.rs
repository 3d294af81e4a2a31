//! Reading and writing weight files, and what other readers and writers make of them.

use std::collections::{BTreeMap, HashMap};

use aggregate::{
    Dtype, Error, TensorData, TensorRef, Update, WeightFile, atomic_write, hash_file, write_file,
};
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::support::{Folder, f32_tensor, keep_going, raw_tensor, rows_of_any_dtype};

#[test]
fn a_file_of_the_safetensors_crate_is_read_and_merged() {
    let folder = Folder::new();
    let halves: Vec<u8> =
        [1.5, -0.0].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let brains: Vec<u8> =
        [2.5, 1e30].iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
    let counts: Vec<u8> = [(1i64 << 53) + 1, -7].iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensors = [
        ("half", TensorView::new(Dtype::F16, vec![2], &halves).unwrap()),
        ("brain", TensorView::new(Dtype::BF16, vec![1, 2], &brains).unwrap()),
        ("count", TensorView::new(Dtype::I64, vec![2], &counts).unwrap()),
        ("flags", TensorView::new(Dtype::BOOL, vec![3], &[0, 1, 1]).unwrap()),
        ("scalar", TensorView::new(Dtype::F32, vec![], &[0, 0, 128, 63]).unwrap()),
        ("nothing", TensorView::new(Dtype::F32, vec![0, 5], &[]).unwrap()),
    ];
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).unwrap();
    let path = folder.save_bytes("foreign", &bytes);

    let file = WeightFile::open(&path).unwrap();
    let names: Vec<_> = file.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["brain", "count", "flags", "half", "nothing", "scalar"]);
    assert_eq!(file.metadata()["format"], "pt");
    assert_eq!(file.file_len(), bytes.len() as u64);
    assert_eq!(file.n_parameters(), 10);
    assert_eq!(file.read_f32("half").unwrap(), [1.5, -0.0]);
    assert_eq!(file.read_f32("brain").unwrap()[0].to_bits(), 2.5f32.to_bits());
    assert_eq!(file.read_f32("scalar").unwrap(), [1.0]);
    assert!(file.read_f32("nothing").unwrap().is_empty());
    assert_eq!(file.tensor("scalar").unwrap().shape, [0usize; 0]);
    assert!(matches!(file.read_f32("count"), Err(Error::Dtype { .. })));
    assert!(matches!(file.read_f32("counts"), Err(Error::NoTensor { .. })));
    let mut flags = Vec::new();
    file.visit_f64("flags", |piece| flags.extend_from_slice(piece)).unwrap();
    assert_eq!(flags, [0.0, 1.0, 1.0]);
    let hash = blake3::hash(&bytes).to_hex().to_string();
    assert_eq!(file.content_hash().unwrap(), hash);
    assert_eq!(hash_file(&path).unwrap(), hash);

    let copy = folder.save_bytes("copy", &bytes);
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let updates = [Update::new(path, 1.0), Update::new(copy, 2.0)];
    let out = folder.path("out");
    let report =
        aggregate::aggregate(&updates, &keep_going(), &out, &|_| Ok(metadata.clone())).unwrap();
    assert_eq!(std::fs::read(&out).unwrap(), bytes, "the merge of equal files is that file");
    assert_eq!((report.out_hash, report.n_tensors, report.n_parameters), (hash, 6, 10));
}

#[test]
fn values_beyond_one_read_come_back() {
    let folder = Folder::new();
    let values = testkit::sequence(1, 200_001);
    let path = folder.save_f32("large", &values);
    testkit::assert_same_bits(
        "w",
        &WeightFile::open(path).unwrap().read_f32("w").unwrap(),
        &values,
    );
}

#[test]
fn every_kind_of_data_is_written_as_its_dtype() {
    let folder = Folder::new();
    let tensors = [
        TensorRef { name: "d", shape: &[1], data: TensorData::F64(&[0.1]) },
        TensorRef { name: "i", shape: &[], data: TensorData::I32(&[-2]) },
        TensorRef { name: "l", shape: &[2], data: TensorData::I64(&[i64::MIN, 3]) },
        TensorRef { name: "b", shape: &[3], data: TensorData::U8(&[1, 2, 3]) },
        f32_tensor("f", &[1, 1], &[0.5]),
    ];
    let path = folder.save("all", &tensors);
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = |name: &str| file.tensor(name).unwrap();
    assert_eq!((view("d").dtype(), view("d").data()), (Dtype::F64, &0.1f64.to_le_bytes()[..]));
    assert_eq!((view("i").dtype(), view("i").data()), (Dtype::I32, &(-2i32).to_le_bytes()[..]));
    assert_eq!((view("l").dtype(), view("l").data()[8]), (Dtype::I64, 3));
    assert_eq!((view("b").dtype(), view("b").data()), (Dtype::U8, &[1, 2, 3][..]));
    assert_eq!((view("f").dtype(), view("f").shape()), (Dtype::F32, &[1, 1][..]));
}

#[test]
fn what_does_not_fit_is_not_written() {
    let folder = Folder::new();
    let path = folder.path("out");
    let write = |tensors: &[TensorRef<'_>]| {
        write_file(&path, tensors, &BTreeMap::new()).unwrap_err().to_string()
    };
    let a = f32_tensor("a", &[1], &[1.0]);
    assert!(write(&[a, a]).contains("two tensors have this name"));
    let wrong = write(&[f32_tensor("a", &[3], &[1.0])]);
    assert!(wrong.contains("shape [3] of F32 does not fit 4 bytes"), "{wrong}");
    assert!(write(&[f32_tensor("a", &[usize::MAX, 2], &[1.0])]).contains("does not fit"));
    assert!(write(&[f32_tensor("__metadata__", &[1], &[1.0])]).contains("keeps this name"));
    assert!(write(&[raw_tensor("a", &[3], Dtype::F4, &[0])]).contains("does not fit"));
    let huge = BTreeMap::from([("k".to_owned(), "x".repeat(100_000_000))]);
    assert!(matches!(write_file(&path, &[a], &huge), Err(Error::HeaderLen { .. })));
    assert!(folder.list().is_empty());
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    let input = folder.save_f32("input", &[1.0]);
    let out = folder.path("none/out");
    let update = [Update::new(&input, 1.0)];
    let merged = aggregate::aggregate(&update, &keep_going(), &out, &|_| Ok(BTreeMap::new()));
    let message = merged.unwrap_err().to_string();
    assert!(message.contains("none does not exist; create it first"), "{message}");
    assert_eq!(folder.list(), ["input"]);

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let locked = folder.path("locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
        // An administrator may write there all the same.
        if std::fs::write(locked.join("probe"), "").is_err() {
            let message = atomic_write(locked.join("out"), b"x").unwrap_err().to_string();
            assert!(message.contains("check the folder's permissions"), "{message}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Same bytes whatever the order of the tensors, and the bytes of the safetensors crate.
    #[test]
    fn bytes_are_reproducible((dtype, rows) in rows_of_any_dtype(5), mixed in any::<bool>()) {
        let folder = Folder::new();
        let names: Vec<_> = (0..rows.len()).map(|i| format!("layer.{i}")).collect();
        let shape = [rows[0].len() * 8 / dtype.bitsize()];
        let mut tensors: Vec<_> = names
            .iter()
            .zip(&rows)
            .map(|(name, row)| raw_tensor(name, &shape, dtype, row))
            .collect();
        if mixed {
            tensors.push(raw_tensor("byte", &[1], Dtype::U8, &[7]));
            tensors.push(f32_tensor("aligned", &[1], &[7.0]));
        }
        let metadata = BTreeMap::from([("only".to_owned(), "\"one\"".to_owned())]);
        let (there, back) = (folder.path("there"), folder.path("back"));
        let hash = write_file(&there, &tensors, &metadata).unwrap();
        tensors.reverse();
        prop_assert_eq!(&hash, &write_file(&back, &tensors, &metadata).unwrap());
        let bytes = std::fs::read(&there).unwrap();
        prop_assert_eq!(hash, blake3::hash(&bytes).to_hex().to_string());

        let file = SafeTensors::deserialize(&bytes).unwrap();
        let theirs = safetensors::serialize(file.tensors(), Some(metadata.into_iter().collect()));
        prop_assert_eq!(theirs.unwrap(), bytes);
    }
}

/// The metadata is made once, at the end, of the real numbers; it may be long, and it may fail.
#[test]
fn metadata_is_asked_for_once_and_may_fail() {
    let folder = Folder::new();
    let long = testkit::sequence(4, 400_000);
    for values in [&long[..7], &long] {
        let updates = ["a", "b"].map(|name| Update::new(folder.save_f32(name, values), 1.0));
        let out = folder.path("out");
        let mut sizes = Vec::new();
        for n_bytes in [0, 100, 3_000_000] {
            let n_calls = std::cell::Cell::new(0);
            let report = aggregate::aggregate(&updates, &keep_going(), &out, &|summary| {
                n_calls.set(n_calls.get() + 1);
                assert!(summary.admitted.iter().all(|update| update.norm.is_some_and(|n| n > 0.0)));
                Ok([("k".to_owned(), "x".repeat(n_bytes))].into())
            });
            assert_eq!(report.unwrap().out_hash, hash_file(&out).unwrap());
            assert_eq!(n_calls.get(), 1);
            let file = WeightFile::open(&out).unwrap();
            assert_eq!(file.metadata()["k"].len(), n_bytes);
            testkit::assert_same_bits("w", &file.read_f32("w").unwrap(), values);
            let whole = std::fs::read(&out).unwrap();
            assert!(SafeTensors::deserialize(&whole).is_ok());
            sizes.push(whole.len());
        }
        assert!(sizes[2] - sizes[0] >= 2_900_000);

        std::fs::write(&out, b"old").unwrap();
        let error = aggregate::aggregate(&updates, &keep_going(), &out, &|_| Err("no name".into()));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("out: its metadata: no name"), "{text}");
        assert_eq!(std::fs::read(&out).unwrap(), b"old");
        assert_eq!(folder.list(), ["a", "b", "out"]);
    }
}
