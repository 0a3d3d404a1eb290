"""Flags that several scripts share; and how a script starts, and ends on bad input."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Collection
from typing import NoReturn

from utils import console, distributed
from utils.console import printable
from utils.errors import UserError, limit
from utils.flag_types import path_name
from utils.provenance import VERSION


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's line breaks, and shows defaults."""

    def _get_help_string(self, action: argparse.Action) -> str:
        if action.default in (None, False, []):
            return action.help or ""
        return super()._get_help_string(action) or ""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that a script's flags are added to, group by group."""
    parser = _Parser(description=description, formatter_class=_Formatter)
    parser.add_argument("--version", action="version", version=f"ELMRec {VERSION}")
    return parser


def take_any_value(parser: argparse.ArgumentParser, flags: Collection[str]) -> list[str]:
    """The command line, for ``parse_args``, so that flags take values that begin with a dash.

    argparse takes each word that begins with a dash for a flag, and ``--user -0Ji0nOyFe`` for two.
    The word after one of these flags is joined to it, if it is none of the parser's own flags.
    """
    own, words, joined = parser._option_string_actions, iter(sys.argv[1:]), []
    for word in words:
        if word == "--":
            return [*joined, word, *words]
        if word in {f"{flag}=--" for flag in flags}:  # argparse would make a list of it
            parser.error(f"argument {word.removesuffix('=--')}: expected one argument")
        value = next(words, None) if word in flags else None
        if value is None:
            joined.append(word)
        elif value in own or value == "--":
            joined += [word, value]
        else:
            joined.append(f"{word}={value}")
    return joined


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """The data folder, positional or by flag."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "data",
        nargs="?",
        type=path_name,
        metavar="DATA_DIR",
        help="data folder (see data/README.md)",
    )
    group.add_argument("--data_dir", type=path_name, help="the same, as a flag")


def add_machine_flags(group: argparse._ArgumentGroup) -> None:
    """Device, precision and the run's folder."""
    group.add_argument("--cuda", action="store_true", help="run on the CUDA device")
    group.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits each time on one machine, at some cost in speed on a GPU",
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        help="bf16: autocast of float32 weights; default: bf16 where the processor has it",
    )
    group.add_argument(
        "--checkpoint",
        type=path_name,
        default="./checkpoint/elmrec/",
        help="the run's folder: model, logs, results",
    )


def data_folder(positional: str | None, flag: str | None) -> str:
    """The data folder of the command line; UserError where two are named, or none."""
    if positional and flag and positional != flag:
        raise UserError(f"two data folders: {positional!r} and --data_dir {flag!r}. Name one.")
    if not (positional or flag):
        raise UserError("no data folder: name one, as in `pretrain.py ./data/beauty/`.")
    return positional or flag


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``; what the user got wrong is one message and exit code 2."""
    console.open_streams()
    try:
        distributed.Launch.from_environment()
        main()
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if distributed.lost_another(error):
            _fail(f"another process has ended, and this one with it ({limit(str(error), 120)})", 1)
        from utils.runtime import is_out_of_memory  # torch: not before a flag is refused

        if not is_out_of_memory(error):
            raise
        _fail(
            f"out of memory ({limit(str(error), 120)}). A smaller file needs less, or a smaller "
            "--batch_size, --num_beams or --backbone, where the script has them."
        )
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is not flushed
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno is None:  # a library's own
            raise
        _fail(
            f"{error.filename or 'standard output'}: {error.strerror}. Check the name, its "
            "permissions and the disk."
        )
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        distributed.stop()


def _fail(message: str, code: int = 2) -> NoReturn:
    who = f" (process {distributed.rank()})" if distributed.world_size() > 1 else ""
    print(f"error{who}: {printable(message)}", file=sys.stderr)
    sys.exit(code)
