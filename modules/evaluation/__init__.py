"""The evaluation loop. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "decode": ["Decoding"],
        "ranker": ["Ranker"],
        "reranking": ["Ranked", "rerank"],
        "seen": ["dropped_items", "most_dropped", "users_to_test"],
        "record": [
            "Ranking",
            "catalogue_record",
            "direct_samples",
            "ranking_record",
            "ranking_rows",
            "result_record",
        ],
        "texts": [
            "add_reasons",
            "generate_texts",
            "published_text",
            "text_beams",
            "text_figures",
            "text_rows",
            "write_texts",
        ],
    },
)
