"""How items are ranked: which of the searches in modules/decoding, and its settings."""

from typing import NamedTuple

from modules.decoding.best_first import count_prefixes
from modules.loader.trie import ItemTrie
from utils.errors import UserError


class Decoding(NamedTuple):
    """How items are ranked: ``exact``, ``best_first``; ``beam`` or ``published`` with these
    settings."""

    method: str
    num_beams: int = 20
    length_penalty: float = 1.0


MAX_PREFIXES = 4096  # of a pass over the whole trie: it attends over (prefixes, prefixes)
FEW_PREFIXES = 1024  # up to here that pass is also the fastest way


def pick_method(decode: str, trie: ItemTrie, graph: bool = False) -> str:
    """How to rank the whole catalogue: ``exact`` and ``best_first`` give the same lists.

    ``auto`` takes the faster; ``exact`` is replaced where the trie is too large for one pass.

    graph: an item graph is part of the scores.

    Raises:
        UserError: where another search than ``exact`` is asked for, and there is an item graph.
    """
    if graph:
        if decode not in ("auto", "exact"):
            raise UserError(
                f"--decode {decode}: the model's item graph has a score for each item, which a "
                "search by tokens does not see. Give --decode exact, or leave it out."
            )
        return "exact"
    if decode not in ("auto", "exact"):
        return decode
    limit = FEW_PREFIXES if decode == "auto" else MAX_PREFIXES
    return "exact" if count_prefixes(trie) <= limit else "best_first"
