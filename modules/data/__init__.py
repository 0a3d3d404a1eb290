"""What people did: histories, and what a protocol shows of them. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["Explanations", "HeldOut", "RecDataset"],
        "reader": ["load_dataset"],
        "protocols": ["TrainView", "item_numbers", "train_view"],
        "negatives": ["NegativeSampler", "default_count"],
        "candidates": ["test_candidates", "valid_candidates"],
    },
)
