"""Types of the values in JSON files, each with its limits: for ``utils.json_files.check_type``."""

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=2**53)]
Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]  # an id, or how many of something
Figure = Annotated[float, Meta(ge=-1e12, le=1e12)]
Score = Annotated[float, Meta(ge=-1e30, le=1e30)]
Name = Annotated[str, Meta(max_length=1000)]
Text = Annotated[str, Meta(max_length=1 << 17)]  # the longest argument that Linux passes on
Checksum = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]  # SHA-256
Checksums = Annotated[dict[Name, Checksum], Meta(max_length=100)]  # by the file's name
Figures = Annotated[dict[Name, Figure], Meta(max_length=100_000)]  # by the metric's name
Versions = Annotated[dict[Name, Name], Meta(max_length=100)]

_Whole = Annotated[int, Meta(ge=-(2**62), le=2**62)]
_Scalar = bool | _Whole | Score | Text | None
# The value of a flag: one, or some of them. Deeper than that nothing nests.
Setting = (
    _Scalar
    | Annotated[list[_Scalar], Meta(max_length=10_000)]
    | Annotated[dict[Name, _Scalar], Meta(max_length=1000)]
)
Arguments = Annotated[dict[Name, Setting], Meta(max_length=1000)]  # by the flag's name
