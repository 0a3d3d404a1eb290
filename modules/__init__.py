"""The model, its data, its training and its decoding, in packages on floors (docs/code.md).

A trained model from Python: ``from modules import Recommender`` (docs/library.md).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["lists_out", "recommend"],
    submod_attrs={"recommender": ["Recommendation", "Recommender"]},
)
