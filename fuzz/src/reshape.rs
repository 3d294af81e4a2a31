//! Sound safetensors files of other contents: dtypes, shapes and names change and the offsets with
//! them, so that the damage gets past the checks of the header.

use aggregate::Dtype;
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

const DTYPES: [Dtype; 16] = [
    Dtype::BOOL,
    Dtype::F4,
    Dtype::F8_E4M3,
    Dtype::U8,
    Dtype::I8,
    Dtype::I16,
    Dtype::U16,
    Dtype::F16,
    Dtype::BF16,
    Dtype::I32,
    Dtype::U32,
    Dtype::F32,
    Dtype::C64,
    Dtype::F64,
    Dtype::I64,
    Dtype::U64,
];

/// No tensor gets more elements.
const MOST_ELEMENTS: u64 = 2000;

/// Header and data with one tensor changed, added or taken away; `None` if it is no header.
pub(crate) fn reshaped(
    header: &[u8],
    data: &[u8],
    random: &mut ChaCha8Rng,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let Value::Object(mut entries) = serde_json::from_slice(header).ok()? else { return None };
    let names: Vec<String> =
        entries.keys().filter(|name| *name != "__metadata__").cloned().collect();
    let name = names.choose(random)?;
    match random.random_range(0..6) {
        0 => {
            entries.remove(name);
        }
        1 => {
            let copy = entries.get(name)?.clone();
            entries.insert(format!("{name}{}", random.random_range(0..3)), copy);
        }
        2 => {
            let dtype = DTYPES.choose(random)?.to_string();
            tensor(&mut entries, name)?.insert("dtype".into(), dtype.into());
        }
        _ => {
            let sizes = [0, 1, 1, 2, 3, 5, 8, 16, 33, 1000];
            let rank = random.random_range(0..4);
            let shape: Vec<u64> = (0..rank).filter_map(|_| sizes.choose(random).copied()).collect();
            tensor(&mut entries, name)?.insert("shape".into(), shape.into());
        }
    }

    let mut end = 0;
    for (_, entry) in entries.iter_mut().filter(|(name, _)| *name != "__metadata__") {
        let entry = entry.as_object_mut()?;
        let dtype = entry.get("dtype")?.as_str()?;
        let n_bits = DTYPES.iter().find(|known| known.to_string() == dtype)?.bitsize() as u64;
        let sizes = entry.get("shape")?.as_array()?.iter().map(Value::as_u64);
        let n_elements =
            sizes.collect::<Option<Vec<_>>>()?.iter().try_fold(1, |n: u64, &s| n.checked_mul(s))?;
        if n_elements > MOST_ELEMENTS {
            return None;
        }
        let start = end;
        end += n_elements * n_bits / 8;
        entry.insert("data_offsets".into(), vec![start, end].into());
    }
    let n_data = usize::try_from(end).ok()?;
    // What there is goes on from its beginning; zeros if there is nothing.
    let data = data.iter().copied().chain([0]).cycle().take(n_data).collect();
    Some((Value::Object(entries).to_string().into_bytes(), data))
}

fn tensor<'a>(
    entries: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    entries.get_mut(name)?.as_object_mut()
}
