"""Lets the hosts of a run do the same at the same step: stop, and save.

A signal reaches one host, and the clocks of two are never the same. A host that stopped alone would
leave the others waiting for it in the middle of a step. So each tells with its gradients what it
wishes, and all do what one of them wished, as soon as that step's outcome is known to all.
"""

from __future__ import annotations

import tensorflow as tf

from training.hosts.cooperation import cluster_of, wait_for_all


class Agreement:
    """What the hosts have agreed on; a single host agrees with itself at once.

    Args:
      strategy: of the run; None is a single host.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        self._strategy = strategy if strategy and cluster_of(strategy) else None
        self._stop = self._save = False
        self._saved_at = 0

    @property
    def is_needed(self) -> bool:
        """Whether there are other hosts."""
        return self._strategy is not None

    def wishes(self, stop: bool, save: bool) -> tf.Tensor | None:
        """What a step is to tell the other hosts, float32 [2]; None where there are none."""
        return tf.constant([stop, save], tf.float32) if self._strategy else None

    def learn(self, step: int, outcome: dict[str, tf.Tensor]) -> None:
        """Takes note of what the hosts wished at a step, from its outcome."""
        if self._strategy:
            stop, save = (outcome["wishes"].numpy() > 0).tolist()
            self._stop |= stop
            self._save |= save and step > self._saved_at

    def on(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Whether to stop and whether to save now, given what this host wishes."""
        return (self._stop, self._save) if self._strategy else (stop, save)

    def saved(self, step: int) -> None:
        """Takes note that the run was saved, so that older wishes for that are fulfilled."""
        self._save, self._saved_at = False, step

    def wait(self) -> None:
        """Waits until all hosts are here, so that the one that writes has written."""
        if self._strategy:
            wait_for_all(self._strategy)
