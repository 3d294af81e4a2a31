//! Texts whose lengths, and beginnings shared with the text before, are written as differences.
//!
//! The crate `parquet` decodes such a page by what it claims, so that one that is damaged ends the program
//! or fills its memory: here it is checked and made a plain page.
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/>

/// Numbers of a block, of which writers have 128.
const MAX_BLOCK: usize = 1 << 16;

/// A page of texts with their lengths first, as a plain page: each text with its length before it.
///
/// # Errors
/// If it is damaged, has more than `n_values` texts, or would be larger than `most`.
pub(super) fn plain_of_lengths(page: &[u8], n_values: usize, most: usize) -> Option<Vec<u8>> {
    let (lengths, mut texts) = numbers(page, n_values)?;
    let mut plain = Vec::new();
    for length in lengths {
        let (text, rest) = texts.split_at_checked(usize::try_from(length).ok()?)?;
        texts = rest;
        push(&mut plain, &[text], most)?;
    }
    Some(plain)
}

/// The same of texts, each of which begins as so many bytes of the one before.
///
/// # Errors
/// As [`plain_of_lengths`].
pub(super) fn plain_of_prefixes(page: &[u8], n_values: usize, most: usize) -> Option<Vec<u8>> {
    let (prefixes, rest) = numbers(page, n_values)?;
    let (lengths, mut ends) = numbers(rest, n_values)?;
    if prefixes.len() != lengths.len() {
        return None;
    }
    let (mut plain, mut last) = (Vec::new(), Vec::new());
    for (prefix, length) in prefixes.into_iter().zip(lengths) {
        let (end, rest) = ends.split_at_checked(usize::try_from(length).ok()?)?;
        ends = rest;
        let prefix = usize::try_from(prefix).ok().filter(|&prefix| prefix <= last.len())?;
        last.truncate(prefix);
        last.extend_from_slice(end);
        push(&mut plain, &[&last], most)?;
    }
    Some(plain)
}

fn push(plain: &mut Vec<u8>, text: &[&[u8]], most: usize) -> Option<()> {
    let n: usize = text.iter().map(|part| part.len()).sum();
    if plain.len() + 4 + n > most {
        return None;
    }
    plain.extend_from_slice(&u32::try_from(n).ok()?.to_le_bytes());
    text.iter().for_each(|part| plain.extend_from_slice(part));
    Some(())
}

/// Whole numbers of 32 bits, of which each is the last one, the least difference of its block, and a
/// number of few bits; and what follows them.
fn numbers(bytes: &[u8], most: usize) -> Option<(Vec<i32>, &[u8])> {
    let mut input = bytes;
    let block = usize::try_from(unsigned(&mut input)?).ok()?;
    let n_parts = usize::try_from(unsigned(&mut input)?).ok().filter(|&n| n > 0)?;
    let n = usize::try_from(unsigned(&mut input)?).ok().filter(|&n| n <= most)?;
    let per_part = block / n_parts;
    if block > MAX_BLOCK || per_part == 0 || !per_part.is_multiple_of(8) || block % n_parts != 0 {
        return None;
    }
    let mut last = signed(&mut input)? as i32;
    let mut numbers = Vec::new();
    if n > 0 {
        numbers.push(last);
    }
    while numbers.len() < n {
        let least = signed(&mut input)? as i32;
        let (widths, rest) = input.split_at_checked(n_parts)?;
        input = rest;
        for &width in widths {
            if numbers.len() == n {
                break;
            }
            let n_bits = usize::from(width);
            let (packed, rest) = input.split_at_checked(per_part / 8 * n_bits)?;
            if n_bits > 32 {
                return None;
            }
            input = rest;
            let (mut bits, mut held, mut packed) = (0_u64, 0, packed.iter());
            for _ in 0..per_part.min(n - numbers.len()) {
                while held < n_bits {
                    bits |= u64::from(*packed.next()?) << held;
                    held += 8;
                }
                let difference = (bits & ((1 << n_bits) - 1)) as i32;
                bits >>= n_bits;
                held -= n_bits;
                last = last.wrapping_add(least).wrapping_add(difference);
                numbers.push(last);
            }
        }
    }
    Some((numbers, input))
}

fn unsigned(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn signed(input: &mut &[u8]) -> Option<i64> {
    let value = unsigned(input)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the specification: 7, 5, 3, 1, 2, 3, 4, 5, whose differences are -2 and 1, with
    /// blocks of 128 in 4 parts.
    const NUMBERS: [u8; 18] = [
        0x80,
        0x01,
        0x04,
        0x08,
        0x0e,
        0x03,
        0x02,
        0,
        0,
        0,
        0b1100_0000,
        0b0011_1111,
        0,
        0,
        0,
        0,
        0,
        0,
    ];

    #[test]
    fn differences_become_numbers() {
        let (found, rest) = numbers(&NUMBERS, 8).unwrap();
        assert_eq!((&found[..], rest.len()), (&[7, 5, 3, 1, 2, 3, 4, 5][..], 0));
        assert_eq!(numbers(&NUMBERS, 7), None, "more than there may be");
        assert_eq!(numbers(&NUMBERS[..17], 8), None, "cut off");
    }

    #[test]
    fn texts_stand_behind_their_lengths() {
        // Lengths 1 and 2.
        let page = [&[0x80, 0x01, 0x04, 0x02, 0x02, 0x02, 0, 0, 0, 0][..], b"abc"].concat();
        assert_eq!(plain_of_lengths(&page, 2, 100).unwrap(), b"\x01\0\0\0a\x02\0\0\0bc");
        assert_eq!(plain_of_lengths(&page, 2, 10), None, "too large");
        assert_eq!(plain_of_lengths(&page[..12], 2, 100), None, "cut off");
        // Prefixes 0 and 1 before them.
        let page = [&[0x80, 0x01, 0x04, 0x02, 0x00, 0x02, 0, 0, 0, 0][..], &page].concat();
        assert_eq!(plain_of_prefixes(&page, 2, 100).unwrap(), b"\x01\0\0\0a\x03\0\0\0abc");
    }

    proptest! {
        #[test]
        fn any_bytes_return(tail in prop::collection::vec(any::<u8>(), 0..60)) {
            let page = [&[0x80, 0x01, 0x04][..], &tail].concat();
            let _ = (plain_of_lengths(&page, 1000, 1000), plain_of_prefixes(&page, 1000, 1000));
            let _ = plain_of_lengths(&tail, 1000, 1000);
        }
    }
}
