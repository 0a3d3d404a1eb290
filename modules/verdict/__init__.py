"""What a training has come to. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare": ["write_verdict"],
        "next_steps": ["say_next_steps"],
    },
)
