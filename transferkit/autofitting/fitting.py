"""`autofit`: the best classifier for a data set within a time limit."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np

from transferkit._utils.arguments import suggests_arguments
from transferkit._utils.checks import check_choice, check_int
from transferkit.autofitting.budget import Budget, parse_time_limit
from transferkit.autofitting.candidates import (
    GOALS,
    Candidate,
    Criterion,
    fine_tuned_candidate,
    make_candidates,
    make_leaderboard,
)
from transferkit.autofitting.development import Development, make_development
from transferkit.autofitting.final import FinalClassifier
from transferkit.autofitting.fine_tuning import (
    FineTuned,
    StopAtDeadline,
    has_enough_mistakes,
    improves,
    possible_epochs,
    train_fine_tuned,
)
from transferkit.autofitting.heads import to_logits
from transferkit.autofitting.result import AutoFit
from transferkit.autofitting.scoring import METRICS, calibrated, interval, score
from transferkit.autofitting.search import Search, SearchResult
from transferkit.autofitting.sources import make_sources
from transferkit.backbones import Backbone
from transferkit.calibration.temperature import shrunk_temperature
from transferkit.data.dataset import Data

_LOG = logging.getLogger("transferkit")
# Seconds in which an engine is compiled and measured.
_MEASURING_SECONDS = 10.0


@suggests_arguments
def autofit(
    data: Data,
    *,
    time_limit: float | str | None = "10m",
    backbones: str | Backbone | Sequence[str | Backbone] | None = None,
    metric: str = "accuracy",
    goal: str = "accuracy",
    max_trials: int | None = None,
    seed: int = 0,
) -> AutoFit:
    """Find the best classifier for a data set within a time limit.

    Backbones are compared on cached features, the better half of them on twice as many images; then heads and their
    regularization on the best three, an ensemble of them, and fine-tuning of the best where its head makes mistakes and
    time is left. All choices are based on predictions of images that were left out of training in turn. The report is
    on test images that no choice used: those of the data, or its validation images where there are none, or a fifth of
    the training images. The features, heads and their predictions are cached: the same call after an interruption
    continues.

    Args:
        data: `Data` of files or arrays.
        time_limit: float > 0, in seconds, or a text such as "90s", "10m" or "1h30m"; None for no limit. One head is
            trained in any case. Defaults to "10m".
        backbones: names of the catalogue or registered names, created with ImageNet weights; or `Backbone` objects.
            Defaults to None: those whose weights are installed (extra `offline`) or were downloaded before.
        metric: "accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "micro_f1", "macro_precision",
            "macro_recall", "roc_auc", "average_precision" or "top_5_accuracy". Defaults to "accuracy".
        goal: "accuracy" for the best candidate; "latency" or "size" for the fastest or the smallest one that is less
            than a standard error below it. Defaults to "accuracy".
        max_trials: int >= 1. Number of heads on backbones that are tried, without fine-tuning. The result is then
            the same on each run, unless the time limit ends it. Defaults to None, as many as there is time for.
        seed: int >= 0. Seed of samples, folds and heads. Defaults to 0.

    Returns:
        An `AutoFit`: `.best`, `.leaderboard`, `.report`, `.pareto()`, `.save(folder)`.

    Raises:
        DataError: for a tf.data.Dataset, sample weights, or a class with one training image.
        TrainingError: when no backbone can be used.
        TypeError: when `data` is not a `Data`.
        ValueError: when an argument is out of its range.
        WeightsError: when `backbones` is None and no weights are on this machine.

    Example:

    >>> data = tk.DatasetBuilder("photos/", test=0.2).build()  # doctest: +SKIP
    >>> result = tk.autofit(data, time_limit="5m")  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    >>> result.save("classifier")  # doctest: +SKIP
    """
    budget = Budget(parse_time_limit(time_limit), max_trials)
    check_choice("metric", metric, METRICS)
    check_choice("goal", goal, GOALS)
    development = make_development(data, check_int("seed", seed, minimum=0))
    criterion = Criterion(metric, goal, tuple(data.class_names), seed)
    sources = make_sources(backbones, data.image_size)
    search = Search(development, sources, budget, metric, seed)
    found = search.run()
    candidates = make_candidates(found, criterion, _milliseconds(found, search, budget))
    chosen = criterion.choose(candidates)
    if max_trials is None:
        candidates, chosen = _with_fine_tuning((candidates, chosen), found, development, search, criterion)
    final = FinalClassifier(chosen, found, development)
    report = final.report()
    return AutoFit(
        final.predictor(),
        make_leaderboard(candidates, chosen, sources),
        report,
        score(report, metric),
        interval(report, metric, seed),
        metric,
        development.test_name,
        budget.elapsed,
        final.description(report),
    )


def _milliseconds(found: SearchResult, search: Search, budget: Budget) -> dict[int, float]:
    """Return the milliseconds per image of each backbone in a trial, by measurement where there is time for it."""
    used = sorted({trial.backbone for trial in found.trials})
    milliseconds = {}
    for index in used:
        source = found.sources[index]
        reserve = search.reserve([found.sources[one] for one in used])
        is_affordable = budget.allows(_MEASURING_SECONDS + reserve)
        milliseconds[index] = source.ms_per_image() if is_affordable else 1000 * source.per_image
    return milliseconds


def _logits(candidate: Candidate, found: SearchResult) -> np.ndarray:
    """Return the calibrated logits of a candidate of trials."""
    trials = [(found.trials[index], factor) for index, factor in candidate.members.items()]
    if len(trials) == 1:
        return trials[0][0].logits
    mean = np.sum([factor * trial.temperature * trial.logits for trial, factor in trials], axis=0)
    return calibrated(mean, found.sample.split.labels)


def _with_fine_tuning(
    state: tuple[list[Candidate], Candidate],
    found: SearchResult,
    development: Development,
    search: Search,
    criterion: Criterion,
) -> tuple[list[Candidate], Candidate]:
    """Return the candidates and the chosen one after fine-tuning, where there is reason and time for it."""
    candidates, chosen = state
    linear = [one for one in candidates if [found.trials[index].head.kind for index in one.members] == ["linear"]]
    if criterion.goal != "accuracy":
        # Another backbone could be slower or larger than the chosen one.
        linear = [one for one in linear if one is chosen]
    images, labels = found.sample.folds[0], found.sample.split.labels
    if not linear or not has_enough_mistakes(_logits(chosen, found), labels, images):
        return state
    base = max(linear, key=lambda one: (one.row.value, -one.loss))
    (index,) = base.members
    source, budget = found.sources[found.trials[index].backbone], search.budget
    reserve = search.reserve([source])
    rows = len(found.sample) - len(images)
    batch_size = development.data.batch_size
    epochs = possible_epochs(source.backbone, rows, batch_size, budget, reserve)
    if not epochs:
        return state
    started = time.perf_counter()
    stop = StopAtDeadline(budget, reserve, batch_size, len(images))
    trainer = train_fine_tuned(found.trials[index].head, source.backbone, development, found.sample, epochs, stop)
    data = development.data_of(found.sample.split, found.sample.split.take(images))
    logits = to_logits(trainer.evaluate(data).probabilities, data.multi_label)
    temperature = shrunk_temperature(logits, labels[images])
    tuned = FineTuned(trainer, images, logits / temperature, temperature, time.perf_counter() - started)
    candidate = fine_tuned_candidate(tuned, base, found, criterion)
    is_better = improves(_logits(chosen, found)[images], tuned.logits, labels[images])
    _LOG.info("%s: %.1f s, %s", candidate.row.name, tuned.seconds, "chosen" if is_better else "not better")
    return [*candidates, candidate], candidate if is_better else chosen
