"""Raw files to a data folder. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "folder": ["Options", "prepare_folder"],
    },
)
