"""What can go wrong. Every error pickles, so that worker processes can pass it on."""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "HubError",
    "ImageError",
    "ModelError",
    "NotFoundError",
    "ResnestError",
]


class ResnestError(Exception):
    """Any error of this package that has no class of its own below.

    `index` is the place of the image at fault among those of the call, counted from 0; None for a call with one image, and
    for an error of no image.
    """

    index: int | None

    def __init__(self, message: str = "", index: int | None = None) -> None:
        super().__init__(message)
        self.index = index

    def __reduce__(self) -> tuple[type[ResnestError], tuple[str, int | None]]:
        return type(self), (str(self), self.index)


class ImageError(ResnestError, ValueError):
    """An image that is broken, of no known format, over the limits, null, or cannot be read."""


class ModelError(ResnestError, ValueError):
    """No model is called so, or its options do not fit together."""


class CheckpointError(ResnestError):
    """Weights that cannot be read, or do not fit the network: every difference is listed."""


class HubError(ResnestError, ConnectionError):
    """The hub could not be reached, or was not to be (offline), and the cache does not have it."""


class NotFoundError(ResnestError, FileNotFoundError):
    """A file or folder that is not there."""


for _error in (ResnestError, ImageError, ModelError, CheckpointError, HubError, NotFoundError):
    # Where users know them from, and where pickles look for them.
    _error.__module__ = "resnest_rs"
