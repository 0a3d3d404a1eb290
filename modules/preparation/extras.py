"""The packages of requirements-data.txt: imported only where needed, named where missing."""

from importlib.util import find_spec

from utils.errors import UserError


def require(package: str, purpose: str, instead: str = "") -> None:
    """Check that a package is installed, without importing it.

    Args:
        purpose: what needs it, in the plural, as a sentence begins: "Parquet files".
        instead: a sentence that says how to do without it; "" where that is not possible.

    Raises:
        UserError: where it is not installed.
    """
    if find_spec(package) is None:
        raise UserError(
            f"{purpose} need the package {package}, which is not installed. Run "
            f"`pip install -r requirements-data.txt`. {instead}".rstrip()
        )
