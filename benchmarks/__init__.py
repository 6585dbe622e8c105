"""envctl measured beside its peers, whole processes only. `docs/benchmarks.md` says how and why."""
