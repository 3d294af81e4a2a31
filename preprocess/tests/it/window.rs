//! Windows for all sizes.

use preprocess::{Tail, Windowing};
use proptest::prelude::*;

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..50, Just(usize::MAX), Just(usize::MAX / 2), usize::MAX - 10..usize::MAX]
}

proptest! {
    #[test]
    fn windows_follow_their_definition(
        window_len in 1_usize..20,
        stride in 1_usize..20,
        keep in any::<bool>(),
        n_rows in 0_usize..100,
    ) {
        let tail = if keep { Tail::Keep } else { Tail::Drop };
        let windowing = Windowing::new(window_len, stride, tail).unwrap();
        let ranges: Vec<_> = windowing.starts(n_rows).collect();
        prop_assert_eq!(ranges.len(), windowing.count(n_rows));
        for (i, range) in ranges.iter().enumerate() {
            prop_assert_eq!(range.start, i * stride);
            prop_assert!(range.start < range.end && range.end <= n_rows);
            let is_last = i + 1 == ranges.len();
            let full = range.len() == window_len;
            prop_assert!(full || (keep && is_last && range.end == n_rows));
        }
        // A short window is there only for rows that no full one has.
        if let [.., before, last] = &ranges[..] {
            prop_assert!(last.len() == window_len || before.end < n_rows);
        }
        // Every start with room for a full window is there.
        let n_full = (0..n_rows).step_by(stride).filter(|s| s + window_len <= n_rows).count();
        prop_assert_eq!(ranges.iter().filter(|r| r.len() == window_len).count(), n_full);
        // Keep leaves no row out but those between windows.
        if keep && stride <= window_len && n_rows > 0 {
            prop_assert_eq!(ranges.last().unwrap().end, n_rows);
        }
    }

    #[test]
    fn huge_sizes_do_not_overflow(
        window_len in sizes(),
        stride in sizes(),
        keep in any::<bool>(),
        n_rows in prop_oneof![Just(0_usize), sizes()],
    ) {
        let tail = if keep { Tail::Keep } else { Tail::Drop };
        let windowing = Windowing::new(window_len, stride, tail).unwrap();
        let ranges = windowing.starts(n_rows);
        prop_assert_eq!(ranges.len(), windowing.count(n_rows));
        for range in windowing.starts(n_rows).take(3).chain(ranges.rev().take(3)) {
            prop_assert!(range.start < range.end && range.end <= n_rows, "{:?}", range);
        }
    }
}
