"""The training loop. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "settings": ["Settings"],
        "build": ["StopSignals", "new_run", "new_trainer", "start_machine"],
        "claim": ["claim_folder"],
        "fitted": ["fitted"],
        "resume": ["run_training", "start_or_resume"],
        "trainer": ["Trainer"],
    },
)
