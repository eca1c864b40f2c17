"""``RemoteOptions``: how long to wait for files far away, how often to try again, and how much of them to digest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from fivesigma.core.errors import ConfigError

Digest = Literal["full", "ends"]

VARIABLES = {
    "deadline_s": "FIVESIGMA_REMOTE_DEADLINE",
    "retries": "FIVESIGMA_REMOTE_RETRIES",
    "back_off_s": "FIVESIGMA_REMOTE_BACK_OFF",
    "digest": "FIVESIGMA_REMOTE_DIGEST",
    "ca_bundle": "FIVESIGMA_REMOTE_CA_BUNDLE",
}
"""Environment variable of each option."""


@dataclass(frozen=True)
class RemoteOptions:
    """Options of reading over ``https://`` and ``root://``.

    Parameters
    ----------
    deadline_s
        seconds that one request may take, from the look-up of the server's name to the last byte of the answer.
    retries
        how often a request is tried again after what may pass: no answer in time, a connection that broke, "busy".
    back_off_s
        seconds before the first new try; doubled for each further one, up to a minute, times 0.5 to 1.5 at random.
    digest
        "full" fetches each file once as a whole to digest every byte, as for local files; "ends" digests the size, what
        the server says of the version (ETag, Last-Modified, mtime), and the first and the last MiB.
    ca_bundle
        file of the certificate authorities that ``https://`` trusts, in place of the system's.

    Usage::

        events = open_events("https://example.org/data/run1.root", remote=RemoteOptions(deadline_s=20, retries=5))
    """

    deadline_s: float = 60.0
    retries: int = 3
    back_off_s: float = 1.0
    digest: Digest = "full"
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        if not (self.deadline_s > 0 and self.retries >= 0 and self.back_off_s >= 0):
            raise ConfigError(
                f"expected a deadline above 0 s and no negative number of retries or back-off, got {self.deadline_s} s, "
                f"{self.retries} retries, {self.back_off_s} s"
            )
        if self.digest not in get_args(Digest):
            raise ConfigError(f"the digest of remote files is {' or '.join(get_args(Digest))}, not {self.digest!r}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> RemoteOptions:
        """The defaults, but for what the environment has in the variables of `VARIABLES`.

        Raises
        ------
        ConfigError
            if one of them cannot be meant.

        >>> RemoteOptions.from_environment({"FIVESIGMA_REMOTE_DEADLINE": "5"}).deadline_s
        5.0
        """
        found = os.environ if environment is None else environment
        words = {name: found[variable] for name, variable in VARIABLES.items() if found.get(variable)}
        kinds = {"deadline_s": float, "retries": int, "back_off_s": float}
        try:
            return cls(**{name: kinds.get(name, str)(text) for name, text in words.items()})
        except (ValueError, ConfigError) as error:
            shown = ", ".join(f"{VARIABLES[name]}={text}" for name, text in words.items())
            raise ConfigError(f"{shown}: {error}") from error
