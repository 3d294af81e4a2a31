"""The sections of BENCHMARKS.md: each module has `TITLE` and `run(suite)`, which gives its lines."""
