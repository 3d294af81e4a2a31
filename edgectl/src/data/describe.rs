//! What is in files, found as they are read: nothing of a row is kept.

use std::path::PathBuf;

use super::class_count::MAX_CLASSES;
use super::collect::Collector;
use super::config::DataConfig;
use super::read::read_files;
use super::tally::Tally;
use super::understood::Understood;

impl Understood {
    /// What [`Understood::of`] says of the files, read as [`Dataset::read`](super::Dataset::read) does, in
    /// memory that does not grow with their rows: a little is kept of each series that a long table holds,
    /// and at most 10,000 names of classes.
    ///
    /// # Errors
    /// As [`Dataset::read`](super::Dataset::read).
    pub fn read(paths: &[PathBuf], config: &DataConfig) -> anyhow::Result<Self> {
        let mut all = Collector::new(config, None);
        all.classes = all.classes.at_most(MAX_CLASSES);
        let mut tally = Tally::default();
        read_files(paths, &mut all, &mut tally)?;
        let channels = all.channels().to_vec();
        let Collector { classes, readings, .. } = all;
        let overflown = classes.overflown();
        let (names, places) = classes.finish();
        let mut found = Self::new(tally, &readings, &channels, (&names, &places));
        if overflown {
            found.warnings.push(format!(
                "there are more than {MAX_CLASSES} different labels, others are not counted: that is no \
                 class; name a column of classes as data.label"
            ));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Dataset;
    use super::*;

    #[test]
    fn what_is_counted_in_passing_is_what_is_in_the_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let mut rows = String::from("series,t_s,label,split,x,y\n");
        // Series by turns, several blocks, a gap, doubled times, missing values and labels.
        for i in 0..200_000_u32 {
            let (t, label) =
                (i / 3 + 5 * u32::from(i > 90_000), ["b", "a", ""][i as usize / 7 % 3]);
            let split = if i % 1000 < 900 { "train" } else { "test" };
            let y = if i % 11 == 0 { String::new() } else { (i % 17).to_string() };
            rows += &format!("{},{t},{label},{split},{i},{y}\n", i % 2);
        }
        write("a.csv", &rows);
        write("b_TEST.csv", "y,x,t_s\n1,2,0\n3,4,1\n");
        let paths = [folder.path().to_owned()];
        let config = DataConfig::default();
        let found = Understood::read(&paths, &config).unwrap();
        assert_eq!(found, Understood::of(&Dataset::read(&paths, &config, None).unwrap()));
        assert_eq!((found.steps, found.classes.len(), found.rate_hz), (200_002, 2, Some(1.0)));
        assert!(found.gaps > 0 && found.doubled_times > 0, "{found:?}");
        assert!(found.warnings.iter().any(|warning| warning.contains("channel \"x\" only grows")));
        fs::remove_file(folder.path().join("a.csv")).unwrap();

        for (name, text) in [
            ("w.csv", "label,node,p0,p1\n1,a,1,2\n2,b,3,\n1,b,5,6\n"),
            ("w.ts", "@classLabel true 1 2 3\n@data\n1,2:2\n3:1\n"),
        ] {
            let paths = [folder.path().join(name)];
            write(name, text);
            let found = Understood::read(&paths, &config).unwrap();
            assert_eq!(found, Understood::of(&Dataset::read(&paths, &config, None).unwrap()));
            assert!(found.series >= 2 && found.classes.len() >= 2, "{found:?}");
        }
    }

    #[test]
    fn labels_without_end_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        let rows = (0..MAX_CLASSES + 5).map(|i| format!("{i},{i}.5,1\n"));
        fs::write(&path, format!("t,label,x\n{}", rows.collect::<String>())).unwrap();
        let found = Understood::read(&[path], &DataConfig::default()).unwrap();
        assert_eq!(found.classes.len(), MAX_CLASSES);
        assert!(found.warnings[0].contains("more than 10000 different labels"), "{found:?}");
    }
}
