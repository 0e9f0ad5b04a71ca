#!/usr/bin/env python3
"""Makes the tiny random T5 models under Tests/Models, in the layouts Optimum exports.

    tiny-v10, tiny-v10-reference   relu, tied head; encoder_model + decoder_model_merged
    tiny-v11, tiny-v11-reference   gated gelu, own head; encoder_model + decoder_model +
                                   decoder_with_past_model

A reference is its model with a little noise on every weight. The inner size (3 heads of
8) differs from d_model (32), so that a transposed weight cannot pass; every norm differs
from 1 and no two weights are alike. A seed is taken when greedy outputs vary, end at
different lengths and nowhere hang on a near-tie.

    python3 make_models.py

Needs torch, transformers, onnx, sentencepiece and optimum-onnx (0.1.0 with torch 2.15 and
transformers 4.57 made the committed files). A newer exporter will write other bytes, and
the goldens made from these models must then be made again.
"""

import json
import shutil
import tempfile
from pathlib import Path

import checkpoint
import onnx
import sentencepiece
import torch
from decoding import forced_logits, generated, scored
from optimum.exporters.onnx import main_export
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "Tests/Models"
TEXTS = ROOT / "models/debsum/held_out.jsonl"
VOCABULARY = 300
MAX_NEW_TOKENS = 24
NOISE = 0.05  # of a weight's own root mean square, between a model and its reference

COMMON = dict(
    vocab_size=VOCABULARY,
    d_model=32,
    d_kv=8,
    num_heads=3,
    d_ff=48,
    num_layers=2,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
    layer_norm_epsilon=1e-6,
    dropout_rate=0.1,
    pad_token_id=0,
    eos_token_id=1,
    decoder_start_token_id=0,
)
FAMILIES = {
    "tiny-v10": dict(COMMON, num_decoder_layers=2, feed_forward_proj="relu"),
    "tiny-v11": dict(
        COMMON, num_decoder_layers=3, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
}
KEPT_FILES = {
    "tiny-v10": ["encoder_model.onnx", "decoder_model_merged.onnx"],
    "tiny-v11": ["encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"],
}


def train_pieces(target):
    """A unigram vocabulary with T5's ids. No normaliser: its table alone takes 240 kB."""
    rows = checkpoint.load_lines(TEXTS)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([row[key] for row in rows for key in ("input", "target")]),
        model_prefix=str(target / "spiece"),
        vocab_size=VOCABULARY,
        model_type="unigram",
        character_coverage=0.999,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        pad_piece="<pad>",
        eos_piece="</s>",
        unk_piece="<unk>",
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=1,
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(target / "spiece.model"))


def spread(name, weight):
    """The standard deviation that keeps activations near 1 and logits a few units apart."""
    if name == "shared.weight":
        return 0.25  # small beside what the layers add: else each token repeats itself
    if "relative_attention_bias" in name:
        return 1.0
    gain = 3.0 if name == "lm_head.weight" else 4.0 if name.endswith("o.weight") else 1.0
    return gain * weight.shape[1] ** -0.5


def random_model(config, seed):
    generator = torch.Generator().manual_seed(seed)
    model = T5ForConditionalGeneration(config)
    model.tie_weights()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" in name:
                weight.uniform_(0.5, 1.5, generator=generator)
            else:
                weight.normal_(0, spread(name, weight), generator=generator)
        if config.tie_word_embeddings:
            model.decoder.final_layer_norm.weight.mul_(12)  # logits of h / sqrt(d_model)
        model.lm_head.weight[config.eos_token_id] *= 2  # or hardly any output would end
    return model.eval()


def noisy(model, config, seed):
    generator = torch.Generator().manual_seed(seed)
    copy = T5ForConditionalGeneration(config)
    copy.load_state_dict(model.state_dict())
    copy.tie_weights()
    with torch.no_grad():
        for weight in copy.parameters():
            scale = NOISE * weight.square().mean().sqrt()
            weight.add_(scale * torch.randn(weight.shape, generator=generator))
    return copy.eval()


def is_useful(model, inputs):
    """Whether greedy outputs differ, end at several lengths and never at a near-tie."""
    outputs = [generated(model, ids, MAX_NEW_TOKENS) for ids in inputs]
    margins = [scored(forced_logits(model, i, o), o)[1].min() for i, o in zip(inputs, outputs)]
    ended = {len(ids) for ids in outputs if ids[-1] == 1 and len(ids) > 1}
    varied = sum(len(set(ids)) for ids in outputs) / sum(len(ids) for ids in outputs)
    return (
        len({tuple(ids) for ids in outputs}) == len(inputs)
        and varied > 0.22
        and min(margins) > 0.003
        and len(ended) >= 2
        and any(ids[-1] != 1 for ids in outputs)
        and not any(0 in ids for ids in outputs)
    )


def trim(path):
    """Drops the exporter's notes on where each node came from: most of a tiny file."""
    model = onnx.load(path)

    def visit(graph):
        graph.doc_string = ""
        for node in graph.node:
            node.doc_string = ""
            node.ClearField("metadata_props")
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    visit(attribute.g)
        del graph.value_info[:]

    visit(model.graph)
    onnx.save(model, path)


def export(model, family, folder, pieces_file):
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / "model", Path(scratch) / "onnx"
        model.generation_config = GenerationConfig(
            decoder_start_token_id=0,
            eos_token_id=1,
            pad_token_id=0,
            max_new_tokens=MAX_NEW_TOKENS,
        )
        model.save_pretrained(source)
        main_export(
            str(source), str(out), task="text2text-generation-with-past", do_validation=False
        )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in KEPT_FILES[family] + ["config.json", "generation_config.json"]:
            shutil.copy(out / name, folder / name)
    shutil.copy(pieces_file, folder / "spiece.model")
    for path in folder.glob("*.onnx"):
        trim(path)
    stored, meant = checkpoint.state_dict(folder), dict(model.named_parameters())
    for name, weight in meant.items():
        assert torch.equal(stored[name], weight), f"{folder}: {name} was not exported as it is"


def main():
    with tempfile.TemporaryDirectory() as scratch:
        pieces = train_pieces(Path(scratch))
        rows = checkpoint.load_lines(TEXTS)
        inputs = checkpoint.cut_inputs(pieces, rows)
        for family, sizes in FAMILIES.items():
            config = T5Config(**sizes)
            seed = next(s for s in range(10_000) if is_useful(random_model(config, s), inputs))
            model = random_model(config, seed)
            print(json.dumps({"family": family, "seed": seed}))
            pieces_file = Path(scratch) / "spiece.model"
            export(model, family, MODELS / family, pieces_file)
            reference = noisy(model, config, seed + 1)
            export(reference, family, MODELS / f"{family}-reference", pieces_file)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
