"""The shape of the code: who may import whom, how long files are, what is public, who may open and write files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import seodang
from seodang.core.recipe import Recipe
from seodang.training.resolve import SECTIONS, registry_of

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "seodang"
FILES = sorted(SOURCE.rglob("*.py"))

ALLOWED = {
    "core": set(),
    "layers": {"core"},
    "models": {"core", "layers"},
    "generate": {"core", "layers"},
    "scratch": set(),
    "data": {"core"},
    "task": {"core", "layers", "data", "generate"},
    "training": {"core", "data", "models", "task"},
    "visualize": {"core", "layers", "scratch", "data", "task"},
    "deploy": {"core", "data", "models", "task"},
    "evaluation": {"core", "data", "models", "task", "training", "visualize"},
    "diagnosis": {"core", "data", "task", "training", "visualize"},
    "api": {
        "core",
        "models",
        "data",
        "task",
        "training",
        "visualize",
        "diagnosis",
        "evaluation",
        "deploy",
    },
    "comparison": {"core", "api", "training", "visualize"},
    "cli": {"core", "api"},
    "__main__": {"cli"},
    "__init__": set(),
}
"""Package → the packages it may import. `cli` names others only inside functions, through what `api` offers."""

LAZY_FROM_CLI = {"core", "api", "comparison", "data", "evaluation", "models", "training", "visualize", "deploy"}
"""What the command line may import inside a command, for listing and checking."""

ONLY_WRITERS = {"core/disk.py", "core/run.py"}
AUDITED_IMPORTER = {"deploy/sandbox.py"}
SHAPELESS_NAMES = re.compile(r"_utils|_helpers|^common|^misc|^utils|^helpers")


def package_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "seodang":
                yield from ((node, f"seodang.{alias.name}") for alias in node.names)
            else:
                yield node, node.module


def inside_functions(tree: ast.AST) -> set[ast.AST]:
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {inner for function in functions for inner in ast.walk(function)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    own, tree = package_of(path), ast.parse(path.read_text())
    lazy = inside_functions(tree)
    for node, name in imports(tree):
        if not name.startswith("seodang."):
            continue
        other = name.split(".")[1]
        if other == "__version__":
            continue
        allowed = ALLOWED[own] | {own} | (LAZY_FROM_CLI if own == "cli" and node in lazy else set())
        assert other in allowed, f"{path}:{node.lineno}: {own} must not import {other}"


def test_the_table_allows_no_more_than_is_used() -> None:
    used: dict[str, set[str]] = {package: set() for package in ALLOWED}
    for path in FILES:
        used[package_of(path)] |= {name.split(".")[1] for _, name in imports(ast.parse(path.read_text()))
                                   if name.startswith("seodang.")}  # fmt: skip
    for package, allowed in ALLOWED.items():
        assert not allowed - used[package], f"{package}: imports nothing of {sorted(allowed - used[package])}"
    assert not LAZY_FROM_CLI - used["cli"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_are_short_and_named_by_idea(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, f"{path}: {text.count(chr(10))} lines; split it by idea"
    assert not SHAPELESS_NAMES.search(path.stem), f"{path}: name it after what it holds"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{path}: no docstring"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno
            assert length <= 70, f"{path}:{node.lineno}: {node.name} has {length} lines"


FORBIDDEN = {
    "eval", "exec", "compile", "__import__",
    "torch.load", "torch.save", "torch.jit.load", "pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps",
    "joblib.load", "joblib.dump", "dill.load", "yaml.load", "np.save", "np.savez", "numpy.save",
}  # fmt: skip
WRITING = {"write_text", "write_bytes", "save_file", "to_csv", "savefig", "mkstemp", "NamedTemporaryFile"}


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_is_read_can_run_and_one_module_writes(path: Path) -> None:
    name = str(path.relative_to(SOURCE))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {"pickle", "dill", "joblib", "torchvision"} & set(modules), f"{name}:{node.lineno}"
        if not isinstance(node, ast.Call):
            continue
        function = called(node)
        where = f"{name}:{node.lineno}: {function}"
        if name not in AUDITED_IMPORTER:
            assert function not in FORBIDDEN, where
        if name in ONLY_WRITERS:
            continue
        assert function.rpartition(".")[2] not in WRITING, f"{where}: write through core/files.py"
        if function in ("open", "os.open", "gzip.open", "io.open") or function.endswith(".open"):
            modes = [argument.value for argument in [*node.args, *(keyword.value for keyword in node.keywords)]
                     if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]  # fmt: skip
            flags = [] if "'.lock'" in ast.unparse(node) else re.findall(r"O_(?:WRONLY|RDWR|CREAT)", ast.unparse(node))
            opened = [*modes, *flags]
            assert not any(re.fullmatch(r"[rbt+]*[wax][rbt+]*|O_.*", mode) for mode in opened), (
                f"{where}: write through core/files.py"
            )


@pytest.mark.parametrize("package", ["core", "cli"])
def test_no_torch_before_it_is_needed(package: str) -> None:
    modules = [f"seodang.{package}.{path.stem}" for path in (SOURCE / package).glob("*.py") if path.stem != "__init__"]
    code = f"import sys, {', '.join(modules)}; bad = {{'torch', 'numpy', 'sklearn'}} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist_and_are_all_there_is() -> None:
    assert sorted(seodang.__all__) == seodang.__all__
    assert set(seodang.__all__) == set(seodang._WHERE)
    for name in seodang.__all__:
        assert getattr(seodang, name) is not None
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir()}
    assert not packages & set(seodang.__all__), "a package would hide the public name once it is imported"


@pytest.mark.parametrize("section", SECTIONS)
def test_everything_registered_says_where_it_comes_from(section: str) -> None:
    registry = registry_of(section)
    for name in registry.names():
        entry = registry[name]
        if not entry.maker.__module__.startswith("seodang."):
            continue
        doc = entry.maker.__doc__ or ""
        assert "Source:" in doc, f"{section} '{name}' ({entry.maker.__module__}): no Source: in its docstring"
        undescribed = [field for field, info in type(entry.settings).model_fields.items() if not info.description]
        assert not undescribed, f"{type(entry.settings).__name__}: no docstring under {undescribed}"


def test_every_setting_of_a_recipe_is_described() -> None:
    for name, info in Recipe.model_fields["train"].annotation.model_fields.items():  # type: ignore[union-attr]
        assert info.description, name
