//! What comes into a step, and what goes out: channels and rate.

/// The channels between two steps, and how often a row comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// A name for each channel.
    pub names: Vec<String>,
    /// Rows per second, where that is known.
    pub rate_hz: Option<f64>,
}

impl Stage {
    /// Channels called `dim_0`, `dim_1`, … without a known rate.
    pub fn unnamed(channels: usize) -> Self {
        Self {
            names: (0..channels).map(|channel| format!("dim_{channel}")).collect(),
            rate_hz: None,
        }
    }

    /// The same with a rate.
    #[must_use]
    pub fn at(mut self, rate_hz: f64) -> Self {
        self.rate_hz = Some(rate_hz);
        self
    }

    /// Values in a row.
    pub fn channels(&self) -> usize {
        self.names.len()
    }
}
