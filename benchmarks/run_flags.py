"""How often and how long each contender runs: flags of the benchmarks that measure."""

from __future__ import annotations

from absl import flags

RUNS = flags.DEFINE_integer(
    "runs", 5, "Timed runs of each contender, of which the median counts.", lower_bound=1
)
SECONDS = flags.DEFINE_float(
    "seconds", 0.5, "What a run lasts at least; it always holds a whole step.", lower_bound=0
)
