"""The operator at scale: real control plane, fake nodes and workers; see docs/benchmarks.md."""
