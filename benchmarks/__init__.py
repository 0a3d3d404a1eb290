"""Speed and scale, each file a command that prints a table; see benchmarks/README.md."""
