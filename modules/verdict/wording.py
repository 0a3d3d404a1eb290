"""A verdict in words: one sentence, and what to look at."""

from modules.runs.kinds import Verdict
from modules.runs.record import RunRecord
from modules.runs.results import interval, short_figure

ALIKE = 0.5  # share of lists that begin with one item, from which they are called alike
FEW_LISTS, FEW_ITEMS, MANY_ITEMS = 10, 30, 100  # so many items in all lists are few of so many
FEW_TEXTS = 0.5  # share of different texts below which they are said to repeat


def sentence(verdict: Verdict) -> str:
    """Is the model better than the best simple one?"""
    own, best = verdict.model, verdict.simple[0]
    figures = (
        f"NDCG@10 {short_figure(own.ndcg)} against {short_figure(best.ndcg)}, "
        f"{interval(verdict.ndcg)}"
    )
    if verdict.ndcg.low > 0:
        return f"this model ranks better than {best.title}, the best simple one: {figures}"
    if verdict.ndcg.high < 0:
        longer = "train longer (validation still got better at the end)"
        other = longer if verdict.improving else "train with other settings"
        return f"{best.title} ranks better here: {figures}; use it, or {other}"
    return f"no difference to {best.title}, the best simple one, can be seen: {figures}"


def warnings(verdict: Verdict, record: RunRecord, steps: int, n_items: int) -> list[str]:
    """What else is wrong with the model, as far as can be seen.

    Args:
        steps: of the training.
        n_items: of the catalogue.
    """
    found = []
    if record.held_out_edges_seen or record.held_out_records_seen:
        found.append("training saw held-out items (--protocol paper): its figures are too high")
    if verdict.users >= FEW_LISTS:
        if verdict.same_first >= ALIKE:
            found.append(f"{verdict.same_first:.0%} of the lists begin with the same item")
        if verdict.items <= FEW_ITEMS and n_items >= MANY_ITEMS:
            found.append(
                f"lists are much alike: {verdict.items} of {n_items:,} items fill all "
                f"{verdict.users:,} of them"
            )
    texts, different = verdict.texts, verdict.different_texts
    if texts > 1 and different < FEW_TEXTS * texts:
        found.append(f"texts repeat: of {texts} that were written, {different} differ")
    warmup = record.arguments.get("warmup") or 0
    if 2 * warmup > steps:
        found.append(
            f"the learning rate was still rising in {min(warmup, steps):,} of {steps:,} steps: "
            f"train longer, or with a --warmup below {warmup:,}"
        )
    if verdict.improving:
        found.append("validation still got better at the end of training: more epochs may help")
    return found
