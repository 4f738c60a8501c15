"""How to reach a schema registry. The settings and the job share it, so it imports the standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How to reach a registry; the job graph contains it pickled, so it names a file with the login."""

    place: str
    """An URL, or a folder."""
    login_file: str | None = None
    ca_file: str | None = None

    @property
    def is_folder(self) -> bool:
        """Return whether the schemas are files."""
        return self.place.startswith("/")
