"""Text to tokens to batches. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["Batch", "BatchSize"],
        "prompts": ["Prompts"],
        "ragged": ["Ragged", "recent_histories"],
        "evaluation_set": ["EvaluationSet"],
        "training_stream": ["StepPlan", "TrainingStream", "windows"],
        "trie": ["ItemTrie", "branching", "build_trie"],
        "tokenizer": ["check_vocabulary", "load_tokenizer"],
    },
)
