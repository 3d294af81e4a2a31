//! The integration tests, as one binary.

// Ten consecutive steps of every optimizer, and every schedule, against PyTorch's numbers.
mod golden;
// Laws: resuming changes no bit, clipping, factors stay in range, configurations round-trip.
mod laws;
// Every optimizer reaches the minima of three problems at its published defaults.
mod converge;
