"""Which reviews are in English, by py3langid: letters in, a share of each language out, no network.

Short texts look like anything ("Excellent product." like French), so a text counts as foreign only
if another language is several times as likely as English. Of 6,743 sentences and titles of English
reviews of beauty products, six are taken for foreign ones: names mostly, and a Spanish one.
"""

from functools import cache
from typing import TYPE_CHECKING

from modules.preparation.extras import require

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LANGUAGES = ("en", "any")  # values of --language
READ = 300  # characters of a text that are looked at
FEWEST = 6  # bytes of a text of which a language can be told: more than "yum" and "love" have
TIMES = 8  # as likely as English: what another language must be

# What is told from English. Of others, a text is taken for the nearest of these: Frisian for Dutch.
_TOLD_APART = """
    ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk
    sl sr sv ta te th tl tr uk ur vi zh
"""


def require_language(language: str) -> None:
    """UserError where py3langid is needed and not installed. language: of LANGUAGES."""
    if language == "en":
        require("py3langid", "Explanations in English only", "Or take all: --language any.")


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes half a second

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_TOLD_APART.split())
    return identifier


def is_foreign(text: str) -> bool:
    """Is a text, without markup, in a language that is not English? No where that is unsure."""
    text = text[:READ]
    if len(text.encode()) < FEWEST:
        return False
    language, share = _identifier().classify(text)
    return language != "en" and share > TIMES * dict(_identifier().rank(text))["en"]
