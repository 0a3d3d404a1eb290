"""Is a model of the Hugging Face hub to be had here? One short try, without torch."""

from functools import cache

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

SECONDS = 5.0  # for an answer


@cache
def ask_hub(name: str) -> None:
    """Ask for a model's configuration; transformers asks for half a minute where nobody answers.
    A process asks once, unless the answer is no.

    Raises:
        OSError, ValueError: where it is neither kept on this machine nor given by the hub.
    """
    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=SECONDS)
    except (OSError, ValueError):
        raise
    except Exception as error:  # no answer: of whichever HTTP library the version has
        raise OSError(f"no answer from the hub ({error})") from error
