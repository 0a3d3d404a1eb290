"""Pages and tables for people. Parts load at first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "page": ["write_report"],
        "entries": ["by_settings", "entries"],
        "table_files": ["as_text"],
        "tables": ["entries_as_markdown"],
        "paired_tests": ["describe_sides", "differences", "differences_as_markdown"],
    },
)
