//! A table of plain text in pieces, which all threads parse while rows are handed on in order.

use std::io::{self, Read};

use super::block::Block;
use super::quick::{Plan, Progress};
use super::reader::Sink;
use super::replay::Replay;

/// Bytes of a piece. Its numbers take at most a few times as many.
const PIECE: usize = 1 << 18;

/// Pieces that are parsed at once, for each thread.
const PER_THREAD: usize = 4;

/// A piece on its way: its lines, and what became of them.
struct Piece {
    text: Vec<u8>,
    block: Block,
    read: Progress,
}

impl Piece {
    fn is_plain(&self) -> bool {
        self.read.n_bytes == self.text.len()
    }
}

/// Lines that are read in pieces.
struct Lines<'r, R> {
    input: &'r mut Replay<R>,
    /// The begin of a line whose end was not read yet.
    begun: Vec<u8>,
    failure: Option<io::Error>,
    is_at_end: bool,
}

/// Reads rows as long as they are plain, and hands them on; whatever is not plain is put back, with all
/// behind it. `line` is that of the next row, and is kept so.
///
/// What comes out does not depend on the number of threads: pieces are handed on in order, and the first
/// one that is not plain ends it.
///
/// # Errors
/// What the sink refuses.
pub(super) fn read<R: Read>(
    input: &mut Replay<R>,
    plan: &Plan,
    line: &mut usize,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let n_pieces = PER_THREAD * rayon::current_num_threads();
    let mut lines = Lines { input, begun: Vec::new(), failure: None, is_at_end: false };
    let mut spare = Vec::new();
    let mut parsed: Vec<Piece> = Vec::new();
    let mut given = lines.pieces(n_pieces, plan, &mut spare);
    loop {
        let mut handed_on = Ok(());
        let mut next = Vec::new();
        rayon::in_place_scope(|scope| {
            for piece in &mut given {
                scope.spawn(|_| piece.read = plan.read(&piece.text, &mut piece.block));
            }
            // This thread meanwhile does what must be done in order.
            handed_on = hand_on(&mut parsed, line, sink);
            spare.append(&mut parsed);
            if handed_on.is_ok() {
                next = lines.pieces(n_pieces, plan, &mut spare);
            }
        });
        handed_on?;
        if let Some(bad) = given.iter().position(|piece| !piece.is_plain()) {
            let mut rest = given[bad].text[given[bad].read.n_bytes..].to_vec();
            for piece in given[bad + 1..].iter().chain(&next) {
                rest.extend_from_slice(&piece.text);
            }
            given.truncate(bad + 1);
            rest.append(&mut lines.begun);
            lines.input.put_back(&rest, lines.failure.take());
            return hand_on(&mut given, line, sink);
        }
        if given.is_empty() {
            lines.input.put_back(&lines.begun, lines.failure.take());
            return Ok(());
        }
        (parsed, given) = (given, next);
    }
}

/// Hands rows on in order.
fn hand_on(pieces: &mut [Piece], line: &mut usize, sink: &mut dyn Sink) -> anyhow::Result<()> {
    for piece in pieces {
        piece.block.shift_places(*line);
        *line += piece.read.n_lines;
        if piece.block.n_rows() > 0 {
            sink.rows(&piece.block)?;
        }
    }
    Ok(())
}

impl<R: Read> Lines<'_, R> {
    /// The next pieces; none at the end, and before what is no piece: a line that does not end.
    fn pieces(&mut self, n: usize, plan: &Plan, spare: &mut Vec<Piece>) -> Vec<Piece> {
        let mut found = Vec::new();
        while found.len() < n {
            let empty = || Piece {
                text: Vec::new(),
                block: Block::new(&plan.needs),
                read: Progress::default(),
            };
            let mut piece = spare.pop().unwrap_or_else(empty);
            piece.block.clear();
            piece.read = Progress::default();
            if !self.next_piece(&mut piece.text) {
                break;
            }
            found.push(piece);
        }
        found
    }

    /// Fills in the next whole lines; says whether there are some.
    fn next_piece(&mut self, text: &mut Vec<u8>) -> bool {
        text.clear();
        text.append(&mut self.begun);
        while !self.is_at_end && text.len() < PIECE {
            let missing = (PIECE - text.len()) as u64;
            match self.input.by_ref().take(missing).read_to_end(text) {
                Ok(0) => self.is_at_end = true,
                Ok(_) => {}
                Err(error) => {
                    (self.is_at_end, self.failure) = (true, Some(error));
                }
            }
        }
        let end = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
        self.begun.extend_from_slice(&text[end..]);
        text.truncate(end);
        end > 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Dataset, read_inline};

    /// Rows for several rounds of pieces on three threads, with `odd` in the place of one of them.
    fn table(at: usize, odd: &str, line_end: &str) -> String {
        let mut text = format!("t,x,note{line_end}");
        for i in 0..400_000 {
            if i == at {
                text += odd;
            } else {
                text += &format!("{i}.25,{},n", (i * 7919) % 100_003);
            }
            text += line_end;
        }
        text
    }

    fn read(text: &str, n_threads: usize) -> Result<Dataset, String> {
        let ignore = Some(vec!["note".to_owned()]);
        let config = DataConfig { ignore, ..DataConfig::default() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| read_inline(&[("x.csv", text.as_bytes())], &config, None))
    }

    fn values_of(data: &Dataset) -> &[f64] {
        &data.segments[0].values
    }

    #[test]
    fn pieces_are_one_table_whatever_the_threads() {
        let expected: Vec<f64> =
            (0..400_000).map(|i| f64::from((i * 7919_u32) % 100_003)).collect();
        for (at, odd, line_end) in [
            (usize::MAX, "", "\n"),
            (usize::MAX, "", "\r\n"),
            (300_000, "300000.25,83932,\"a \n quote\"", "\n"),
            (300_000, "\n300000.25, 83932 ,n\n  ", "\n"),
            (300_000, "\"300000.25\",83932.0,n", "\n"),
        ] {
            for n_threads in [1, 3] {
                let data = read(&table(at, odd, line_end), n_threads).unwrap();
                testkit::assert_same_bits("x", values_of(&data), &expected_at(&expected, at));
                let times = data.segments[0].times.as_ref().unwrap();
                assert!(times.iter().enumerate().all(|(i, t)| (t - i as f64 - 0.25).abs() <= 0.0));
            }
        }
    }

    /// The values, of which the odd one says what the row holds.
    fn expected_at(values: &[f64], at: usize) -> Vec<f64> {
        let mut values = values.to_vec();
        if let Some(value) = values.get_mut(at) {
            *value = 83_932.0;
        }
        values
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (odd, message) in [
            ("1,2", "line 350002: expected 3 fields as in the header, found 2"),
            ("349999.5,abc,n", "line 350002, column \"x\": expected a number, found \"abc\""),
            ("349999.5,1e99,n", "line 350002, column \"x\": expected a finite number"),
            ("3.5,1,n", "line 350002, column \"t\": time runs backwards, from 349999.25 to 3.5"),
            ("2020-01-01,1,n", "line 350002, column \"t\": the time is a date"),
            ("3,\"1,n", "a quote that opens on this line may not be closed"),
        ] {
            for n_threads in [1, 3] {
                let error = read(&table(350_000, odd, "\n"), n_threads).unwrap_err();
                assert!(error.contains(message), "{error}");
            }
        }
    }

    #[test]
    fn a_line_that_is_longer_than_a_piece_is_read() {
        let long = format!("300000.25,83932,{}", "n".repeat(super::PIECE + 100));
        let data = read(&table(300_000, &long, "\n"), 2).unwrap();
        assert_eq!(values_of(&data).len(), 400_000);
    }
}
