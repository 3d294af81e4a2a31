//! Everything random is a function of the seed, the node, the round and the step.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Mixes two numbers into a seed (the finaliser of `SplitMix64`).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z =
        a.rotate_left(32).wrapping_add(b.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The order of the windows in an epoch.
pub(super) fn shuffle(order: &mut Vec<usize>, n: usize, seed: u64) {
    order.clear();
    order.extend(0..n);
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
}

/// The seed of a node in a round: nodes shuffle differently, and differently in each round.
pub(super) fn node_seed(seed: u64, node: &str, round: u32) -> u64 {
    let name = node.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mix(mix(seed, name), u64::from(round))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_node_and_round() {
        let seeds = [
            node_seed(1, "a", 0),
            node_seed(1, "b", 0),
            node_seed(1, "a", 1),
            node_seed(2, "a", 0),
        ];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b));
        }
    }
}
