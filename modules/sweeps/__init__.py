"""Many trainings and tests from one file. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "plan": ["read_plan"],
        "running": ["cuda_devices", "run_jobs"],
    },
)
