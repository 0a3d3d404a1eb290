"""Simple models in the same harness. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "added": ["add_lists"],
        "simple": ["BASELINES"],
        "linear": ["linear_items"],
        "folder": ["check_baseline_folder"],
        "tuning": ["make_arena", "run_baseline", "that_fit"],
    },
)
