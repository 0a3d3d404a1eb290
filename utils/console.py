"""What a person at the terminal sees: lines with the time, and progress bars."""

import sys
import time

from tqdm import tqdm

from utils import distributed


def progress(total: int, title: str, unit: str, shown: bool = True) -> tqdm:
    """A progress bar: live at a terminal, a line every half minute in a log file."""
    interval = 0.1 if sys.stderr.isatty() else 30.0
    shown = shown and distributed.is_main()
    return tqdm(
        total=total, desc=title, unit=unit, disable=not shown, mininterval=interval, maxinterval=60
    )


def say(message: str) -> None:
    """One line for the person at the terminal, with the time; of several processes, one speaks."""
    if distributed.is_main():
        print(time.strftime("[%H:%M:%S] ") + message, flush=True)
