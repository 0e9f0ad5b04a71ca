"""Whatever is passed for whatever parameter either works or is refused in Python's words.

Mutations that this caught: `int(weight)` instead of `real(weight, "weight")`; ids that take a
bool; a sentence of the library that is not put into Python's words.
"""

import inspect
import re

import pytest
import unsay
import zoo
from conftest import MODELS, ROOT
from unsay._words import in_python

#: What a sentence for a Python program never says.
FOREIGN = re.compile(
    r"unsay_|UNSAY_|NULL|ctypes|c_int|c_float|c_char|\bstruct|NoneType|has no attribute|"
    r"object is not|unsay\._|not subscriptable|argument \d|_values|_inputs|unexpected keyword"
)
CALLBACKS = {
    "on_token", "logits_processor", "prefix_allowed_tokens_fn", "progress", "on_gradients",
    "detect", "mark",
}  # fmt: skip
#: The caller's own functions: what they do wrong is theirs.
FUNCTIONS = {"function", "type"}


@pytest.fixture(scope="module")
def world():
    return zoo.World(MODELS / "tiny-v10")


def parameters():
    """Every parameter of every public function, as `Class.method` and its name."""
    for name in unsay.__all__:
        value = getattr(unsay, name)
        if inspect.isfunction(value):
            yield from ((name, parameter) for parameter in named(value))
        if not inspect.isclass(value) or issubclass(value, (Exception, dict)):
            continue
        is_data = hasattr(value, "__dataclass_fields__")
        if not is_data:
            yield from ((name, parameter) for parameter in named(value))
        for method, found in inspect.getmembers(value, callable):
            if not method.startswith("_"):
                yield from ((f"{name}.{method}", parameter) for parameter in named(found))


def named(function):
    found = inspect.signature(function).parameters.values()
    names = [each.name for each in found if each.kind is not each.VAR_KEYWORD]
    takes_options = any(each.name == "options" for each in found if each.kind is each.VAR_KEYWORD)
    if takes_options and function.__name__ in ("generate", "stream"):
        names += [*unsay.GenerateOptions.__annotations__, "num_return_sequences"]
    return [name for name in names if name != "self"]


ALL = list(parameters())


def test_the_table_knows_every_public_function():
    assert {name for name, _ in ALL} <= zoo.CALLS.keys() | {
        name for name, _ in ALL if name.split(".")[0] in ("Error",)
    }
    assert len(ALL) > 150


@pytest.mark.parametrize(("function", "parameter"), ALL, ids=lambda name: name)
def test_a_value_works_or_is_refused_in_pythons_words(
    world, tmp_path, monkeypatch, function, parameter
):
    monkeypatch.chdir(tmp_path)
    world.classifier.save("saved.classifier")
    call = zoo.CALLS[function](parameter)
    wrong = []
    for name in zoo.values(world):
        if parameter in CALLBACKS and name in FUNCTIONS:
            continue
        try:
            call(world, zoo.values(world)[name])
        except unsay.Error as error:
            said = str(error)
            is_typed = isinstance(error, unsay.ArgumentTypeError)
            if (
                not 0 < len(said) < 400
                or "\n" in said
                or FOREIGN.search(said)
                or (is_typed and not ("expected" in said and "found" in said))
            ):
                wrong.append((name, said))
        except Exception as error:
            wrong.append((name, repr(error)))
    assert wrong == []


def test_a_wrong_type_is_both_builtins(world):
    for kind in (TypeError, ValueError, unsay.ArgumentError):
        with pytest.raises(
            kind, match=r"inputs\[1\]: expected a text or its token ids, found None"
        ):
            world.model.generate(["a", None])


def test_the_librarys_sentences_are_put_into_pythons_words():
    """Every text in the sources that names something of unsay.h."""
    found = []
    for path in sorted((ROOT / "Sources").rglob("*.swift")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith(("//", "@_cdecl", "(UNSAY_")) or "permanent(" in line:
                continue
            # Parts that are computed are not words: \(...) of one level of brackets.
            for text in re.findall(r'"((?:[^"\\]|\\\((?:[^()]|\([^()]*\))*\)|\\.)*)"', line):
                words = re.sub(r"\\\((?:[^()]|\([^()]*\))*\)", "0", text)
                if re.search(r"unsay_|UNSAY_|NULL", words):
                    found.append(words)
    # struct_size is the package's own to set: no Python program sees these.
    spoken = [
        text for text in found if "struct_size" not in text and not re.fullmatch(r"unsay_\w+", text)
    ]
    assert len(spoken) >= 10
    for text in spoken:
        assert not FOREIGN.search(in_python(text)), (text, in_python(text))
