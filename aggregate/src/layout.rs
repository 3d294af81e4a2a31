//! What two files must have alike to be merged, and what the result has: names, dtypes and shapes.

use std::sync::Arc;

use crate::dtype::{Kind, kind};
use crate::reject::Reason;
use crate::{Dtype, FloatDtype, TensorInfo};

/// A file's tensors as they are compared: floats that may be of any dtype have that of the result.
///
/// Names and their order are those of the file.
pub(crate) fn compared(
    tensors: &Arc<[TensorInfo]>,
    dtype: Option<FloatDtype>,
) -> Arc<[TensorInfo]> {
    let Some(dtype) = dtype.map(Dtype::from) else { return Arc::clone(tensors) };
    if tensors.iter().all(|t| kind(t.dtype) != Kind::Float || t.dtype == dtype) {
        return Arc::clone(tensors);
    }
    in_dtype(tensors, dtype).into()
}

/// The tensors, floats in another dtype.
fn in_dtype(tensors: &[TensorInfo], dtype: Dtype) -> Vec<TensorInfo> {
    let convert = |t: &TensorInfo| {
        let dtype = if kind(t.dtype) == Kind::Float { dtype } else { t.dtype };
        TensorInfo { dtype, ..t.clone() }
    };
    tensors.iter().map(convert).collect()
}

/// A reason with advice where one helps: to write one dtype, if files differ in no more than that of
/// their floats.
pub(crate) fn advised(
    reason: Reason,
    expected: &[TensorInfo],
    found: &[TensorInfo],
    mismatch: fn(&[TensorInfo], &[TensorInfo]) -> Option<Reason>,
) -> Reason {
    match reason {
        Reason::Dtype { tensor, expected: e, found: f, .. } => {
            let alike = || [expected, found].map(|tensors| in_dtype(tensors, Dtype::F32));
            let is_float = [e, f].into_iter().all(|dtype| kind(dtype) == Kind::Float);
            let convertible = is_float && {
                let [expected, found] = alike();
                mismatch(&expected, &found).is_none()
            };
            Reason::Dtype { tensor, expected: e, found: f, convertible }
        }
        other => other,
    }
}
