"""Writes the fixtures that only onnxruntime's own T5 converter makes.

    python make_runtime_exports.py Tests/Fixtures

Needs torch, onnx, onnxruntime and transformers 4.44.2: with later ones the converter of
onnxruntime 1.32 cannot trace the decoder. Three folders, each with expected.npz and
expected.json as in the other fixtures:

- `t5v10__ort`: an encoder, which holds the decoder's cross-attention keys and values, and a
  decoder;
- `t5v10__ort_init`: an encoder with the decoder's first step, and a decoder;
- `t5v10__ort_beam`: one file with one BeamSearch node, whose sub-graphs share their large
  tensors in the main graph.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from transformers import T5Config, T5ForConditionalGeneration

CONVERTERS = "onnxruntime.transformers"


def make_model(vocab_size):
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=vocab_size,
        d_model=32,
        d_kv=8,
        num_heads=4,
        d_ff=48,
        num_layers=1,
        num_decoder_layers=2,
        feed_forward_proj="relu",
        decoder_start_token_id=0,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=20,
        architectures=["T5ForConditionalGeneration"],
    )
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" in name:
                weight.uniform_(0.5, 1.5)
            elif "shared" in name or "relative" in name:
                weight.normal_(0, 0.3)
            else:
                weight.normal_(0, weight.shape[-1] ** -0.5)
    return model


def greedy(model, ids, mask, steps=12):
    """Argmax steps; the end of a sequence does not stop them."""
    written = torch.zeros((len(ids), 1), dtype=torch.long)
    for _ in range(steps):
        logits = model(
            input_ids=ids, attention_mask=mask, decoder_input_ids=written, use_cache=False
        ).logits
        written = torch.cat([written, logits[:, -1:].argmax(-1)], 1)
    return written


@torch.no_grad()
def write_expectations(model, folder):
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(2, model.config.vocab_size, (2, 11), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    ids[1, 7:] = 0
    given = torch.randint(2, model.config.vocab_size, (2, 7), generator=generator)
    given[:, 0] = 0
    output = model(input_ids=ids, attention_mask=mask, decoder_input_ids=given, use_cache=False)
    numpy.savez(
        folder / "expected.npz",
        input_ids=ids.numpy(),
        attention_mask=mask.numpy(),
        decoder_input_ids=given.numpy(),
        encoder_output=output.encoder_last_hidden_state.numpy(),
        decoder_logits=output.logits.numpy(),
        greedy_ids=greedy(model, ids, mask).numpy(),
    )
    expected = {
        "input_ids": ids.tolist(),
        "attention_mask": mask.tolist(),
        "decoder_input_ids": given.tolist(),
    }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    (folder / "config.json").write_text(model.config.to_json_string())


def run(*arguments):
    subprocess.run([sys.executable, "-m", *arguments], check=True, stdout=subprocess.DEVNULL)


def finished(target, model, *files):
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in files:
        shutil.copy(file, target / file.name.replace("_t5", ""))
    write_expectations(model, target)


def main(fixtures):
    small, large = make_model(96), make_model(1000)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        small.save_pretrained(scratch / "small")
        # Tensors whose dims sum to 1024 or more are shared between the sub-graphs.
        large.save_pretrained(scratch / "large")
        convert = f"{CONVERTERS}.models.t5.convert_to_onnx"
        run(convert, "-m", scratch / "small", "--output", scratch / "plain")
        run(
            convert, "-m", scratch / "small", "--output", scratch / "init", "--encoder_decoder_init"
        )
        run(
            convert, "-m", scratch / "large", "--output", scratch / "beam", "--encoder_decoder_init"
        )
        # The tokenizer is loaded for a sample that the tool prints, after the file is made.
        subprocess.run(
            [sys.executable, "-m", f"{CONVERTERS}.convert_generation", "-m", scratch / "large",
             "--model_type", "t5", "--output", scratch / "large_beam_search.onnx",
             "--encoder_decoder_init_onnx",
             scratch / "beam/large_encoder_decoder_init.onnx",
             "--decoder_onnx", scratch / "beam/large_decoder.onnx",
             "--num_beams", "1", "--max_length", "12", "--disable_perf_test",
             "--disable_parity"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        finished(fixtures / "t5v10__ort", small, *sorted((scratch / "plain").glob("*.onnx")))
        finished(fixtures / "t5v10__ort_init", small, *sorted((scratch / "init").glob("*.onnx")))
        finished(fixtures / "t5v10__ort_beam", large, scratch / "large_beam_search.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
