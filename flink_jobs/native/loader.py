"""Makes imports load the compiled modules of the core when a build of the present sources exists."""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from flink_jobs.native.modules import COMPILED, GROUP, WALKER, build_folder, source_of

VARIABLE: Final = "STREAMFLOW_CORE"
CHOICES: Final = ("auto", "compiled", "python")


class NativeFinder(MetaPathFinder):
    """Finds the compiled modules of one build."""

    def __init__(self, folder: Path) -> None:
        """List the modules of the build in ``folder``."""
        suffix = EXTENSION_SUFFIXES[0]
        library = f"{GROUP}__mypyc"
        self._files = {
            f"flink_jobs.core.{name}": folder / "flink_jobs" / "core" / source_of(name, suffix)
            for name in (*COMPILED, WALKER)
        }
        self._files[library] = folder / f"{library}{suffix}"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a compiled module; ``None`` for all other modules."""
        del path, target
        file = self._files.get(fullname)
        return None if file is None else spec_from_file_location(fullname, file)


def install() -> None:
    """Use the compiled core in this process, depending on the variable ``STREAMFLOW_CORE``.

    ``auto`` (the default) uses a build if one exists, ``python`` never uses one, ``compiled`` requires one.

    Raises:
        ImportError: the variable has another value, or it is ``compiled`` and no build of the present sources exists.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ImportError(f"{VARIABLE} is {choice!r}; set it to one of {', '.join(CHOICES)}")
    if choice == "python":
        return
    folder = build_folder()
    if folder.is_dir():
        sys.meta_path.insert(0, NativeFinder(folder))
    elif choice == "compiled":
        raise ImportError(
            f"{VARIABLE} is `compiled`, but {folder} holds no build of the present sources; run `make setup` "
            f"on a machine with gcc, or unset {VARIABLE}"
        )


def core_in_use() -> str:
    """Return whether this process runs the ``compiled`` or the ``python`` core, for logs and reports."""
    return "compiled" if any(isinstance(finder, NativeFinder) for finder in sys.meta_path) else "python"
