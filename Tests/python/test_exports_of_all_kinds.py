"""Every kind of export gives the logits of transformers in float32.

Tests/Fixtures holds one folder a family and export route. Its expected.npz was computed by
transformers with the original weights; where the file stores them rounded or quantised, the
arrays that end in `_stored` were computed with the weights as stored.
"""

import json
import shutil
from pathlib import Path

import numpy
import pytest
import unsay
from conftest import FIXTURES

FOLDERS = sorted(path.parent for path in FIXTURES.glob("*/expected.npz"))
RELATIVE = 1e-4  # of the range of the logits


def relative(found, expected):
    return float(numpy.abs(found - expected).max() / (expected.max() - expected.min()))


def expectation(folder, name):
    arrays = numpy.load(folder / "expected.npz")
    stored = f"{name}_stored"
    if stored in arrays.files:
        return arrays[stored]
    return arrays[name] if name in arrays.files else None


def cases(folder):
    """(input, decoder input, row) of each sequence, without padding."""
    expected = json.loads((folder / "expected.json").read_text())
    for row, (ids, mask) in enumerate(zip(expected["input_ids"], expected["attention_mask"])):
        yield [id for id, used in zip(ids, mask) if used], expected, row


def as_encoder_only(folder, target):
    """A copy whose config.json no longer promises the decoder that the folder lacks."""
    if json.loads((folder / "config.json").read_text())["architectures"] == ["T5EncoderModel"]:
        return folder
    with pytest.raises(unsay.NotFoundError, match="decoder"):
        unsay.open(folder)
    copy = Path(shutil.copytree(folder, target / folder.name))
    config = json.loads((copy / "config.json").read_text())
    config["architectures"] = ["T5EncoderModel"]
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize("folder", FOLDERS, ids=[path.name for path in FOLDERS])
def test_encoder_and_logits_equal_the_reference(folder, tmp_path):
    states = expectation(folder, "encoder_output")
    logits = expectation(folder, "decoder_logits")
    if logits is None:
        folder = as_encoder_only(folder, tmp_path)
    with unsay.open(folder) as model:
        for ids, expected, row in cases(folder):
            found = numpy.asarray(model.encoder_states(ids))
            assert relative(found, states[row][: len(ids)]) < RELATIVE
            if logits is None:
                with pytest.raises(unsay.UnsupportedError):
                    model.generate(ids)
                continue
            # The decoder reads the start token and all but the last id of an output.
            given = expected["decoder_input_ids"][row]
            output = [*given[1:], 1]
            found = numpy.asarray(model.logits(ids, output))
            difference = relative(found, logits[row])
            assert difference < RELATIVE, f"row {row}: {difference}"
