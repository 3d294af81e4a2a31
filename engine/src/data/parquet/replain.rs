//! Pages in encodings whose decoders in the crate `parquet` go by what a page claims, so that one that is
//! damaged ends the program or fills its memory: here they are checked and made plain pages.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/>

/// Numbers of a block, of which writers have 128.
const MAX_BLOCK: usize = 1 << 16;

/// How many of `n` values are there, by their levels: runs of ones (there) and zeros (missing).
///
/// # Errors
/// If there are fewer levels.
pub(super) fn n_present(levels: &[u8], n: usize) -> Option<usize> {
    let (mut input, mut n_seen, mut n_present) = (levels, 0, 0);
    while n_seen < n {
        let head = usize::try_from(unsigned(&mut input)?).ok()?;
        let left = n - n_seen;
        if head & 1 == 0 {
            let (&level, rest) = input.split_first()?;
            input = rest;
            let run = (head >> 1).min(left);
            n_present += run * usize::from(level & 1);
            n_seen += run;
            if run == 0 {
                return None;
            }
        } else {
            // Eight levels a byte; the last byte may have fewer.
            let run = (head >> 1).checked_mul(8)?.min(left);
            let (packed, rest) = input.split_at_checked((head >> 1).min(input.len()))?;
            input = rest;
            if run == 0 || packed.len() * 8 < run {
                return None;
            }
            let present = |bit: &usize| packed[bit / 8] >> (bit % 8) & 1 == 1;
            n_present += (0..run).filter(present).count();
            n_seen += run;
        }
    }
    Some(n_present)
}

/// Whether a plain page has so many texts, each with its length before it.
pub(super) fn has_texts(page: &[u8], n: usize) -> bool {
    let mut rest = page;
    (0..n).all(|_| {
        let Some((length, texts)) = rest.split_first_chunk::<4>() else { return false };
        let length = u32::from_le_bytes(*length) as usize;
        let behind = texts.get(length..);
        rest = behind.unwrap_or_default();
        behind.is_some()
    })
}

/// A page of values of `width` bytes, all first bytes first, as a plain page: value by value.
///
/// # Errors
/// If it does not hold whole values.
pub(super) fn plain_of_streams(page: &[u8], width: usize) -> Option<Vec<u8>> {
    if width == 0 || !page.len().is_multiple_of(width) {
        return None;
    }
    let n = page.len() / width;
    let mut plain = vec![0; page.len()];
    for (value, bytes) in plain.chunks_exact_mut(width).enumerate() {
        bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = page[i * n + value]);
    }
    Some(plain)
}

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
        push(&mut plain, text, most)?;
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
        push(&mut plain, &last, most)?;
    }
    Some(plain)
}

fn push(plain: &mut Vec<u8>, text: &[u8], most: usize) -> Option<()> {
    if plain.len() + 4 + text.len() > most {
        return None;
    }
    plain.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
    plain.extend_from_slice(text);
    Some(())
}

/// How many numbers a page of differences claims.
pub(super) fn n_numbers(page: &[u8]) -> Option<usize> {
    let mut input = page;
    unsigned(&mut input)?;
    unsigned(&mut input)?;
    usize::try_from(unsigned(&mut input)?).ok()
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
        assert_eq!(n_numbers(&NUMBERS), Some(8));
        assert_eq!(numbers(&NUMBERS, 7), None, "more than there may be");
        assert_eq!(numbers(&NUMBERS[..17], 8), None, "cut off");
    }

    #[test]
    fn levels_and_texts_are_counted() {
        // Five ones, then a byte of bits.
        let levels = [10, 1, 3, 0b0000_0101];
        assert_eq!(n_present(&levels, 13), Some(7));
        assert_eq!(n_present(&levels, 6), Some(6));
        assert_eq!((n_present(&levels, 14), n_present(&levels[..3], 13)), (None, None));
        assert_eq!(n_present(&[0, 0], 1), None);
        let page = b"\x01\0\0\0a\0\0\0\0";
        assert!(has_texts(page, 2) && !has_texts(page, 3) && !has_texts(&page[..4], 1));
    }

    #[test]
    fn streams_become_values() {
        assert_eq!(plain_of_streams(b"acebdf", 2).unwrap(), b"abcdef");
        assert_eq!((plain_of_streams(b"abc", 2), plain_of_streams(b"abc", 0)), (None, None));
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
            let _ = (n_present(&tail, 1000), has_texts(&tail, 1000));
        }
    }
}
