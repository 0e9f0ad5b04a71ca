"""Writes the fixtures of torch's present exporter and of an encoder alone.

    python make_dynamo_exports.py Tests/Fixtures

Needs torch 2.15, onnxscript and transformers 4.57.6. Three folders, each with expected.npz and
expected.json as in the other fixtures:

- `t5v10__dy23_whole`: one file with the whole model, opset 23, where a norm is one node;
- `encoder__dy23`: a T5EncoderModel, opset 23;
- `encoder__ts`: the same model by torch's older exporter, opset 17.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
import onnx
import torch
from make_runtime_exports import make_model, write_expectations
from transformers import T5EncoderModel


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return output.last_hidden_state


class Whole(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, decoder_input_ids):
        return self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            use_cache=False,
        ).logits


def export(module, folder, opset):
    # The older exporter gives a module back in the mode that it came in.
    module.eval()
    inputs = ["input_ids", "attention_mask", "decoder_input_ids"]
    output = "logits"
    if isinstance(module, Encoder):
        inputs, output = inputs[:2], "last_hidden_state"
    ids = torch.randint(3, 90, (2, 7))
    given = dict(zip(inputs, (ids, torch.ones_like(ids), ids[:, :5])))
    dims = [torch.export.Dim(name, min=2) for name in ("batch", "length", "written")]
    sizes = [{0: dims[0], 1: dims[2 if name.startswith("decoder") else 1]} for name in inputs]
    kind = {"dynamo": True, "dynamic_shapes": tuple(sizes), "external_data": False}
    if opset < 18:
        kind = {
            "dynamo": False,
            "dynamic_axes": {name: {0: "batch", 1: "length"} for name in inputs},
        }
    torch.onnx.export(
        module,
        tuple(given.values()),
        str(folder / "model.onnx"),
        opset_version=opset,
        input_names=inputs,
        output_names=[output],
        **kind,
    )
    # Notes of the exporter about its own machine.
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    for place in [*graph.node, *graph.input, *graph.output, *graph.value_info]:
        place.doc_string = ""
        del place.metadata_props[:]
    onnx.save(model, folder / "model.onnx")


@torch.no_grad()
def write_encoder(model, folder, opset):
    export(Encoder(model), folder, opset)
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(2, model.config.vocab_size, (2, 11), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    numpy.savez(folder / "expected.npz", encoder_output=states.numpy())
    expected = {"input_ids": ids.tolist(), "attention_mask": mask.tolist()}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    (folder / "config.json").write_text(model.config.to_json_string())


def main(fixtures):
    model = make_model(96)
    model.config._attn_implementation = "eager"
    encoder = T5EncoderModel(model.config).eval()
    encoder.load_state_dict(model.state_dict(), strict=False)
    encoder.config.architectures = ["T5EncoderModel"]
    for name, opset in ("encoder__dy23", 23), ("encoder__ts", 17), ("t5v10__dy23_whole", 23):
        folder = fixtures / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if name.startswith("encoder"):
            write_encoder(encoder, folder, opset)
        else:
            model.config.architectures = ["T5ForConditionalGeneration"]
            export(Whole(model), folder, opset)
            write_expectations(model, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
