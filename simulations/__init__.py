"""The whole consortium on one machine: cohorts, the in-process runtime, scenarios, attacks, benchmarks."""
