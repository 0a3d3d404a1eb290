"""The model: section 3 of the paper. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["ELMRecConfig"],
        "elmrec": ["ELMRec"],
        "graph": ["PROPAGATIONS", "propagate"],
    },
)
