"""Writes the seeds of every fuzz target: `python Tests/Fuzz/make_seeds.py FOLDER`.

They come from Tests/Fixtures and Tests/Models. Graphs are freed of what costs a fuzzer time:
names are short, and weights lie in the file "weights" that the target supplies, which holds
one number again and again.
"""

import json
import struct
import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "python"))
from export_tools import graphs  # noqa: E402
from test_tokenizers import variants  # noqa: E402

#: As in PackedFolder.
NAMES = [
    "encoder_model.onnx", "decoder_model.onnx", "decoder_model_merged.onnx",
    "decoder_with_past_model.onnx", "model.onnx", "config.json", "generation_config.json",
    "onnx/model.onnx", "encoder_model_quantized.onnx", "data",
]  # fmt: skip

#: Folders, and the names that their files get.
FOLDERS = {
    "t5v10__ort": {"small_encoder": 0, "small_decoder": 1},
    "t5v10__ort_init": {"small_encoder_decoder_init": 0, "small_decoder": 1},
    "t5v10__ort_beam": {"large_beam_search": 4},
    "t5v10__ort_O": {"t5v10_encoder_fp32": 0, "t5v10_decoder_fp32": 1},
    "t5v10__nb4": {"encoder_model": 0, "decoder_model": 1},
    "t5v10__nb4_gather": {"encoder_model": 0},
    "t5v10__nb4_qdq": {"encoder_model": 0},
    "t5v11__q_u8": {"encoder_model": 0, "decoder_model": 1},
    "t5v10__cast_bf16": {"encoder_model": 0, "decoder_model": 1},
    "umt5__opt_custom": {"encoder_model": 0, "decoder_model_merged": 2},
    "t5v11__dy_whole": {"model": 7},
    "t5v10__merged_norms": {"model": 4},
    "mt5__raw_ext": {"model": 4},
    "byt5__raw_const": {"model": 4},
}


def pruned(path: Path) -> bytes:
    model = onnx.load(path)
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        return names.setdefault(name, f"{len(names):x}")

    is_container = all(node.op_type == "Constant" for node in model.graph.node)
    for value in [*model.graph.input, *model.graph.output]:
        names[value.name] = value.name
    for graph in graphs(model.graph):
        del graph.value_info[:]
        tensors = list(graph.initializer)
        tensors += [
            attribute.t
            for node in graph.node
            for attribute in node.attribute
            if attribute.type == onnx.AttributeProto.TENSOR
        ]
        for tensor in tensors:
            if numpy.prod(tensor.dims) > 32 and tensor.data_type != TensorProto.INT64:
                for field in ("raw_data", "float_data", "int32_data", "external_data"):
                    tensor.ClearField(field)
                tensor.data_location = TensorProto.EXTERNAL
                tensor.external_data.add(key="location", value="weights")
        if is_container:
            continue
        for tensor in graph.initializer:
            tensor.name = short(tensor.name)
        for value in [*graph.input, *graph.output]:
            value.name = short(value.name)
            value.ClearField("type")
        for node in graph.node:
            node.ClearField("name")
            node.ClearField("doc_string")
            del node.metadata_props[:]
            node.input[:] = [short(name) for name in node.input]
            node.output[:] = [short(name) for name in node.output]
    del model.metadata_props[:]
    return model.SerializeToString()


def packed(files: list[tuple[int, bytes]]) -> bytes:
    return b"".join(
        bytes([name]) + struct.pack("<I", len(content))[:3] + content for name, content in files
    )


def folder_seeds():
    for folder, parts in FOLDERS.items():
        source = TESTS / "Fixtures" / folder
        config = json.loads((source / "config.json").read_text())
        if "nb4_" in folder:
            config["architectures"] = ["T5EncoderModel"]
        small = json.dumps(config, separators=(",", ":")).encode()
        files = [(name, pruned(source / f"{stem}.onnx")) for stem, name in parts.items()]
        yield folder, packed([*files, (5, small)])
    yield "nothing", b""


def spiece_seeds():
    for path in sorted(TESTS.glob("Models/tiny-*/spiece.model")):
        yield path.parent.name, path.read_bytes() + b"\x00"
        yield path.parent.name + "-extra", path.read_bytes() + b"\xc9"


def tokenizer_seeds():
    for name, each in variants().items():
        each["model"]["vocab"] = each["model"]["vocab"][:150]
        each["added_tokens"] = each["added_tokens"][:3] + each["added_tokens"][-4:]
        for number, token in enumerate(each["added_tokens"][3:]):
            token["id"] = 150 + number
        steps = each["normalizer"].get("normalizers", [each["normalizer"]])
        if name != "json, old":
            del steps[0]
        yield name, json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode()


def config_seeds():
    for path in sorted(TESTS.glob("*/*/config.json")):
        parts = [
            path.read_bytes() if path.exists() else b""
            for path in (path, path.with_name("generation_config.json"))
        ]
        tokenizer = b'{"extra_ids": 100, "legacy": false, "tokenizer_class": "T5Tokenizer"}'
        yield path.parent.name, b"\x00".join([*parts, tokenizer])


def patches(**options):
    """Sessions on the tiny model that have made three steps, one after the other."""
    import unsay

    text = "summarize: a small library for reading files"
    for more in (
        {"scope": WEIGHTS, "learning_rate": 1e-3},
        {"scope": WEIGHTS, "lora_rank": 1, "optimizer": "adafactor"},
        {"scope": WEIGHTS[:1], "optimizer": "sgd"},
    ):
        with unsay.open(TESTS / "Models/tiny-v10") as model:
            output = model.generate(text, max_new_tokens=4)
            with model.patch(**more, **options) as patch:
                patch.add(text, output, marks=[-1] * len(output.ids))
                patch.add(text[11:], output)
                patch.run(max_steps=3, evaluate_every=1, select="last", **STATE)
                yield patch


#: Small ones, so that seeds are.
WEIGHTS = [f"decoder.block.0.layer.1.EncDecAttention.{name}.weight" for name in "qv"]

STATE = {"state_path": "/tmp/unsay-seed.state", "save_every": 3}


def delta_seeds():
    for index, patch in enumerate(patches(max_avoid_p=0, keep_examples=True)):
        patch.delta().save("/tmp/unsay-seed.delta")
        yield f"tiny-{index}", Path("/tmp/unsay-seed.delta").read_bytes()[:-32]


def session_seeds():
    for index, _ in enumerate(patches(max_avoid_p=0)):
        state = Path(STATE["state_path"]).read_bytes()
        (size,) = struct.unpack("<Q", state[12:20])
        fields = json.loads(state[20 : 20 + size])
        del fields["buffers"]
        chosen = json.dumps(fields, separators=(",", ":")).encode()
        yield f"tiny-{index}", bytes([index]) + chosen + b"\0" + state[-64:-32]
        yield f"whole-{index}", bytes([128 + index]) + state[:-32]


def classifier_seeds():
    import unsay

    for index, passes in enumerate((1, 3)):
        with unsay.open(TESTS / "Models/tiny-v10") as model:
            texts = [("a small library", [(8, 15)]), ("reading files", [])]
            classifier = unsay.Classifier.train(model, texts, passes=passes)
            classifier.save("/tmp/unsay-seed.classifier")
        yield f"tiny-{index}", Path("/tmp/unsay-seed.classifier").read_bytes()[:-32]


def main(target: Path) -> None:
    seeds = {
        "folder": folder_seeds,
        "spiece": spiece_seeds,
        "tokenizer": tokenizer_seeds,
        "config": config_seeds,
        "delta": delta_seeds,
        "session": session_seeds,
        "classifier": classifier_seeds,
    }
    for name, make in seeds.items():
        (target / name).mkdir(parents=True, exist_ok=True)
        for seed, content in make():
            (target / name / seed).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
