//! Which files are read for one data file: nothing of them may be replaced by an output.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::config::DataConfig;

/// Most lines of a record's header that are looked at; it has one for each signal.
const MOST_LINES: usize = 10_000;

/// A data file, and what else is read for it: the files of a folder of pictures, the signals and annotations of
/// a record, tables that are joined. Files that are not there are among them or not.
pub fn files_behind(file: &Path, config: &DataConfig) -> Vec<PathBuf> {
    let mut found = vec![file.to_owned()];
    if file.is_dir() {
        found.extend(siblings(file).filter(|path| !path.is_dir()));
    }
    if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("hea")) {
        let folder = file.parent().unwrap_or(Path::new(""));
        let of_record = siblings(folder).filter(|path| path.file_stem() == file.file_stem());
        found.extend(of_record);
        found.extend(signals(file).into_iter().map(|name| folder.join(name)));
    }
    found.extend(config.join.iter().map(|join| join.table_of(file)));
    found
}

fn siblings(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// The first words of a header's lines: names of signal files among them.
fn signals(header: &Path) -> Vec<String> {
    let Ok(file) = fs::File::open(header) else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok).take(MOST_LINES);
    lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_for_a_file_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in
            [("100.hea", "100 1 360 10\nraw.dat 212\n"), ("100.atr", ""), ("x.csv", "")]
        {
            fs::write(at(name), text).unwrap();
        }
        let config: DataConfig = toml::from_str("join = [{ path = \"{stem}_gps.csv\" }]").unwrap();
        assert_eq!(files_behind(&at("x.csv"), &config), [at("x.csv"), at("x_gps.csv")]);
        let of_record = files_behind(&at("100.hea"), &DataConfig::default());
        assert!(of_record.contains(&at("raw.dat")) && of_record.contains(&at("100.atr")));
        assert!(!of_record.contains(&at("x.csv")));
        assert!(files_behind(folder.path(), &DataConfig::default()).contains(&at("x.csv")));
    }
}
