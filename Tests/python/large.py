"""On demand (`make test-large`): a model of 2.6 GB, beyond what one protobuf message holds, with a
vocabulary of 250,112. Needs 16 GB of memory and 16 GB of disk, and takes minutes."""

import time

import numpy
import sized_model
import unsay
from unsay._runtime import Runtime

IDS, WRITTEN = [17, 4000, 249999, 1], [0, 5, 250000, 77]


def test_more_than_two_gigabytes_open_generate_train_and_save(tmp_path):
    folder = tmp_path / "model"
    weights = sized_model.make(folder, 250112, 1280, sized_model.FILES[:2])
    assert weights > 2.5e9
    seconds, grown = sized_model.opened(folder)
    print(
        f"\nopened {weights / 1e9:.2f} GB in {seconds:.1f} s, peak {grown / weights:.2f} times that"
    )
    assert grown < 1.15 * weights, f"{grown} bytes for {weights}"

    with unsay.open(folder) as model:
        assert (model.info.num_layers, model.info.num_decoder_layers) == (2, 3)
        output = model.generate(IDS, max_new_tokens=4, num_beams=2)
        assert len(output.ids) > 0
        original = model.fingerprint()
        model.save(tmp_path / "same")
        for path in folder.iterdir():
            copy = tmp_path / "same" / path.name
            assert copy.read_bytes() == path.read_bytes(), path.name
            copy.unlink()
        model.finetune([(IDS, output)], steps=1, learning_rate=1e-3)
        changed = model.fingerprint()
        assert changed != original
        started = time.perf_counter()
        model.save(folder)
        print(f"saved in place in {time.perf_counter() - started:.1f} s")
        ours = numpy.asarray(model.logits(IDS, [*WRITTEN[1:], 1]))
        info = model.info
    with unsay.open(folder) as saved:
        assert saved.fingerprint() == changed
    for way, theirs in Runtime(folder.rglob("*.onnx"), info).logits(IDS, WRITTEN).items():
        error = float(numpy.abs(theirs - ours).max() / (ours.max() - ours.min()))
        print(f"onnxruntime, {way}: {error:.1e} of the range of the logits")
        assert error < 1e-4, way
