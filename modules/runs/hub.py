"""A run's folder on the Hugging Face hub: fetched by its name, and put there.

Only the files that a model is loaded from go either way. Rows of results, logs and reports name
people, and stay where they are.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download

from modules.model.config import CONFIG_FILE
from modules.model.weights import WEIGHTS_FILE
from modules.runs.folder import NUMBERS_FILE, READ_OF_TOKENIZERS, check_files, check_weights
from modules.runs.library import LIBRARY_FILE
from modules.runs.model_card import CARD, model_card
from modules.runs.record import RUN_FILE, read_record
from modules.runs.results import read_all_results
from utils.errors import UserError
from utils.json_files import to_json

_NEEDED = (RUN_FILE, CONFIG_FILE, WEIGHTS_FILE, NUMBERS_FILE, LIBRARY_FILE, *READ_OF_TOKENIZERS)
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def fetch(source: str | Path, revision: str | None = None) -> Path:
    """The folder that ``source`` names: one that is here, or else a repository of the hub, which
    is downloaded into the hub's cache.

    Args:
        revision: branch, tag or commit of the repository; for a folder that is here, None.

    Raises:
        UserError: where it is neither, or the hub does not give it.
    """
    folder, name = Path(source), str(source)
    if folder.is_dir():
        if revision is not None:
            raise UserError(
                f"revision {revision!r}: {folder} is a folder that is here, which has no revisions."
            )
        return folder
    if isinstance(source, Path) or not _REPOSITORY.fullmatch(name):
        raise UserError(
            f"{name}: no such folder. Name one that pretrain.py wrote, or a repository of the "
            'Hugging Face hub as "name/of-repo".'
        )
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_NEEDED)))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name}: no such folder here, and the Hugging Face hub does not give it "
            f"({_reason(error)}). Check the name and the network; for a private repository, log "
            "in with the command hf auth login."
        ) from error


def push(folder: Path, repo_id: str, private: bool, library: bytes, message: str) -> str:
    """Put a run's folder on the hub, with its model card, in one commit.

    Args:
        repo_id: ``name/of-repo``; made where it is not there.
        private: nobody else may read it.
        library: of ``library_bytes``; goes in place of the folder's own, with or without histories.
        message: of the commit.

    Returns:
        the address of the commit.

    Raises:
        UserError: where the folder is not whole; where the repository is there already and public,
            though ``private``; or where the hub says no.
    """
    record = read_record(folder)
    check_files(folder, record)
    check_weights(folder, record)
    card = model_card(record, read_all_results(folder, record, strict=False), repo_id)
    checksum = hashlib.sha256(library).hexdigest()
    record = replace(record, files={**record.files, LIBRARY_FILE: checksum})
    names = (CONFIG_FILE, WEIGHTS_FILE, *(Path(name).name for name in record.files))
    files: dict[str, bytes | str] = {name: str(folder / name) for name in names}
    files |= {
        LIBRARY_FILE: library,
        RUN_FILE: to_json(record.as_json()).encode("utf-8", "backslashreplace"),
        CARD: card.encode("utf-8", "backslashreplace"),
    }
    api = HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise UserError(
                f"{repo_id}: is there already, and public. Make it private, name another, or pass "
                "private=False."
            )
        parts = [CommitOperationAdd(name, content) for name, content in files.items()]
        return api.create_commit(repo_id, parts, commit_message=message).commit_url
    except (OSError, ValueError) as error:
        raise UserError(
            f"{repo_id}: the Hugging Face hub does not take it ({_reason(error)}). Check the name "
            "and the network, and log in with the command hf auth login."
        ) from error


def _reason(error: Exception) -> str:
    """The first line of what the hub's library says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
