//! Recordings, videos and pictures come through the reader as they are, or with one message.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use edgectl::data::{
    Annotations, Colour, DataConfig, Dataset, Frames, LabelTable, Labels, Split, Understood,
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wfdb").join(name)
}

fn read(path: &Path, config: &DataConfig) -> Result<Dataset, String> {
    let counted =
        Understood::read(&[path.to_owned()], config).map_err(|error| format!("{error:#}"));
    let data =
        Dataset::read(&[path.to_owned()], config, None).map_err(|error| format!("{error:#}"));
    assert_eq!(counted, data.as_ref().map(Understood::of).map_err(Clone::clone));
    data
}

fn plain(path: &Path) -> Result<Dataset, String> {
    read(path, &DataConfig::default())
}

/// The columns of a table of numbers, in which an empty cell is missing.
fn table(path: &Path) -> (Vec<String>, Vec<f64>) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap().split(',').map(str::to_owned).collect();
    let cells = lines.flat_map(|line| line.split(','));
    (header, cells.map(|cell| cell.parse().unwrap_or(f64::NAN)).collect())
}

fn same(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(a, b)| a.is_nan() && b.is_nan() || (a - b).abs() < 1e-12)
}

#[test]
fn records_equal_what_wfdb_reads() {
    for (name, rate_hz) in [
        ("excerpt", 90.0),
        ("two16", 12.5),
        ("two212", 12.5),
        ("two61", 12.5),
        ("two80", 12.5),
        ("two8", 12.5),
    ] {
        let data = plain(&golden(&format!("{name}.hea"))).unwrap();
        let (channels, values) = table(&golden(&format!("{name}.csv")));
        assert_eq!(data.channels, channels, "{name}");
        let [segment] = &data.segments[..] else {
            panic!("{name}: {} segments", data.segments.len())
        };
        assert!(same(&segment.values, &values), "{name}: {:?}", segment.values);
        assert_eq!((segment.rate_hz, &segment.series[..]), (Some(rate_hz), name));
        assert_eq!(segment.labels, Labels::None);
    }
}

#[test]
fn beats_are_labels_of_their_samples() {
    let classes: BTreeMap<String, Vec<String>> =
        [("normal".to_owned(), vec!["N".to_owned()]), ("other".to_owned(), vec!["V".to_owned()])]
            .into();
    for (classes, normal, all) in
        [(None, "N", vec!["N"]), (Some(classes), "normal", vec!["normal", "other"])]
    {
        let annotations = Some(Annotations { classes, ..Annotations::default() });
        let config = DataConfig { annotations, ..DataConfig::default() };
        let data = read(&golden("excerpt.hea"), &config).unwrap();
        assert_eq!(
            (&data.classes[..], &data.channels[..]),
            (&all.map_to_strings()[..], &["MLII".to_owned()][..])
        );
        let beats = fs::read_to_string(golden("excerpt.beats.csv")).unwrap();
        let beats = beats.lines().filter_map(|line| line.strip_suffix(",N")?.parse().ok());
        let labels = &data.segments[0].labels;
        let found = (0..451_usize).filter(|&row| {
            labels.at(row).is_some_and(|class| data.classes[class as usize] == normal)
        });
        assert_eq!(found.collect::<Vec<_>>(), beats.collect::<Vec<usize>>());
    }
}

trait Strings {
    fn map_to_strings(self) -> Vec<String>;
}

impl Strings for Vec<&str> {
    fn map_to_strings(self) -> Vec<String> {
        self.into_iter().map(str::to_owned).collect()
    }
}

/// A folder with copies of the golden records.
fn records(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        fs::copy(golden(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn damaged_records_are_refused() {
    let change = |name: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let folder = records(&["excerpt.hea", "excerpt.dat", "excerpt.atr"]);
        let path = folder.path().join(name);
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        let config =
            DataConfig { annotations: Some(Annotations::default()), ..DataConfig::default() };
        read(&folder.path().join("excerpt.hea"), &config).unwrap_err()
    };
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen(from, to, 1).into_bytes()
    };
    for (found, part) in [
        (
            change("excerpt.dat", &|mut bytes| {
                bytes.truncate(600);
                bytes
            }),
            "excerpt.dat: its samples have 600 bytes",
        ),
        (
            change("excerpt.dat", &|mut bytes| {
                bytes.extend([0; 3]);
                bytes
            }),
            "excerpt.dat: its samples have 680 bytes",
        ),
        (
            change("excerpt.dat", &|mut bytes| {
                bytes[300] ^= 1;
                bytes
            }),
            "line 2: the checksum of \"MLII\" is",
        ),
        (
            change("excerpt.dat", &|mut bytes| {
                bytes[0] ^= 1;
                bytes
            }),
            "begins with the sample -30, but the header says -29",
        ),
        (
            change("excerpt.hea", &replace(" 451", " 99999999999999999999")),
            "line 1: the number of samples",
        ),
        (change("excerpt.hea", &replace(" 451", " 18446744073709551615")), "have more than can be"),
        (
            change("excerpt.hea", &replace("excerpt.dat", "other.dat")),
            "other.dat: cannot open the file, which line 2",
        ),
        (
            change("excerpt.hea", &replace("1 90", "2 90")),
            "line 2: the header ends here after 1 of 2",
        ),
        (change("excerpt.hea", &|_| vec![0xff; 9]), "excerpt.hea: the header is not text"),
        (
            change("excerpt.hea", &|_| vec![b'#'; 2 << 20]),
            "excerpt.hea: it has more than 1048576 bytes",
        ),
        (
            change("excerpt.atr", &|mut bytes| {
                bytes.truncate(9);
                bytes
            }),
            "excerpt.atr: byte 8: the annotations are cut off",
        ),
        (
            change("excerpt.atr", &|_| vec![0, 4, 0xe8, 7, 0, 0]),
            "excerpt.atr: \"N\" is at sample 1000, but the record has only 451",
        ),
    ] {
        assert!(found.contains(part), "{found}");
    }
    let folder = records(&["excerpt.hea", "excerpt.dat"]);
    let config = DataConfig { annotations: Some(Annotations::default()), ..DataConfig::default() };
    let missing = read(&folder.path().join("excerpt.hea"), &config).unwrap_err();
    assert!(
        missing.contains("excerpt.atr: cannot open the annotations, which data.annotations asks"),
        "{missing}"
    );
}

#[test]
fn classes_of_annotations_hold_symbols() {
    let error = |classes: &[(&str, &str)]| {
        let classes =
            classes.iter().map(|&(class, symbol)| (class.to_owned(), vec![symbol.to_owned()]));
        let annotations =
            Some(Annotations { classes: Some(classes.collect()), ..Annotations::default() });
        let config = DataConfig { annotations, ..DataConfig::default() };
        read(&golden("excerpt.hea"), &config).unwrap_err()
    };
    assert!(error(&[("a", "NN")]).contains("\"NN\" is no symbol"));
    assert!(error(&[("a", "N"), ("b", "N")]).contains("\"N\" is in \"a\" and in \"b\""));
}

#[test]
fn a_folder_of_records_is_split_by_a_table() {
    let folder =
        records(&["two16.hea", "two16.dat", "two80.hea", "two80.dat", "two8.hea", "two8.dat"]);
    let list = folder.path().join("split.csv");
    fs::write(&list, "record,split\ntwo16,train\ntwo80,test\ntwo8,gap\n").unwrap();
    let config = DataConfig { split_file: Some(list.clone()), ..DataConfig::default() };
    let data = read(folder.path(), &config).unwrap();
    let found: Vec<_> = data.segments.iter().map(|s| (&s.series[..], s.split)).collect();
    assert_eq!(found, [("two16", Split::Train), ("two80", Split::Test)]);
    assert_eq!(data.nodes().len(), 2);
    // Without the key the table is no data, and that is said.
    let data = plain(folder.path()).unwrap();
    assert_eq!(data.segments.len(), 3);
    let lines = Understood::of(&data).lines();
    assert!(
        lines.iter().any(|l| l.contains("split.csv: not read, as a table beside recordings")),
        "{lines:?}"
    );
    fs::write(&list, "record,split\ntwo16,train\n").unwrap();
    let error = read(folder.path(), &config).unwrap_err();
    assert!(
        error.contains("two8.hea: no row of ") && error.contains("split.csv tells of this file"),
        "{error}"
    );
}

/// A video of grey frames of two by one pixels.
fn video(path: &Path, frames: &[[u8; 2]]) {
    let mut bytes = b"YUV4MPEG2 W2 H1 F10:1 Cmono\n".to_vec();
    for frame in frames {
        bytes.extend(b"FRAME\n");
        bytes.extend(frame);
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_table_tells_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("camera.y4m");
    video(&path, &[[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]);
    let list = folder.path().join("labels.csv");
    fs::write(&list, "frame,anomaly,split\n0,0,train\n1,0,train\n2,0,gap\n3,1,test\n4,,test\n")
        .unwrap();
    let labels =
        LabelTable { path: Some(list), label: Some("anomaly".to_owned()), ..LabelTable::default() };
    let config = DataConfig { labels: Some(labels), ..DataConfig::default() };
    let data = read(folder.path(), &config).unwrap();
    let found: Vec<_> = data
        .segments
        .iter()
        .map(|s| (s.split, s.first_line, &s.values[..], s.labels.clone()))
        .collect();
    assert_eq!(
        found,
        [
            (Split::Train, 0, &[0., 1., 2., 3.][..], Labels::One(0)),
            (Split::Test, 3, &[6., 7., 8., 9.][..], Labels::PerRow(vec![Some(1), None])),
        ]
    );
    assert_eq!(
        (data.segments[0].rate_hz, &data.classes[..]),
        (Some(10.0), &["0", "1"].map(str::to_owned)[..])
    );
    let understood = Understood::of(&data);
    assert_eq!((understood.left_out, understood.rate_hz), (1, Some(10.0)));
    assert!(
        understood
            .lines()
            .iter()
            .any(|line| line == "1 rows are left out, as data.split or a table says")
    );
}

#[test]
fn a_table_tells_of_clips_and_folds() {
    let folder = tempfile::tempdir().unwrap();
    let clips = folder.path().join("clips");
    fs::create_dir(&clips).unwrap();
    for (name, shade) in [("a", 0), ("b", 9)] {
        video(&clips.join(format!("{name}.y4m")), &[[shade; 2], [shade; 2]]);
    }
    let list = folder.path().join("labels.csv");
    fs::write(&list, "file,label,scene,fold\nclips/a.y4m,fight,0,0\nclips/b.y4m,normal,1,4\n")
        .unwrap();
    let labels = LabelTable {
        path: Some(list),
        split: Some("fold".to_owned()),
        node: Some("scene".to_owned()),
        test: Some(vec!["4".to_owned()]),
        ..LabelTable::default()
    };
    let config = DataConfig { labels: Some(labels), ..DataConfig::default() };
    let data = read(&clips, &config).unwrap();
    let found: Vec<_> = data
        .segments
        .iter()
        .map(|s| (s.split, s.labels.clone(), s.node.as_deref(), s.values[0]))
        .collect();
    assert_eq!(
        found,
        [
            (Split::Train, Labels::One(0), Some("0"), 0.0),
            (Split::Test, Labels::One(1), Some("1"), 9.0),
        ]
    );
    let classes = Understood::of(&data).classes;
    assert_eq!(classes.iter().map(|class| class.rows).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn different_rates_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.y4m"), folder.path().join("b.y4m"));
    video(&a, &[[0, 1]]);
    let found = |folder| Understood::of(&plain(folder).unwrap());
    assert_eq!(found(folder.path()).warnings, [""; 0]);
    let text = String::from_utf8(fs::read(&a).unwrap()).unwrap();
    fs::write(b, text.replace("F10:1", "F25:1")).unwrap();
    let found = found(folder.path());
    assert_eq!(found.rate_hz, None);
    assert!(found.warnings[0].contains("different rates, from 10 to 25 rows"), "{found:?}");
}

#[test]
fn videos_are_thinned_and_brought_to_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.y4m");
    video(&path, &[[0, 2], [4, 6], [8, 10]]);
    let frames =
        |frames| read(&path, &DataConfig { frames: Some(frames), ..DataConfig::default() });
    let data = frames(Frames { size: Some([1, 1]), fps: Some(5.0), ..Frames::default() }).unwrap();
    assert_eq!(
        (&data.segments[0].values[..], data.segments[0].rate_hz),
        (&[1., 9.][..], Some(5.0))
    );
    let colours = frames(Frames { colour: Colour::Rgb, ..Frames::default() }).unwrap();
    assert_eq!(colours.channels[..4], ["p0_r", "p0_g", "p0_b", "p1_r"].map(str::to_owned));
    let wrong = frames(Frames { fps: Some(0.0), ..Frames::default() }).unwrap_err();
    assert!(wrong.contains("v.y4m: data.frames.fps is 0"), "{wrong}");
    fs::write(&path, &fs::read(&path).unwrap()[..50]).unwrap();
    let cut = plain(&path).unwrap_err();
    assert!(cut.contains("v.y4m: frame 2: it is cut off after"), "{cut}");
}

/// Runs ffmpeg to make a file; false where there is none.
fn ffmpeg(arguments: &[&str], output: &Path) -> bool {
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i"]).args(arguments).arg(output);
    match command.status() {
        Ok(status) => {
            assert!(status.success(), "ffmpeg {arguments:?}: {status}");
            true
        }
        Err(_) => false,
    }
}

#[test]
fn other_videos_go_through_ffmpeg_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    // A name that would be an option, and one that would be a protocol.
    for name in ["-v.mkv", "concat:a.avi"] {
        let path = folder.path().join(name);
        let source = "color=c=0x808080:size=32x24:rate=8:duration=1";
        if !ffmpeg(&[source, "-c:v", "ffv1"], &folder.path().join("made.mkv")) {
            return;
        }
        fs::rename(folder.path().join("made.mkv"), &path).unwrap();
        let data = plain(&path).unwrap();
        let segment = &data.segments[0];
        assert_eq!((segment.n_rows(32 * 24), segment.rate_hz), (8, Some(8.0)));
        assert!(
            segment.values.iter().all(|v| (v - 128.0).abs() <= 1.5),
            "{:?}",
            &segment.values[..9]
        );
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut = plain(&path).unwrap_err();
        assert!(cut.contains("ffmpeg cannot decode all of the video"), "{cut}");
        fs::write(&path, "no video").unwrap();
        assert!(plain(&path).unwrap_err().contains("ffmpeg cannot decode all of the video"));
        fs::write(&path, "#EXTM3U\n#EXTINF:1,\nmade.ts\n").unwrap();
        assert!(plain(&path).unwrap_err().contains("ffmpeg cannot decode"));
        fs::remove_file(&path).unwrap();
    }
}
