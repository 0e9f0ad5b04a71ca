"""The checkpoints that are measured: random weights in the published shapes, and debsum.

A checkpoint is a folder with the same weights three times: `torch` (transformers), `onnx`
(Optimum's export) and `ctranslate2` (its converter's). What a model writes plays no part in
how fast it writes, as long as it writes on to the end.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = 32128

# config.json of the published checkpoints, where it differs from transformers' defaults.
SHAPES = {
    "t5-small": {"d_model": 512, "d_ff": 2048, "num_heads": 8, "num_layers": 6},
    "t5-base": {"d_model": 768, "d_ff": 3072, "num_heads": 12, "num_layers": 12},
    "flan-t5-base": {
        "d_model": 768, "d_ff": 2048, "num_heads": 12, "num_layers": 12,
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    },
}  # fmt: skip


def checkpoint(name: str, folder: Path) -> Path:
    """The folder of a checkpoint, made if it is not there."""
    folder = folder / name
    if (folder / "ready").exists():
        return folder
    if name == "debsum":
        _debsum(folder / "torch")
    else:
        _random(SHAPES[name], folder / "torch")
    _export(folder)
    _convert(folder)
    (folder / "ready").touch()
    return folder


def _random(shape: dict, folder: Path) -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(1)
    config = T5Config(
        vocab_size=VOCABULARY, d_kv=64, num_decoder_layers=shape["num_layers"],
        decoder_start_token_id=0, dropout_rate=0.0, **shape,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)


def _debsum(folder: Path) -> None:
    """The embedded model for transformers, from its own ONNX files."""
    sys.path.insert(0, str(ROOT / "Tests/Goldens"))
    import checkpoint as goldens

    goldens.load(ROOT / "models/debsum").save_pretrained(folder)


def _export(folder: Path) -> None:
    from optimum.exporters.onnx import main_export

    main_export(
        folder / "torch", folder / "onnx", task="text2text-generation-with-past",
        do_validation=False, library_name="transformers",
    )  # fmt: skip
    for name in ("decoder_model.onnx", "decoder_with_past_model.onnx"):
        (folder / "onnx" / name).unlink(missing_ok=True)


def _convert(folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    size = json.loads((folder / "torch/config.json").read_text(encoding="utf-8"))["vocab_size"]

    class Converter(TransformersConverter):  # type: ignore[misc]
        """The converter wants a vocabulary; inputs are ids here, so any will do."""

        def load_tokenizer(self, *_: object, **__: object) -> object:
            return Vocabulary(size)

    Converter(str(folder / "torch")).convert(str(folder / "ctranslate2"), force=True)


class Vocabulary:
    """Token <i> is id i."""

    def __init__(self, size: int) -> None:
        self.tokens = [f"<{index}>" for index in range(size)]
        self.pad_token, self.eos_token, self.unk_token = self.tokens[:3]

    def get_vocab(self) -> dict:
        return {token: index for index, token in enumerate(self.tokens)}

    def convert_ids_to_tokens(self, index: int) -> str:
        return self.tokens[index]
