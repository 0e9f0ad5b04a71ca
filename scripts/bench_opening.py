#!/usr/bin/env python3
"""Opens one checkpoint in this library, onnxruntime and CTranslate2, and only reads its bytes.

Makes a checkpoint of T5-base's sizes with random weights in FOLDER, unless it is there: an
Optimum export (encoder and merged decoder) and CTranslate2's conversion of the same weights.
Each opening runs in a process of its own, in turns; the bytes are in the page cache. Prints
the median and the best time, and by how much the peak of resident memory grew.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from measuring import kib

THREADS = 2


def make(folder: Path) -> None:
    import torch
    from optimum.exporters.onnx import main_export
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(1)
    config = T5Config(
        vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_heads=12, num_layers=12,
        num_decoder_layers=12, decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder / "torch")
    main_export(
        folder / "torch", folder / "onnx", task="text2text-generation-with-past",
        do_validation=False,
        library_name="transformers",
    )  # fmt: skip
    for name in ("decoder_model.onnx", "decoder_with_past_model.onnx"):
        (folder / "onnx" / name).unlink(missing_ok=True)
    # The converter wants a vocabulary; its content plays no part here.
    tokens = [f"<{index}>" for index in range(32128)]
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):  # type: ignore[misc]
        def load_tokenizer(self, *_: object, **__: object) -> object:
            class Vocabulary:
                eos_token, unk_token, pad_token = tokens[1], tokens[2], tokens[0]

                def get_vocab(self) -> dict:
                    return {token: index for index, token in enumerate(tokens)}

                def convert_ids_to_tokens(self, index: int) -> str:
                    return tokens[index]

            return Vocabulary()

    Converter(str(folder / "torch")).convert(str(folder / "ctranslate2"), force=True)


def files(folder: Path) -> list:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(folder: Path) -> list:
    """Reads every byte into memory of its own, with THREADS threads."""
    import numpy

    held = []

    def part(path: Path, begin: int, target: memoryview) -> None:
        with open(path, "rb", buffering=0) as file:
            file.seek(begin)
            while target:
                target = target[file.readinto(target) :]

    for path in files(folder):
        size = path.stat().st_size
        held.append(numpy.empty(size, numpy.uint8))
        whole = memoryview(held[-1])
        cuts = [size * index // THREADS for index in range(THREADS + 1)]
        workers = [
            threading.Thread(target=part, args=(path, begin, whole[begin:end]))
            for begin, end in zip(cuts, cuts[1:])
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return held


def open_as(kind: str, folder: Path) -> object:
    if kind == "read":
        return read(folder / "onnx")
    if kind == "unsay":
        import unsay

        return unsay.open(folder / "onnx", threads=THREADS)
    if kind == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        return [
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in sorted((folder / "onnx").glob("*.onnx"))
        ]
    import ctranslate2

    return ctranslate2.Translator(
        str(folder / "ctranslate2"), compute_type="float32", intra_threads=THREADS
    )


def child(kind: str, folder: Path) -> None:
    __import__({"read": "numpy"}.get(kind, kind))
    before, started = kib("VmRSS"), time.perf_counter()
    held = open_as(kind, folder)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, kib("VmHWM") - before]), flush=True)
    del held


def warm(size: int) -> None:
    """Has the system find `size` bytes of free memory, and the files in its cache."""
    memory = bytearray(size)
    memory[::4096] = b"1" * len(memory[::4096])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.folder)
    if not (options.folder / "ctranslate2/model.bin").exists():
        make(options.folder)
    size = sum(path.stat().st_size for path in files(options.folder / "onnx"))
    weights = (options.folder / "torch/model.safetensors").stat().st_size
    found: dict = {}
    for _ in range(options.rounds):
        for kind in ("read", "unsay", "onnxruntime", "ctranslate2"):
            for path in files(options.folder):
                path.read_bytes()
            warm(2 * size)
            command = [sys.executable, __file__, options.folder, "--child", kind]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.setdefault(kind, []).append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{size / 1e9:.2f} GB of .onnx files, {weights / 1e9:.2f} GB of float32 weights")
    print(f"{'':12} median s   best s   peak, of the weights")
    for kind, runs in found.items():
        times = [seconds for seconds, _ in runs]
        peak = statistics.median(grown for _, grown in runs) * 1024 / weights
        print(f"{kind:12} {statistics.median(times):8.2f} {min(times):8.2f} {peak:10.2f}")
    ratios = [a[0] / b[0] for a, b in zip(found["read"], found["unsay"])]
    print(
        f"reading alone takes {statistics.median(ratios):.0%} of the time of opening (median pair)"
    )


if __name__ == "__main__":
    main()
