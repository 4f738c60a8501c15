"""The list of compiled modules, and the folder of the build of the present sources."""

import hashlib
import sys
from pathlib import Path
from typing import Final

CORE: Final = Path(__file__).resolve().parent.parent / "core"
BUILDS: Final = CORE.parent.parent / ".tools" / "native"
COMPILED: Final = (
    "batch_scorer",
    "batches",
    "dead_letters.letter",
    "dead_letters.rejections",
    "decision",
    "evaluator",
    "features.geography",
    "features.vector",
    "models.breaker",
    "models.inputs",
    "models.lineup",
    "models.slot",
    "models.trees.boosting_scorer",
    "models.trees.forest_scorer",
    "outcome",
    "parsing.avro",
    "parsing.avro_nodes",
    "parsing.json_faults",
    "parsing.purchase_ids",
    "parsing.source_record",
    "parsing.transactions",
    "probability",
    "replay",
    "scoring",
    "state.category_habits",
    "state.codec",
    "state.customer",
    "state.fields",
    "state.older_ids",
    "state.recent",
    "state.running_stats",
    "currencies",
    "texts",
    "transaction",
)
"""Modules of ``flink_jobs.core`` that run for every event. Modules that run rarely stay Python.

mypyc 1.x generates crashing code for ``@dataclass(frozen=True)`` and ``slots=True``; the build refuses modules with
them.
"""
WALKER: Final = "models.trees._tree_walk"
"""The only module written in C: compiled Python has no arrays of plain numbers."""
GROUP: Final = "streamflow_core"
"""Name of the shared library of all compiled modules."""


def build_folder() -> Path:
    """Return the folder of the build of the present sources; it need not exist.

    Its name is a digest of the interpreter version and of every source file of the core, because a compiled module
    depends on the layout of the modules it imports. After an edit there is therefore no build, rather than an outdated
    one.
    """
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}\n{COMPILED}\n".encode())
    for path in sorted([*CORE.rglob("*.py"), *CORE.rglob("*.c")]):
        digest.update(str(path.relative_to(CORE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return BUILDS / digest.hexdigest()[:32]


def source_of(name: str, suffix: str = ".py") -> Path:
    """Return the source file of a dotted module name such as ``state.codec``, relative to the core."""
    return Path(*name.split(".")).with_suffix(suffix)
