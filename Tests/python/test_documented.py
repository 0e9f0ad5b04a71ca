"""Whatever is public is documented and typed."""

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest
import unsay
from conftest import ROOT

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(unsay.__path__, "unsay.")
    if name not in ("unsay.__main__", "unsay.libunsay")
]


def members():
    """Every public object of the package, and every public member of the classes among them."""
    for name in unsay.__all__:
        value = getattr(unsay, name)
        yield f"unsay.{name}", value
        if not inspect.isclass(value):
            continue
        for member, found in inspect.getmembers(value):
            module = getattr(inspect.unwrap(found), "__module__", None) or ""
            is_ours = module.startswith("unsay")
            if not member.startswith("_") and (is_ours or isinstance(found, property)):
                yield f"unsay.{name}.{member}", found


@pytest.mark.parametrize(("name", "value"), list(members()), ids=lambda value: str(value)[:60])
def test_a_public_object_has_a_docstring(name, value):
    text = inspect.getdoc(value)
    assert text, name
    if dataclasses.is_dataclass(value):
        assert not text.startswith(f"{value.__name__}("), f"{name}: dataclass made it itself"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_for(name):
    assert importlib.import_module(name).__doc__


def test_all_is_what_the_package_shows():
    shown = {name for name in vars(unsay) if not name.startswith("_")}
    inner = {name for name in shown if inspect.ismodule(getattr(unsay, name))}
    assert shown - inner == set(unsay.__all__)


def test_the_options_of_generate_are_those_that_it_takes():
    from unsay import _generation

    known = {*_generation.SCALARS, *_generation.IDS, *_generation.OTHERS}
    assert set(unsay.GenerateOptions.__annotations__) == known - {"num_return_sequences"}


def test_types_are_strict_the_command_line_included():
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=ROOT / "bindings/python", text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout


def test_a_program_gets_the_types_that_it_will_see(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import unsay\n"
        "model = unsay.open('m')\n"
        "reveal_type(model.generate('a', max_new_tokens=3))\n"
        "reveal_type(model.generate(['a', 'b']))\n"
        "model.generate('a', max_new_token=3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", program],
        cwd=tmp_path, env={"MYPYPATH": str(ROOT / "bindings/python/src"), "PATH": ""},
        text=True, capture_output=True,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if "program.py" in line]
    assert 'Revealed type is "unsay.results.Output"' in told[0]
    assert "list[unsay.results.Output]" in told[1]
    assert 'Unexpected keyword argument "max_new_token"' in "".join(told[2:])


def test_the_pages_are_made(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/api_docs.py", "--out", tmp_path],
        text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0 and "Warn" not in done.stderr, done.stderr
    page = (tmp_path / "unsay.html").read_text(encoding="utf-8")
    for name in unsay.__all__:
        assert f'id="{name}"' in page, name
    assert 'id="Model.generate"' in page and 'id="Patch.add"' in page
