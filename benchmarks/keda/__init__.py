"""The operator beside a real KEDA: same cluster, table, image and jobs; see docs/benchmarks.md."""
