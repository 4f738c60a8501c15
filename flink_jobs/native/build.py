"""Compiles the modules of the core that run for every event: ``python -m flink_jobs.native.build``.

``make setup`` runs this. The build happens in a temporary folder, which is renamed when it is complete, so the loader
never uses an interrupted build. Builds of other sources are removed.
"""

import ast
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from flink_jobs.native.modules import BUILDS, COMPILED, CORE, GROUP, WALKER, build_folder, source_of


def refuse_unsupported_dataclasses(path: Path) -> None:
    """Refuse a module with a frozen or slotted dataclass, for which the compiler generates code that crashes.

    Raises:
        SystemExit: the module has such a dataclass; the message contains file and line.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(decorator, ast.Call) and {"frozen", "slots"} & {item.arg for item in decorator.keywords}:
                raise SystemExit(
                    f"{path}:{decorator.lineno}: a frozen or slotted dataclass crashes when compiled; use a plain "
                    "dataclass or a NamedTuple, or take the module out of COMPILED"
                )


def build() -> Path:
    """Compile the modules, unless a build of the present sources exists, and return the folder of the build.

    Raises:
        SystemExit: a module has a dataclass that cannot be compiled, or the compiler failed.
    """
    target = build_folder()
    if target.is_dir():
        return target
    sources = [CORE / source_of(name) for name in COMPILED]
    for source in sources:
        refuse_unsupported_dataclasses(source)
    # Development dependencies, needed only for a build.
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution, Extension  # noqa: PLC0415

    BUILDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=BUILDS) as scratch:
        os.chdir(CORE.parent.parent)  # mypyc names modules by their path from here
        extensions: list[Extension] = mypycify(
            [str(source.relative_to(Path.cwd())) for source in sources],
            opt_level="3",
            group_name=GROUP,
            target_dir=f"{scratch}/c",
        )
        walker = Extension(
            f"flink_jobs.core.{WALKER}", [f"flink_jobs/core/{source_of(WALKER, '.c')}"], extra_compile_args=["-O3"]
        )
        extensions.append(walker)
        distribution = Distribution({"name": GROUP, "packages": [], "ext_modules": extensions})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp = f"{scratch}/lib", f"{scratch}/temp"
        command.ensure_finalized()
        command.run()
        if not target.is_dir():
            Path(scratch, "lib").rename(target)
    for other in BUILDS.iterdir():
        if other != target:
            shutil.rmtree(other, ignore_errors=True)
    return target


def main() -> None:
    """Build and print the folder; exit with a message when there is no C compiler."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        sys.exit(f"no C compiler ({compiler}): the core runs as Python, slower and with the same results; install gcc")
    sys.stdout.write(f"{build()}\n")


if __name__ == "__main__":
    main()
