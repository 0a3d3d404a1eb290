"""Figures that others published, for tables; none was measured by this code.

All are from the published data, whose numbering, and for ELMRec edges, show what is held out (see
docs/protocols.md): do not compare them with figures of the clean protocol.
"""

from typing import NamedTuple


class PublishedFigures(NamedTuple):
    """One method's figures for one task on one data set."""

    method: str
    dataset: str
    task: str
    metrics: dict[str, float]
    source: str


def _of_pod(dataset: str, task: str, columns: str, *values: float) -> PublishedFigures:
    metrics = dict(zip(columns.split(), values, strict=True))
    return PublishedFigures("POD", dataset, task, metrics, "log of POD's authors (T5-small)")


def _of_elmrec(dataset: str, task: str, metric: str, value: float) -> PublishedFigures:
    return PublishedFigures("ELMRec", dataset, task, {metric: value}, "paper, by wizwand.com")


_RANKING = "HR@1 HR@5 HR@10 NDCG@5 NDCG@10"
_TEXT = "BLEU-1 BLEU-4 ROUGE-1-F ROUGE-2-F ROUGE-L-F"
PUBLISHED = (
    _of_pod("beauty", "sequential", _RANKING, 0.0235, 0.0537, 0.0688, 0.0395, 0.0443),
    _of_pod("beauty", "direct", _RANKING, 0.0829, 0.1926, 0.2670, 0.1391, 0.1629),
    _of_pod("beauty", "explanation", _TEXT, 14.78, 1.06, 15.25, 1.57, 11.33),
    _of_pod("sports", "sequential", _RANKING, 0.0296, 0.0496, 0.0576, 0.0396, 0.0419),
    _of_pod("sports", "direct", _RANKING, 0.0895, 0.2086, 0.2873, 0.1506, 0.1756),
    _of_elmrec("beauty", "sequential", "HR@10", 0.0750),
    _of_elmrec("sports", "sequential", "HR@5", 0.0538),
    _of_elmrec("toys", "sequential", "HR@5", 0.0713),
    _of_elmrec("toys", "direct", "HR@5", 0.5178),
)


def published(dataset: str, task: str) -> list[PublishedFigures]:
    """The figures of a data set and task; none for a data set that nobody published on."""
    return [row for row in PUBLISHED if (row.dataset, row.task) == (dataset.lower(), task)]
