"""Direct recommendation, by its name at the head of the authors' repository: topn.py."""

from topn import main
from utils import cli

if __name__ == "__main__":
    cli.run(main)
