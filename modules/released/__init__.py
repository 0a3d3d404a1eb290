"""The authors' checkpoint files. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"reader": ["read_released"], "convert": ["import_model"]},
)
