//! Numbers of a state as serde writes them: integers with their bits, which no format rounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serializer};

/// Numbers by name.
pub(crate) mod scalars {
    use super::{BTreeMap, Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        scalars: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(scalars.iter().map(|(name, value)| (name, value.to_bits())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let bits = BTreeMap::<String, u64>::deserialize(deserializer)?;
        Ok(bits.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect())
    }
}

/// Tensors by name.
pub(crate) mod tensors {
    use super::{BTreeMap, Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        tensors: &BTreeMap<String, Vec<f32>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let bits = |tensor: &[f32]| tensor.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
        serializer.collect_map(tensors.iter().map(|(name, tensor)| (name, bits(tensor))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<f32>>, D::Error> {
        let tensors = BTreeMap::<String, Vec<u32>>::deserialize(deserializer)?;
        let values = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits).collect();
        Ok(tensors.into_iter().map(|(name, bits)| (name, values(bits))).collect())
    }
}
