//! Sinusoidal positions.

/// `sin(pos / 10000^(2i/d))` at column 2i, `cos` of the same at 2i + 1.
pub(crate) fn sinusoid(position: usize, column: usize, d_model: usize) -> f32 {
    let exponent = (column - column % 2) as f64 / d_model as f64;
    let angle = position as f64 / 10_000_f64.powf(exponent);
    (if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
}
