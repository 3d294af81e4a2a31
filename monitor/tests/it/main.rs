//! The integration tests, as one binary.

// Streams that Python makes with the same bits, and what is read of golden files.
mod support;
// Alarms where river gives them, on 20 streams.
mod golden_detectors;
// Distances, probabilities, temperatures and sets as scipy, scikit-learn, PyTorch and MAPIE have them.
mod golden_statistics;
// Laws: what is refused changes nothing, distances by hand, coverage, samples.
mod laws;
// How often detectors give an alarm though nothing changes, before and after they are calibrated.
mod false_alarms;
// No update allocates.
mod allocations;
// States come back from JSON and go on, and what nothing here has written is refused.
#[cfg(feature = "serde")]
mod saved;
