//! Values of a block in memory: f32, or f64 where the file has that.

use bytemuck::Pod;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use crate::dtype::element_width;
use crate::{Dtype, Error, TensorInfo, WeightFile};

/// A float as it is held in memory while it is merged.
pub(crate) trait Element: Copy + Default + Send + Sync + Pod + Into<f64> + 'static {
    /// The integer whose order is that of the floats, −0 before 0.
    type Key: Copy + Ord + Default + Send + 'static;

    /// Whether a difference of two may overflow f64, and a sum lose digits of one.
    const WIDE: bool;

    fn is_finite(self) -> bool;
    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;

    /// Fills `row` with the elements of a tensor from `start` on, exactly.
    fn read(
        file: &WeightFile,
        tensor: &TensorInfo,
        start: usize,
        bytes: &mut Vec<u8>,
        row: &mut [Self],
    ) -> Result<(), Error>;
}

impl Element for f32 {
    type Key = i32;

    const WIDE: bool = false;

    #[inline]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline]
    fn key(self) -> i32 {
        let bits = self.to_bits().cast_signed();
        bits ^ ((bits >> 31) & i32::MAX)
    }

    #[inline]
    fn of_key(key: i32) -> Self {
        Self::from_bits((key ^ ((key >> 31) & i32::MAX)).cast_unsigned())
    }

    fn read(
        file: &WeightFile,
        tensor: &TensorInfo,
        start: usize,
        bytes: &mut Vec<u8>,
        row: &mut [f32],
    ) -> Result<(), Error> {
        match tensor.dtype {
            Dtype::F32 => {
                let raw: &mut [u8] = bytemuck::cast_slice_mut(row);
                file.read_at(tensor, start, raw)?;
                if cfg!(target_endian = "big") {
                    raw.as_chunks_mut::<4>().0.iter_mut().for_each(|b| b.reverse());
                }
                Ok(())
            }
            Dtype::F16 | Dtype::BF16 => {
                let halves = halves(file, tensor, start, bytes, row.len())?;
                if tensor.dtype == Dtype::F16 {
                    halves.reinterpret_cast::<f16>().convert_to_f32_slice(row);
                } else {
                    halves.reinterpret_cast::<bf16>().convert_to_f32_slice(row);
                }
                Ok(())
            }
            other => panic!("{other} is not read as f32"),
        }
    }
}

/// Sixteen bits each, in `bytes`, at a place where they can be read as such.
fn halves<'b>(
    file: &WeightFile,
    tensor: &TensorInfo,
    start: usize,
    bytes: &'b mut Vec<u8>,
    n: usize,
) -> Result<&'b [u16], Error> {
    let n_bytes = n * element_width(tensor.dtype);
    bytes.resize(n_bytes + 1, 0);
    let at = bytes.as_ptr().align_offset(align_of::<u16>());
    let raw = &mut bytes[at..at + n_bytes];
    file.read_at(tensor, start, raw)?;
    if cfg!(target_endian = "big") {
        raw.as_chunks_mut::<2>().0.iter_mut().for_each(|b| b.reverse());
    }
    Ok(bytemuck::cast_slice(raw))
}

impl Element for f64 {
    type Key = i64;

    const WIDE: bool = true;

    #[inline]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline]
    fn key(self) -> i64 {
        let bits = self.to_bits().cast_signed();
        bits ^ ((bits >> 63) & i64::MAX)
    }

    #[inline]
    fn of_key(key: i64) -> Self {
        Self::from_bits((key ^ ((key >> 63) & i64::MAX)).cast_unsigned())
    }

    fn read(
        file: &WeightFile,
        tensor: &TensorInfo,
        start: usize,
        bytes: &mut Vec<u8>,
        row: &mut [f64],
    ) -> Result<(), Error> {
        if tensor.dtype == Dtype::F64 {
            let raw: &mut [u8] = bytemuck::cast_slice_mut(row);
            file.read_at(tensor, start, raw)?;
            if cfg!(target_endian = "big") {
                raw.as_chunks_mut::<8>().0.iter_mut().for_each(|b| b.reverse());
            }
            return Ok(());
        }
        let mut narrow = vec![0f32; row.len()];
        f32::read(file, tensor, start, bytes, &mut narrow)?;
        for (wide, narrow) in row.iter_mut().zip(narrow) {
            *wide = narrow.into();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_floats_do() {
        let values = [f32::MIN, -1.5, -f32::MIN_POSITIVE, -0.0, 0.0, 1e-45, 1.0, f32::MAX];
        for pair in values.windows(2) {
            assert!(pair[0].key() < pair[1].key(), "{pair:?}");
            assert!(f64::from(pair[0]).key() < f64::from(pair[1]).key(), "{pair:?}");
        }
        for value in values {
            assert_eq!(f32::of_key(value.key()).to_bits(), value.to_bits());
            let wide = f64::from(value);
            assert_eq!(f64::of_key(wide.key()).to_bits(), wide.to_bits());
        }
    }
}
