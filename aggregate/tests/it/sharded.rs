//! Models in several files with an index.

use std::collections::BTreeMap;

use aggregate::{Error, Options, Update, WeightFile, aggregate, write_file};

use crate::support::{Folder, f32_tensor, keep_going, reasons, values};

/// A model of three tensors in two files.
fn save_sharded(folder: &Folder, name: &str, factor: f32) -> std::path::PathBuf {
    let numbers: Vec<f32> = testkit::sequence(3, 30).iter().map(|v| v * factor).collect();
    let tensor = |name, range: std::ops::Range<usize>| f32_tensor(name, &[10], &numbers[range]);
    folder.save(&format!("{name}-1.safetensors"), &[tensor("a", 0..10), tensor("b", 10..20)]);
    folder.save(&format!("{name}-2.safetensors"), &[tensor("c", 20..30)]);
    let map = format!(
        r#"{{"metadata":{{"total_size":120}},"weight_map":{{"a":"{name}-1.safetensors","b":"{name}-1.safetensors","c":"{name}-2.safetensors"}}}}"#
    );
    folder.save_bytes(&format!("{name}.safetensors.index.json"), map.as_bytes())
}

#[test]
fn shards_are_read_merged_and_written() {
    let folder = Folder::new();
    let updates = [
        Update::new(save_sharded(&folder, "x", 1.0), 1.0),
        Update::new(save_sharded(&folder, "y", 3.0), 1.0),
    ];
    let out = folder.path("out.safetensors.index.json");
    let metadata = |_: &aggregate::Summary| Ok(BTreeMap::from([("format".into(), "pt".into())]));
    let merge = |updates: &[Update], shard_bytes| {
        aggregate(updates, &Options { shard_bytes, ..keep_going() }, &out, &metadata)
    };
    let shards = || -> Vec<String> {
        let is_shard = |name: &String| name.starts_with("out-") && name.contains("-of-");
        folder.list().into_iter().filter(is_shard).collect()
    };
    let report = merge(&updates, Some(50)).unwrap();
    assert_eq!(shards().len(), 3);
    assert_eq!(report.out_hash, WeightFile::open(&out).unwrap().content_hash().unwrap());
    assert_eq!(WeightFile::open(&out).unwrap().metadata()["format"], "pt");
    let numbers = testkit::sequence(3, 30);
    for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
        let expected: Vec<f64> =
            numbers[10 * i..10 * i + 10].iter().map(|&v| f64::from(2.0 * v)).collect();
        for (found, expected) in values(&out, name).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }
    // The next model takes the place of this one, and nothing of this one is left.
    let before = shards();
    merge(&updates[..1], None).unwrap();
    assert_eq!(shards().len(), 1);
    assert!(before.iter().all(|name| !shards().contains(name)));
    assert!(folder.list().iter().all(|name| !name.contains("incomplete")));
    assert_eq!(WeightFile::open(&out).unwrap().n_parameters(), 30);
    // A sharded model can be base and output at once, and a whole file goes with it.
    let whole = folder.path("whole");
    write_file(
        &whole,
        &[
            f32_tensor("a", &[10], &[1.0; 10]),
            f32_tensor("b", &[10], &[1.0; 10]),
            f32_tensor("c", &[10], &[1.0; 10]),
        ],
        &BTreeMap::new(),
    )
    .unwrap();
    let options = Options { base: Some(out.clone()), ..keep_going() };
    aggregate(&[Update::new(whole, 1.0)], &options, &out, &metadata).unwrap();
    assert_eq!(values(&out, "c"), [1.0; 10]);
}

#[test]
fn an_index_is_not_believed() {
    let folder = Folder::new();
    let good = save_sharded(&folder, "x", 1.0);
    let check = |json: &str, expected: &str| {
        let path = folder.save_bytes("bad.safetensors.index.json", json.as_bytes());
        let error = WeightFile::open(&path).unwrap_err();
        assert!(matches!(error, Error::Index { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("bad.safetensors.index.json") && text.contains(expected), "{text}");
    };
    check("", "EOF");
    check("[]", "weight_map is empty");
    check("{}", "weight_map is empty");
    check(r#"{"weight_map":{"a":"../x-1.safetensors"}}"#, "not the name of a file beside it");
    check(r#"{"weight_map":{"a":"/etc/passwd"}}"#, "not the name of a file beside it");
    check(r#"{"weight_map":{"a":""}}"#, "not the name of a file beside it");
    check(r#"{"weight_map":{"a":"x-1.safetensors"}}"#, "holds tensor \"b\" against it");
    let missing =
        r#"{"weight_map":{"a":"x-1.safetensors","b":"x-1.safetensors","d":"x-1.safetensors"}}"#;
    check(missing, "no shard holds tensor \"d\"");
    let nowhere = folder
        .save_bytes("none.safetensors.index.json", br#"{"weight_map":{"a":"none.safetensors"}}"#);
    assert!(matches!(WeightFile::open(&nowhere), Err(Error::Read { .. })));
    // Such an update is left out.
    let updates = [Update::new(good, 1.0), Update::new(nowhere, 1.0)];
    let report = folder.merge(&updates, &keep_going()).unwrap();
    assert_eq!(reasons(&report.summary.rejected)[0].0, "none.safetensors.index.json");
}
