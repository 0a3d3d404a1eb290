"""A run and its folder. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "run": ["Run", "open_run", "spread", "start_machine", "tasks_of"],
        "record": ["RunRecord", "read_record"],
        "folder": ["write_run"],
        "hub": ["fetch", "push"],
        "writing": ["write_results"],
    },
)
