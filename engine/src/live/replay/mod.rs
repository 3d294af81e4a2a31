//! Recordings that are played at their pace, as if their sensors were there: `edgectl replay`.
//!
//! A row is due at `start + t / speed`, whatever became of those before: a receiver that is slow does not slow the
//! sensor down, and gets what is due at once when it reads again.

mod how;
mod plan;
mod target;
mod to;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;

use super::shift::{Shift, Shifter, deviations};
use crate::data::{Dataset, Segment};
use crate::interrupt::Stop;
pub use how::Play;
pub use plan::{Playing, Timetable};
pub use target::Target;
pub use to::{To, target};

/// What was played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Played {
    /// Rows.
    pub rows: u64,
    /// Classes that were told.
    pub labels: u64,
    /// Messages that were not taken.
    pub lost: u64,
    /// Seconds by which the row that was handed on latest was late.
    pub latest_s: f64,
    /// Seconds it took.
    pub wall_s: f64,
}

/// The longest sleep before a signal is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Plays recordings until their end, or a signal comes.
///
/// # Errors
/// If there is no such series, nothing says how fast rows come, the shift does not fit the channels, or the target
/// fails for good.
pub fn play(
    data: &Dataset,
    how: &Play,
    to: &mut dyn Target,
    stop: &Stop,
) -> anyhow::Result<Played> {
    let mut timetable = Timetable::new(data, how)?;
    let mut shifters = shifters(data, how)?;
    check(data, how)?;
    let began = Instant::now();
    let (mut played, mut line, mut values) = (Played::default(), Vec::new(), Vec::new());
    while let Some(playing) = timetable.next() {
        if let Some(speed) = how.speed
            && !wait(began + Duration::from_secs_f64(playing.due_s() / speed), to, stop)?
        {
            break;
        }
        if stop.now().is_some() {
            break;
        }
        if let Some(speed) = how.speed {
            let late = began.elapsed().as_secs_f64() - playing.due_s() / speed;
            played.latest_s = played.latest_s.max(late);
        }
        line.clear();
        match playing {
            Playing::Row { segment, row, t, .. } => {
                let n = data.channels.len();
                values.clear();
                values.extend_from_slice(&data.segments[segment].values[row * n..(row + 1) * n]);
                if let Some(shifter) = shifters.get_mut(segment) {
                    shifter.row(&mut values);
                }
                timetable.write_row(segment, t, &values, &mut line);
                played.rows += 1;
            }
            Playing::Label { segment, class, from, to, .. } => {
                timetable.write_label(segment, class, (from, to), &mut line);
                played.labels += 1;
            }
        }
        to.line(timetable.series(playing.segment()), &line)?;
    }
    played.lost = to.finish()?;
    played.wall_s = began.elapsed().as_secs_f64();
    Ok(played)
}

/// Fails where what was asked for would never come.
fn check(data: &Dataset, how: &Play) -> anyhow::Result<()> {
    let n = data.channels.len();
    let is_played = |segment: &&Segment| how.series.as_ref().is_none_or(|s| segment.series == *s);
    let played = || data.segments.iter().filter(is_played);
    let lengths = played().map(|segment| segment.n_rows(n) as u64);
    let all: u64 = lengths.clone().sum();
    ensure!(all > 0, "there are no rows to play");
    // Of one series, and of those that begin at once, rows are counted in each part.
    let is_each = how.together || how.series.is_some();
    let rows = if is_each { lengths.max().unwrap_or(0) } else { all };
    if let Some(shift) = how.shift.as_ref().filter(|_| !how.again) {
        ensure!(
            shift.at < rows,
            "--shift {shift}: it would begin at row {}, counted from 0, and there are {rows}",
            shift.at
        );
    }
    let is_labelled =
        |segment: &Segment| (0..segment.n_rows(n)).any(|row| segment.labels.at(row).is_some());
    ensure!(
        how.labels.is_none() || played().any(is_labelled),
        "--labels: no row has a class; a job file (--config) may name their column, as [data] label"
    );
    Ok(())
}

/// Sleeps until then; what waits to be sent is sent before. Says whether to go on.
fn wait(due: Instant, to: &mut dyn Target, stop: &Stop) -> anyhow::Result<bool> {
    if due > Instant::now() {
        to.flush()?;
    }
    loop {
        if stop.now().is_some() {
            return Ok(false);
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        thread::sleep(left.min(LOOK));
    }
}

/// One for each segment; none where nothing changes.
fn shifters(data: &Dataset, how: &Play) -> anyhow::Result<Vec<Shifter>> {
    let Some(shift) = &how.shift else { return Ok(Vec::new()) };
    let n = data.channels.len();
    let rows = data.segments.iter().flat_map(|segment| segment.values.chunks_exact(n.max(1)));
    let deviations = deviations(n, rows)?;
    let rows = |segment: &Segment| segment.n_rows(n) as u64;
    // The change begins at a row of the whole, through all laps. Where all series run at the same time, a row is one of
    // each; of a single series, it is one of that.
    let lap = match (&how.series, how.together) {
        (Some(_), _) => None,
        (None, true) => data.segments.iter().map(rows).max(),
        (None, false) => Some(data.segments.iter().map(rows).sum()),
    };
    let lap = lap.filter(|&lap| lap > 0);
    let mut before = 0;
    let of = |segment: &Segment| {
        let from = if how.together { shift.at } else { shift.at.saturating_sub(before) };
        let at = lap
            .map_or(shift.at, |lap| from / lap * rows(segment) + (from % lap).min(rows(segment)));
        before += rows(segment);
        let shift = Shift { change: shift.change.clone(), at };
        Shifter::new(&shift, &data.channels, &deviations, before)
    };
    data.segments.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataConfig;

    /// Keeps the lines.
    #[derive(Default)]
    struct Kept(Vec<String>);

    impl Target for Kept {
        fn line(&mut self, series: &str, line: &[u8]) -> anyhow::Result<()> {
            self.0.push(format!("{series} {}", String::from_utf8_lossy(line)));
            Ok(())
        }

        fn flush(&mut self) -> anyhow::Result<()> {
            Ok(())
        }

        fn finish(&mut self) -> anyhow::Result<u64> {
            Ok(0)
        }
    }

    fn played(how: &Play) -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let text = "series,t_s,x,label\na,0,1.5,u\na,0.5,?,u\na,1,-0,v\nb,0,7,v\nb,2,8,v\n";
        std::fs::write(folder.path().join("d.csv"), text)?;
        let data = Dataset::read(&[folder.path().join("d.csv")], &DataConfig::default(), None)?;
        let mut kept = Kept::default();
        let played = play(&data, how, &mut kept, &Stop::never())?;
        assert_eq!(played.rows + played.labels, kept.0.len() as u64);
        Ok(kept.0)
    }

    #[test]
    fn rows_come_in_their_order_with_all_their_digits() {
        let lines = played(&Play::default()).expect("played");
        let expected = [
            r#"a {"series":"a","t_s":0,"x":1.5}"#,
            r#"a {"series":"a","t_s":0.5,"x":null}"#,
            r#"a {"series":"a","t_s":1,"x":-0}"#,
            r#"b {"series":"b","t_s":0,"x":7}"#,
            r#"b {"series":"b","t_s":2,"x":8}"#,
        ];
        assert_eq!(lines, expected);
        let of_b = played(&Play { series: Some("b".to_owned()), ..Play::default() });
        assert_eq!(of_b.expect("played"), expected[3..]);
        let none = played(&Play { series: Some("c".to_owned()), ..Play::default() });
        assert!(none.expect_err("there is none").to_string().contains("\"c\""));
        let both = played(&Play { together: true, ..Play::default() }).expect("played");
        let order: Vec<&str> = both.iter().map(|line| &line[..1]).collect();
        assert_eq!(order, ["a", "b", "a", "a", "b"]);
    }

    #[test]
    fn classes_are_told_later() {
        let how = Play { labels: Some(Duration::from_millis(600)), ..Play::default() };
        let lines = played(&how).expect("played");
        let at = |line: &str| lines.iter().position(|other| other == line).expect("it is there");
        let first = at(r#"a {"label":"u","series":"a","from":0,"to":0.5}"#);
        // Due 0.6 s behind 0.5 s: the row of 1 s comes before.
        assert_eq!(first, at(r#"a {"series":"a","t_s":1,"x":-0}"#) + 1);
        assert_eq!(lines.last().expect("some"), r#"b {"label":"v","series":"b","from":0,"to":2}"#);
        assert_eq!(lines.len(), 5 + 3);
    }

    /// Which of so many rows are changed.
    fn changed(how: &Play, at: u64, n: usize) -> Vec<bool> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("d.csv");
        let text = "series,t_s,x,label\na,0,1,u\na,1,1,u\na,2,1,v\nb,0,1,v\nb,1,1,v\n";
        std::fs::write(&path, text).expect("written");
        let data = Dataset::read(&[path], &DataConfig::default(), None).expect("read");
        let shift = Some(Shift { at, .."gain:2".parse().expect("a shift") });
        let how = Play { shift, again: true, ..how.clone() };
        let mut timetable = Timetable::new(&data, &how).expect("planned");
        let mut shifters = shifters(&data, &how).expect("they fit");
        let next = |_| match timetable.next() {
            Some(Playing::Row { segment, .. }) => {
                let mut values = [1.0];
                shifters[segment].row(&mut values);
                values[0] > 1.0
            }
            _ => panic!("a row"),
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn a_change_begins_in_the_lap_that_its_row_is_of() {
        let first = |how: &Play, at| {
            let changed = changed(how, at, 20);
            let first = changed.iter().position(|changed| *changed).unwrap_or(20);
            assert!(changed[first..].iter().all(|changed| *changed), "{changed:?}");
            first
        };
        let apart = Play::default();
        for at in [0, 2, 4, 5, 8, 11] {
            assert_eq!(first(&apart, at), at as usize, "one row after the other");
        }
        let together = Play { together: true, ..Play::default() };
        // Three rows of a and two of b in a lap; a row of both counts as one.
        for (at, rows) in [(0, 0), (1, 2), (2, 4), (3, 5), (4, 7)] {
            assert_eq!(first(&together, at), rows, "row {at}");
        }
    }

    #[test]
    fn a_change_begins_at_its_row_of_all() {
        let shift = Some("gain:2@2".parse().expect("a shift"));
        let lines = played(&Play { shift, ..Play::default() }).expect("played");
        assert!(
            lines[0].contains(":1.5}") && lines[3].contains(":14}") && lines[4].contains(":16}")
        );
    }

    #[test]
    fn what_would_never_come_is_no_wish() {
        let shift = |text: &str| Some(text.parse().expect("a shift"));
        assert!(played(&Play { shift: shift("gain:2@4"), ..Play::default() }).is_ok());
        let late = played(&Play { shift: shift("gain:2@5"), ..Play::default() });
        let error = late.expect_err("there are five rows").to_string();
        assert!(error.contains("row 5") && error.contains("there are 5"), "{error}");
        let of_b =
            Play { shift: shift("gain:2@2"), series: Some("b".to_owned()), ..Play::default() };
        assert!(played(&of_b).is_err(), "it has two rows");
    }
}
