"""Held-out items that their users had before, as people listen and buy again.

A list without what its user had can never hold such an item. How many there are is counted and
said, whatever is done about them: a miss by construction is not one of the model's.
"""

from typing import NamedTuple

import numpy as np

from modules.data.dataset import HeldOut, RecDataset
from utils.console import say
from utils.errors import UserError

DROP = "drop"  # lists hold nothing that their user had: the paper's reranking
KEEP = "keep"  # --keep_seen: they may
LEAVE_OUT = "leave_out"  # --leave_out_seen: as DROP, and these users are not tested


class Tested(NamedTuple):
    """Who is tested."""

    users: np.ndarray  # (n,)
    target_seen: int  # of those who were asked for: users whose test item they had before


def users_to_test(dataset: RecDataset, users: np.ndarray, seen: str) -> Tested:
    """The users whose test item is asked for; says of how many it was had before.

    Args:
        users: (n,) those asked for.
        seen: ``DROP``, ``KEEP`` or ``LEAVE_OUT``.

    Raises:
        UserError: where ``LEAVE_OUT`` leaves nobody.
    """
    had = dataset.target_had(users, HeldOut.TEST)
    count = int(had.sum())
    if not count:
        return Tested(users, 0)
    fact = f"for {count:,} of {len(users):,} users the test item is one that they had before"
    if seen == KEEP:
        say(f"{fact}; what a user had stays in the lists (--keep_seen)")
        return Tested(users, count)
    if seen == DROP:
        say(
            f"warning: {fact}. Lists of the whole catalogue leave out what a user had, so there "
            "each of these users is a miss; among sampled candidates the others are items that the "
            "user never had. --keep_seen keeps what a user had in the lists, --leave_out_seen "
            "tests the other users alone."
        )
        return Tested(users, count)
    if had.all():
        raise UserError(
            f"--leave_out_seen: {fact}, so nobody is left to test. Give --keep_seen in its place."
        )
    say(f"{fact}: left out (--leave_out_seen), {len(users) - count:,} are tested")
    return Tested(users[~had], count)


def validated_users(dataset: RecDataset, users: np.ndarray, seen: str) -> tuple[np.ndarray, str]:
    """Whose validation item is ranked, and by ``KEEP`` or ``DROP``, so that the ranks can tell a
    better model from a worse one.

    With ``DROP`` those whose item was had before are left out, and this is said; where that is
    everybody, what a user had stays in the lists.
    """
    had = dataset.target_had(users, HeldOut.VALIDATION)
    if seen == KEEP or not had.any():
        return users, seen
    fact = f"for {had.sum():,} of {len(users):,} users the validation item is one they had before"
    if had.all():
        say(f"warning: {fact}: in validation, what a user had stays in the lists")
        return users, KEEP
    say(f"warning: {fact}: they are left out of the ranking of validation items")
    return users[~had], seen


def dropped_items(
    dataset: RecDataset, users: np.ndarray, held_out: HeldOut, seen: str
) -> list[np.ndarray]:
    """What is left out of each of n users' lists."""
    if seen == KEEP:
        return [dataset.items[:0]] * len(users)
    return dataset.had(users, held_out)


def most_dropped(dropped: list[np.ndarray]) -> int:
    """So many items beyond those that are wanted fill every list, whatever is left out of it."""
    return max(len(np.unique(own)) for own in dropped)
