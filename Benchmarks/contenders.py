#!/usr/bin/env python3
"""One library on one checkpoint, in a process of its own.

    contenders.py KIND FOLDER PRECISION THREADS

Opens, prints what that took, then answers one JSON request a line with one JSON line. The
work of a request is in `work.py`; it is the same for every kind.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, Dict, List

from measuring import kib


class Unsay:
    """This library, on Optimum's files."""

    precisions: ClassVar[Dict[str, str]] = {"float32": "f32", "bf16": "bf16", "int8": "int8"}

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import unsay

        self.model = unsay.open(
            folder / "onnx", threads=threads, compute=self.precisions[precision]
        )
        self.precision = precision

    def encode(self, inputs: List[List[int]]) -> None:
        self.model.embed(inputs)

    def generate(self, inputs: List[List[int]], least: int, most: int, beams: int) -> List[int]:
        outputs = self.model.generate(
            inputs, min_new_tokens=least, max_new_tokens=most, num_beams=beams, log_probs=False
        )
        return [len(output.ids) for output in outputs]

    def train(self, pairs: list, precision: str) -> Any:
        """A session whose every step is one batch, without clipping; returns the step."""
        patch = self.model.patch(
            loss="ff", optimizer="adafactor", learning_rate=1e-4, scope="all", alpha=1.0,
            gradient_clip=0.0, batch_size=len(pairs), compute=self.precisions[precision],
        )  # fmt: skip
        for source, target, marks in pairs:
            patch.add(source, target, marks=marks)
        return patch.step


class CTranslate2:
    precisions: ClassVar[Dict[str, str]] = {"float32": "float32", "int8": "int8"}

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import ctranslate2

        self.model = ctranslate2.Translator(
            str(folder / "ctranslate2"), compute_type=self.precisions[precision],
            intra_threads=threads, inter_threads=1,
        )  # fmt: skip

    def generate(self, inputs: List[List[int]], least: int, most: int, beams: int) -> List[int]:
        tokens = [[f"<{index}>" for index in source] for source in inputs]
        results = self.model.translate_batch(
            tokens, beam_size=beams, min_decoding_length=least, max_decoding_length=most,
            max_input_length=0,
        )  # fmt: skip
        return [len(result.hypotheses[0]) for result in results]


class Transformers:
    """What Optimum and transformers share: padded batches and `generate`."""

    model: Any

    @staticmethod
    def padded(inputs: List[List[int]]) -> Dict[str, Any]:
        import torch

        longest = max(map(len, inputs))
        ids = [source + [0] * (longest - len(source)) for source in inputs]
        mask = [[1] * len(source) + [0] * (longest - len(source)) for source in inputs]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}

    def generate(self, inputs: List[List[int]], least: int, most: int, beams: int) -> List[int]:
        import torch

        with torch.no_grad():
            outputs = self.model.generate(
                **self.padded(inputs), min_new_tokens=least, max_new_tokens=most,
                num_beams=beams, do_sample=False,
            )  # fmt: skip
        return [int((row[1:] != 0).sum()) if least == 0 else most for row in outputs]


class OnnxRuntime(Transformers):
    precisions: ClassVar[Dict[str, str]] = {"float32": "float32"}

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import onnxruntime
        from optimum.onnxruntime import ORTModelForSeq2SeqLM

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.model = ORTModelForSeq2SeqLM.from_pretrained(
            folder / "onnx", session_options=options, use_io_binding=False
        )

    def encode(self, inputs: List[List[int]]) -> None:
        self.model.encoder(**self.padded(inputs))


class Torch(Transformers):
    precisions: ClassVar[Dict[str, str]] = {"float32": "float32", "bf16": "bf16"}

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        import torch
        from transformers import T5ForConditionalGeneration

        torch.set_num_threads(threads)
        self.model = T5ForConditionalGeneration.from_pretrained(
            folder / "torch", torch_dtype=torch.bfloat16 if precision == "bf16" else torch.float32
        ).eval()

    def encode(self, inputs: List[List[int]]) -> None:
        import torch

        with torch.no_grad():
            self.model.encoder(**self.padded(inputs))

    def train(self, pairs: list, precision: str) -> Any:
        """The published method: the frozen model runs beside the trained one in every step."""
        import copy

        import torch
        from transformers import Adafactor

        model, reference = self.model, copy.deepcopy(self.model)
        optimizer = Adafactor(
            model.parameters(), lr=1e-4, relative_step=False, scale_parameter=True,
            warmup_init=False,
        )  # fmt: skip
        batch = self.padded([source for source, _, _ in pairs])
        longest = max(len(target) for _, target, _ in pairs)
        labels = torch.tensor([t + [0] * (longest - len(t)) for _, t, _ in pairs])
        marks = torch.tensor([m + [0] * (longest - len(m)) for _, _, m in pairs])
        decoder_ids = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], 1)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                with torch.no_grad():
                    q = reference(**batch, decoder_input_ids=decoder_ids).logits
                z = model(**batch, decoder_input_ids=decoder_ids).logits
            chosen = marks != 0
            q, log_p = q[chosen].float(), z[chosen].float().log_softmax(-1)
            avoided = (marks[chosen] < 0).unsqueeze(1)
            written = torch.zeros_like(q, dtype=torch.bool)
            written.scatter_(1, labels[chosen].unsqueeze(1), True)
            q = q.masked_fill(avoided & written, float("-inf")).softmax(-1)
            loss = (torch.xlogy(q, q) - q * log_p).sum(-1).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step


KINDS = {
    "unsay": Unsay, "ctranslate2": CTranslate2, "onnxruntime": OnnxRuntime, "torch": Torch,
}  # fmt: skip
MODULES = {"onnxruntime": "optimum.onnxruntime", "torch": "transformers"}


def main() -> None:
    kind, folder, precision, threads = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    # Answers go to the pipe; whatever libraries print goes elsewhere.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from work import run

    __import__(MODULES.get(kind, kind))
    before, started = kib("VmRSS"), time.perf_counter()
    contender = KINDS[kind](folder, precision, int(threads))
    opened = {
        "seconds": time.perf_counter() - started,
        "resident": (kib("VmRSS") - before) * 1024,
        "peak": (kib("VmHWM") - before) * 1024,
    }
    print(json.dumps(opened), file=answers, flush=True)
    steps: Dict[str, Any] = {}
    for line in sys.stdin:
        gc.collect()
        print(json.dumps(run(contender, json.loads(line), steps)), file=answers, flush=True)


if __name__ == "__main__":
    main()
