"""Every item's probability, or the best of them. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "exact": ["prefix_tree", "rank_exact"],
        "best_first": ["rank_best_first"],
        "beam": ["BeamOptions", "beam_search"],
    },
)
