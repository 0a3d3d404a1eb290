"""The authors' checkpoint files."""
