"""The candidates of a search: single heads, an ensemble of them, and a fine-tuned backbone; and the choice of one."""

from __future__ import annotations

import dataclasses

import numpy as np

from transferkit.autofitting.ensembles import select_members
from transferkit.autofitting.fine_tuning import FineTuned
from transferkit.autofitting.leaderboard import Leaderboard, LeaderboardRow
from transferkit.autofitting.scoring import calibrated, interval, loss_of, report_of, score
from transferkit.autofitting.search import SearchResult, head_parameters
from transferkit.autofitting.sources import Source
from transferkit.autofitting.trial_store import Trial

GOALS = ("accuracy", "latency", "size")
# Half the width of a 95 % interval in standard errors.
_Z = 1.959964


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What the search can choose.

    Attributes:
        row: of the leaderboard.
        loss: mean cross-entropy, which decides between equal values of single heads.
        members: index of a trial to the factor of its logits; of one trial, the factor is 1.
        fine_tuned: the fine-tuned classifier, or None.
    """

    row: LeaderboardRow
    loss: float
    members: dict[int, float]
    fine_tuned: FineTuned | None = None


@dataclasses.dataclass(frozen=True)
class Criterion:
    """By what candidates are chosen.

    Attributes:
        metric: name of the metric.
        goal: "accuracy", "latency" or "size".
        class_names: in the order of the labels.
        seed: of intervals.
    """

    metric: str
    goal: str
    class_names: tuple[str, ...]
    seed: int

    def quality(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Return the metric and the negative loss of calibrated logits; larger is better."""
        scaled = calibrated(logits, labels)
        return score(report_of(scaled, labels, self.class_names), self.metric), -loss_of(scaled, labels)

    def choose(self, candidates: list[Candidate]) -> Candidate:
        """Return the candidate for the goal.

        For speed and size, it is the fastest or the smallest of those that are less than a standard error below the
        best.
        """
        # Of equal values, a single head rather than an ensemble.
        best = max(candidates, key=lambda one: (one.row.value, -len(one.members), -one.loss))
        if self.goal == "accuracy":
            return best
        limit = best.row.value - (best.row.high - best.row.low) / (2 * _Z)
        close = [one for one in candidates if one.row.value >= limit]
        if self.goal == "latency":
            return min(close, key=lambda one: (one.row.ms_per_image, -one.row.value, one.loss))
        return min(close, key=lambda one: (one.row.size_mb, -one.row.value, one.loss))


def make_candidates(found: SearchResult, criterion: Criterion, measured: dict[int, float]) -> list[Candidate]:
    """Return the single heads and, where it is better than each, an ensemble.

    `measured` has the milliseconds per image of each backbone.
    """
    labels = found.sample.split.labels
    singles = [_single(found, index, criterion, measured) for index in range(len(found.trials))]
    logits = [trial.logits for trial in found.trials]
    weights = select_members(logits, lambda mean: criterion.quality(mean, labels))
    if len(weights) == 1:
        return singles
    mean = np.sum([weight * logits[index] for index, weight in weights.items()], axis=0)
    rows = [singles[index].row for index in weights]
    backbones = {found.trials[index].backbone for index in weights}
    parameters = sum(_head_parameters(found, found.trials[index]) for index in weights)
    sizes = sum(_backbone_parameters(found.sources[one]) for one in backbones)
    row = _row(mean, labels, criterion, " + ".join(row.name for row in rows))
    row = dataclasses.replace(
        row,
        ms_per_image=sum(measured[one] for one in backbones),
        size_mb=(parameters + sizes) * 4 / 1e6,
        seconds=sum(row.seconds for row in rows),
    )
    factors = {index: weight / found.trials[index].temperature for index, weight in weights.items()}
    return [*singles, Candidate(row, loss_of(calibrated(mean, labels), labels), factors)]


def fine_tuned_candidate(tuned: FineTuned, of: Candidate, found: SearchResult, criterion: Criterion) -> Candidate:
    """Return the candidate of a fine-tuned classifier, which is that of a single head otherwise."""
    labels = found.sample.split.labels[tuned.images]
    row = _row(tuned.logits, labels, criterion, f"{of.row.name}, fine-tuned")
    row = dataclasses.replace(row, ms_per_image=of.row.ms_per_image, size_mb=of.row.size_mb, seconds=tuned.seconds)
    return Candidate(row, loss_of(tuned.logits, labels), {}, tuned)


def make_leaderboard(candidates: list[Candidate], chosen: Candidate, sources: list[Source]) -> Leaderboard:
    """Return the rows of all candidates and of the backbones that failed."""
    rows = sorted(candidates, key=lambda one: (-one.row.value, one.loss))
    board = Leaderboard(dataclasses.replace(one.row, is_best=one is chosen) for one in rows)
    board += [LeaderboardRow(one.name, seconds=one.seconds, error=one.error) for one in sources if one.error]
    return board


def _single(found: SearchResult, index: int, criterion: Criterion, measured: dict[int, float]) -> Candidate:
    trial = found.trials[index]
    source, labels = found.sources[trial.backbone], found.sample.split.labels
    row = _row(trial.logits, labels, criterion, f"{source.name}, {trial.head}")
    parameters = _backbone_parameters(source) + _head_parameters(found, trial)
    is_first = all(other.backbone != trial.backbone for other in found.trials[:index])
    row = dataclasses.replace(
        row,
        ms_per_image=measured[trial.backbone],
        size_mb=parameters * 4 / 1e6,
        # The features count for the first head that uses them.
        seconds=trial.seconds + (source.seconds if is_first else 0.0),
    )
    return Candidate(row, loss_of(trial.logits, labels), {index: 1.0})


def _row(logits: np.ndarray, labels: np.ndarray, criterion: Criterion, name: str) -> LeaderboardRow:
    report = report_of(logits, labels, criterion.class_names)
    low, high = interval(report, criterion.metric, criterion.seed)
    return LeaderboardRow(name, score(report, criterion.metric), low, high, len(labels))


def _backbone_parameters(source: Source) -> int:
    return int(source.backbone.model.count_params())


def _head_parameters(found: SearchResult, trial: Trial) -> int:
    width = found.sources[trial.backbone].backbone.model.output_shape[-1]
    classes = len(found.sample.split.class_names) or trial.logits.shape[1]
    return head_parameters(trial.head, int(width), classes, len(found.sample))
