"""The trials of a search: heads on the cached features of the best backbones, as far as time and trials allow."""

from __future__ import annotations

import dataclasses
import logging
import time

import numpy as np

from transferkit.autofitting.budget import Budget
from transferkit.autofitting.development import Development, Sample
from transferkit.autofitting.halving import select_finalists
from transferkit.autofitting.heads import HeadChoice, kinds_for, left_out_logits
from transferkit.autofitting.sources import Source
from transferkit.autofitting.trial_store import Trial, TrialStore
from transferkit.calibration.temperature import shrunk_temperature
from transferkit.errors import TrainingError

_LOG = logging.getLogger("transferkit")
# Kept for the final training and for the report: seconds, a fraction of the limit, and of the time of the features.
_FINAL_SECONDS, _FINAL_FRACTION = 4.0, 0.08
# Images per class for two in each of five folds.
_FEWEST_PER_CLASS = 10
# Fraction of the time for the features of the first backbone: heads need the rest.
_FEATURES_FRACTION = 0.7


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The trials of a search.

    Attributes:
        sample: the images on which they are compared.
        sources: all backbones, also those that failed.
        trials: in the order in which they were run.
    """

    sample: Sample
    sources: list[Source]
    trials: list[Trial]


class Search:
    """Runs the trials.

    Args:
        development: the images.
        sources: the backbones.
        budget: time and number of trials.
        metric: by which backbones are compared.
        seed: of heads that are trained by steps.

    Attributes:
        budget: the argument.
    """

    def __init__(self, development: Development, sources: list[Source], budget: Budget, metric: str, seed: int) -> None:
        self._development, self._sources, self.budget = development, sources, budget
        self._metric, self._seed = metric, seed
        self._features: dict[int, np.ndarray] = {}
        self._seconds: dict[str, float] = {}

    def run(self) -> SearchResult:
        """Run the trials.

        Raises:
            TrainingError: when no backbone can be used.
        """
        finalists = select_finalists(
            self._sources, self._development, self.budget, self._metric, self.reserve(self._sources[:1])
        )
        if not finalists:
            errors = "; ".join(f"{source.name}: {source.error}" for source in self._sources)
            raise TrainingError(f"At least one of `backbones` must be usable. Received: {errors}. Choose others.")
        sample = self._load_features(finalists)
        trials: list[Trial] = []
        self._run_trials(finalists, sample, trials)
        if not trials:
            # One head is trained in any case.
            limits = TrialStore(self._development, sample), -float("inf")
            forced = self._trial("linear", self._sources.index(finalists[0]), sample, limits)
            trials += [] if forced is None else [forced]
        return SearchResult(sample, self._sources, trials)

    def reserve(self, sources: list[Source]) -> float:
        """Return the seconds that the final training and the report on the test images take with some backbones."""
        if self.budget.seconds == float("inf"):
            return 0.0
        test = len(self._development.test) * sum(source.per_image for source in sources)
        # An ensemble may have one head of each kind; training on all images takes less than a third of a trial.
        heads = sum(self._seconds.values()) / 3
        return test + heads + max(_FINAL_SECONDS, _FINAL_FRACTION * self.budget.seconds)

    def _load_features(self, finalists: list[Source]) -> Sample:
        """Return the largest sample for which there is time, and load its features."""
        first, budget = finalists[0], self.budget
        count, reserve = len(self._development), self.reserve(finalists[:1])
        if first.per_image <= 0:
            # The first images have the creation of the engine, and the next ones have the speed of the rest.
            for part in ((0, 64), (64, 256)):
                first.measure(self._development.part(*part))
        time_left = _FEATURES_FRACTION * max(0.0, budget.remaining - reserve)
        if first.per_image * count > time_left:
            fewest = _FEWEST_PER_CLASS * self._development.data.num_classes
            count = max(fewest, int(time_left / first.per_image))
        sample = self._development.sample(count)
        for source in finalists:
            must = source is first
            features = source.features(sample.split, budget, -float("inf") if must else self.reserve(finalists))
            if features is None:
                source.error = "there was no time for its features"
            else:
                self._features[self._sources.index(source)] = features
        return sample

    def _run_trials(self, finalists: list[Source], sample: Sample, trials: list[Trial]) -> None:
        store = TrialStore(self._development, sample)
        for kind in kinds_for(self._development):
            for source in finalists:
                index = self._sources.index(source)
                if index not in self._features or not self.budget.allows_trial():
                    continue
                reserve = self.reserve([self._sources[one] for one in self._features])
                if trials and not self.budget.allows(self._seconds.get(kind, 0.0) + reserve):
                    continue
                trial = self._trial(kind, index, sample, (store, reserve))
                if trial is not None:
                    trials.append(trial)
                    self.budget.trials += 1

    def _trial(self, kind: str, index: int, sample: Sample, limits: tuple[TrialStore, float]) -> Trial | None:
        store, reserve = limits
        backbone, started = self._sources[index].backbone, time.perf_counter()
        found = store.load(backbone, kind)
        if found is None:

            def allows(seconds: float) -> bool:
                return self.budget.allows(seconds + reserve)

            context = backbone, self._development, self._seed
            found = left_out_logits(kind, self._features[index], sample, context, allows)
            if found is None:
                return None
            store.save(backbone, *found)
        seconds = time.perf_counter() - started
        self._seconds[kind] = max(seconds, self._seconds.get(kind, 0.0))
        head, logits = found
        _LOG.info("%s, %s: %.1f s", self._sources[index].name, head, seconds)
        temperature = shrunk_temperature(logits, sample.split.labels)
        return Trial(index, head, logits / temperature, temperature, seconds)


def head_parameters(head: HeadChoice, width: int, num_classes: int, num_images: int) -> int:
    """Return the number of weights of a head on features of a width."""
    units = 1 if num_classes == 2 else num_classes
    if head.kind == "knn":
        return num_images * (width + 1 + num_classes)
    return (width + 1) * 128 + 129 * units if head.kind == "mlp" else (width + 1) * units
