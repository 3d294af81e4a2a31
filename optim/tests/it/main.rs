//! The integration tests, as one binary. `OptimizerConfig::NAMES` drives them: an optimizer without
//! a golden case, drawn options or a published learning rate fails here.

// Optimizers and schedules with drawn options.
mod drawn;
// Ten consecutive steps of every optimizer, and every schedule, against PyTorch's numbers.
mod golden;
// Laws: resuming changes no bit, groups, clipping, factors stay in range.
mod laws;
// Every optimizer reaches the minima of three problems at its published defaults.
mod converge;
// A rule from outside keeps the promises that are made for it.
mod own_rule;
// Patterns for names of parameters.
#[cfg(feature = "glob")]
mod patterns;
// Options and states come back from JSON as they were.
#[cfg(feature = "serde")]
mod saved;
// The number of threads does not show in any bit.
#[cfg(feature = "rayon")]
mod threads;
