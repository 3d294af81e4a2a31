//! Annotations of a WFDB record, in the format of MIT: what happened at which sample.
//!
//! As in the WFDB Applications Guide, `annot(5)`: words of two bytes, the low one first, whose high
//! six bits are a code and whose low ten bits are the samples since the annotation before.

/// One annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Annotation {
    /// The sample where it stands, counted from 0.
    pub(super) sample: u64,
    /// What it is.
    pub(super) symbol: &'static str,
    /// Text that belongs to it.
    pub(super) aux: Vec<u8>,
}

/// Symbols by code; the codes between them stand for nothing.
const SYMBOLS: [&str; 42] = [
    "", "N", "L", "R", "a", "V", "F", "J", "A", "S", "E", "j", "/", "Q", "~", "", "|", "", "s",
    "T", "*", "D", "\"", "=", "p", "B", "^", "t", "+", "u", "?", "!", "[", "]", "e", "n", "@", "x",
    "f", "(", ")", "r",
];

/// The symbols of beats, as PhysioNet lists them.
const BEATS: &str = "NLRBAaJSVrFejnE/fQ?";

/// A long interval follows, in four bytes.
const SKIP: u16 = 59;
/// A number, a subtype or a signal of the annotation before.
const DETAILS: [u16; 3] = [60, 61, 62];
/// Text of the annotation before follows.
const AUX: u16 = 63;

/// How the text begins that says the rate of the sample numbers.
const RESOLUTION: &str = "## time resolution:";

/// Whether a symbol is a beat's.
pub(super) fn is_beat(symbol: &str) -> bool {
    !symbol.is_empty() && BEATS.contains(symbol)
}

/// Whether there is such a symbol.
pub(super) fn is_symbol(symbol: &str) -> bool {
    !symbol.is_empty() && SYMBOLS.contains(&symbol)
}

/// Reads a whole file of annotations, which must be in order.
///
/// # Errors
/// The byte of the file where it is wrong, and why.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Annotation>, (usize, String)> {
    let cut_off = |at: usize| (at, "the annotations are cut off; copy the file anew".to_owned());
    let word = |at: usize| {
        let word = bytes.get(at..at + 2).ok_or_else(|| cut_off(at))?;
        Ok(u16::from_le_bytes([word[0], word[1]]))
    };
    let mut found: Vec<Annotation> = Vec::new();
    let (mut at, mut sample) = (0, 0_i64);
    loop {
        let here = at;
        let head = word(at)?;
        at += 2;
        let (code, interval) = (head >> 10, head & 0x3ff);
        match code {
            0 if interval == 0 => return Ok(found),
            SKIP => {
                // The high half comes first.
                let bits = u32::from(word(at)?) << 16 | u32::from(word(at + 2)?);
                at += 4;
                sample += i64::from(bits.cast_signed());
            }
            AUX => {
                let end = at + usize::from(interval);
                let text = bytes.get(at..end).ok_or_else(|| cut_off(here))?;
                // Padded to whole words.
                at = end + usize::from(interval % 2);
                if let Some(last) = found.last_mut() {
                    last.aux = text.to_vec();
                }
            }
            code if DETAILS.contains(&code) => {}
            code => {
                sample += i64::from(interval);
                let symbol = SYMBOLS.get(usize::from(code)).copied().unwrap_or_default();
                if symbol.is_empty() {
                    return Err((here, format!("the code {code} stands for no annotation")));
                }
                let before = found.last().map_or(0, |last| last.sample);
                let sample = u64::try_from(sample).ok().filter(|&sample| sample >= before);
                let sample = sample.ok_or_else(|| {
                    (here, format!("an annotation lies before the one at sample {before}"))
                })?;
                found.push(Annotation { sample, symbol, aux: Vec::new() });
            }
        }
    }
}

/// The rate of the sample numbers, where the file says one.
pub(super) fn resolution_hz(annotations: &[Annotation]) -> Option<f64> {
    let notes = annotations.iter().take_while(|note| note.sample == 0 && note.symbol == "\"");
    let texts = notes.filter_map(|note| std::str::from_utf8(&note.aux).ok());
    texts
        .filter_map(|text| text.strip_prefix(RESOLUTION)?.trim_matches(['\0', ' ']).parse().ok())
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn word(code: u16, interval: u16) -> u16 {
        code << 10 | interval
    }

    #[test]
    fn annotations_are_read_with_their_text() {
        let mut bytes = words(&[word(28, 5), word(AUX, 3)]);
        bytes.extend(b"(N\0\0");
        bytes.extend(words(&[word(1, 7), word(62, 1), word(SKIP, 0), 1, 2, word(5, 3), 0]));
        let found = parse(&bytes).unwrap();
        let all: Vec<_> = found.iter().map(|found| (found.sample, found.symbol)).collect();
        assert_eq!(all, [(5, "+"), (12, "N"), (12 + 65536 + 2 + 3, "V")]);
        assert_eq!((&found[0].aux[..], &found[1].aux[..]), (&b"(N\0"[..], &b""[..]));
        assert_eq!(resolution_hz(&found), None);
    }

    #[test]
    fn a_note_may_say_the_rate() {
        let text = b"## time resolution: 360";
        let mut bytes = words(&[word(22, 0), word(AUX, text.len() as u16)]);
        bytes.extend(text);
        bytes.push(0);
        bytes.extend(words(&[word(1, 4), 0]));
        assert_eq!(resolution_hz(&parse(&bytes).unwrap()), Some(360.0));
    }

    #[test]
    fn damage_is_named_with_its_byte() {
        for (bytes, expected) in [
            (words(&[word(1, 7)]), (2, "the annotations are cut off; copy the file anew")),
            (vec![7], (0, "the annotations are cut off; copy the file anew")),
            (words(&[word(SKIP, 0), 1]), (4, "the annotations are cut off; copy the file anew")),
            (words(&[word(AUX, 900), 0]), (0, "the annotations are cut off; copy the file anew")),
            (words(&[word(50, 1), 0]), (0, "the code 50 stands for no annotation")),
            (
                words(&[word(1, 7), word(SKIP, 0), 0xffff, 0xfffe, word(1, 0), 0]),
                (8, "an annotation lies before the one at sample 7"),
            ),
        ] {
            let (at, why) = parse(&bytes).unwrap_err();
            assert_eq!((at, &why[..]), expected);
        }
    }

    #[test]
    fn beats_are_symbols() {
        assert!(BEATS.chars().all(|beat| is_symbol(&beat.to_string())));
        assert!(is_beat("N") && is_beat("/") && !is_beat("+") && !is_beat("") && !is_symbol(""));
        assert!(SYMBOLS.iter().filter(|s| !s.is_empty()).all(|s| s.len() == 1));
    }
}
