//! Random and damaged bytes at the readers of jobs, checkpoints and tables: an error, never a panic.

use std::path::Path;

use edgectl::checkpoint::Checkpoint;
use edgectl::data::{DataConfig, Dataset};
use edgectl::job::Job;
use proptest::prelude::*;

use crate::support::{JOB, bytes, federation, ok, table};

fn write(folder: &Path, name: &str, content: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("written");
    path
}

/// Replaces some bytes of a text or file, and cuts its end off.
fn damage(mut content: Vec<u8>, edits: &[(usize, u8)], keep: usize) -> Vec<u8> {
    for &(at, byte) in edits {
        let n = content.len();
        content[at % n] = byte;
    }
    content.truncate(1 + keep % content.len());
    content
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes(content in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let _ = Job::read(&write(at, "job.toml", &content));
        prop_assert!(Checkpoint::read(&write(at, "m.safetensors", &content)).is_err());
        for name in ["d.csv", "d.ts"] {
            let _ = Dataset::read(&[write(at, name, &content)], &DataConfig::default(), None);
        }
    }

    #[test]
    fn damaged_jobs_and_tables(
        edits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        keep in any::<usize>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let job = damage(JOB.as_bytes().to_vec(), &edits, keep);
        let _ = Job::read(&write(at, "job.toml", &job));
        let csv = damage(table(1).into_bytes(), &edits, keep);
        let _ = Dataset::read(&[write(at, "d.csv", &csv)], &DataConfig::default(), None);
    }
}

#[test]
fn damaged_checkpoints() {
    let folder = federation();
    let at = folder.path();
    ok(at, &["init", "--config", "job.toml", "--out", "m.safetensors"]);
    let good = bytes(at, "m.safetensors");
    let header = 8 + u64::from_le_bytes(good[..8].try_into().expect("8 bytes")) as usize;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    // Edits inside the header, where the sizes and the metadata are.
    let edits = prop::collection::vec((0..header, any::<u8>()), 1..4);
    runner
        .run(&edits, |edits| {
            let content = damage(good.clone(), &edits, good.len() - 1);
            let _ = Checkpoint::read(&write(at, "bad.safetensors", &content));
            Ok(())
        })
        .expect("no panic");
}

/// Sizes in the metadata that no machine can hold, or that contradict the tensors.
#[test]
fn checkpoints_with_hostile_metadata_are_errors() {
    let folder = federation();
    let at = folder.path();
    ok(at, &["init", "--config", "job.toml", "--out", "m.safetensors"]);
    let good = bytes(at, "m.safetensors");
    let header_len = u64::from_le_bytes(good[..8].try_into().expect("8 bytes")) as usize;
    let header = String::from_utf8(good[8..8 + header_len].to_vec()).expect("text");
    for (from, to) in [
        ("d_model\\\":16", "d_model\\\":18446744073709551615"),
        ("d_model\\\":16", "d_model\\\":0"),
        ("d_model\\\":16", "d_model\\\":-16"),
        ("d_model\\\":16", "d_model\\\":32"),
        ("n_heads\\\":2", "n_heads\\\":3"),
        ("seq_len\\\":20", "seq_len\\\":4000000000000"),
        ("n_layers\\\":1", "n_layers\\\":1000000"),
        ("d_ff\\\":32", "d_ff\\\":10000000"),
        ("patch_len\\\":4", "patch_len\\\":0"),
        ("n_classes\\\":2", "n_classes\\\":3"),
        ("\\\"fast\\\",\\\"slow\\\"", "\\\"fast\\\""),
        ("dropout\\\":0.1", "dropout\\\":7"),
        ("format\\\":2", "format\\\":0"),
        ("format\\\":2", "format\\\":\\\"two\\\""),
        ("needs\\\":[]", "needs\\\":[\\\"wings\\\"]"),
        ("needs\\\":[]", "needs\\\":7"),
        ("kind\\\":\\\"classification", "kind\\\":\\\"telepathy"),
    ] {
        assert!(header.contains(from), "{from} is not in {header}");
        let changed = header.replacen(from, to, 1);
        let mut file = (changed.len() as u64).to_le_bytes().to_vec();
        file.extend(changed.as_bytes());
        file.extend(&good[8 + header_len..]);
        let path = write(at, "bad.safetensors", &file);
        let error = Checkpoint::read(&path).map(|_| ()).expect_err(to);
        assert!(format!("{error:#}").contains("bad.safetensors"), "{to}: {error:#}");
    }
}
