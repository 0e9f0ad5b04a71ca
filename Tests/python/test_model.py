"""Opening, generating, scoring, tokens, and looking inside."""

import gc
import threading

import numpy
import pytest
import unsay
from conftest import MODELS

TEXT = "summarize: a small library for reading files"


def test_a_text_gives_an_output_and_a_list_gives_a_list(model):
    one = model.generate(TEXT, max_new_tokens=8)
    many = model.generate([TEXT, "files"], max_new_tokens=8)
    assert isinstance(one, unsay.Output) and str(one) == one.text
    assert len(many) == 2 and many[0] == one
    assert model.generate([]) == []


def test_ids_stand_for_their_text(model):
    ids = model.encode(TEXT).ids
    by_text = model.generate(TEXT, max_new_tokens=8)
    assert model.generate(ids, max_new_tokens=8) == by_text
    assert model.generate(numpy.array(ids), max_new_tokens=8) == by_text
    assert model.generate([ids, TEXT], max_new_tokens=8) == [by_text, by_text]


def test_an_output_depends_on_nothing_but_its_own_input(model):
    texts = [TEXT, "a", "a library", TEXT * 3, "files for reading and writing"]
    batch = model.generate(texts, max_new_tokens=12)
    alone = [model.generate(text, max_new_tokens=12) for text in texts]
    assert batch == alone
    with unsay.open(MODELS / "tiny-v10", threads=1) as single:
        assert single.generate(texts, max_new_tokens=12) == batch


def test_an_output_ends_with_the_end_or_at_the_limit(model):
    for output in model.generate([TEXT, "files"], max_new_tokens=5):
        assert 1 <= len(output.ids) <= 5
        assert len(output.log_probs) == len(output.ids)
        ended = output.ids[-1] == model.info.eos_token_id
        assert output.finish == ("end" if ended else "length")


def test_scoring_an_output_gives_the_probabilities_it_was_written_with(model):
    output = model.generate(TEXT, max_new_tokens=8)
    scored = model.score(TEXT, output)
    assert scored.finish == "given" and scored.ids == output.ids
    assert scored.log_probs == pytest.approx(output.log_probs, abs=1e-4)
    assert scored.total == pytest.approx(sum(output.log_probs), abs=1e-3)
    assert model.score([TEXT, TEXT], [output, output.ids]) == [scored, scored]


def test_logits_are_a_float32_matrix_that_numpy_takes_as_it_is(model):
    output = model.generate(TEXT, max_new_tokens=8)
    logits = numpy.asarray(model.logits(TEXT, output))
    assert logits.dtype == numpy.float32
    assert logits.shape == (len(output.ids), model.info.vocab_size)
    assert logits.argmax(axis=1).tolist() == output.ids
    normalised = logits - numpy.logaddexp.reduce(logits.astype(numpy.float64), axis=1)[:, None]
    chosen = normalised[numpy.arange(len(output.ids)), output.ids]
    assert chosen == pytest.approx(output.log_probs, abs=1e-4)


def test_encoder_states_have_a_row_for_each_id(model):
    states = numpy.asarray(model.encoder_states(TEXT))
    assert states.shape == (len(model.encode(TEXT).ids), model.info.d_model)
    assert numpy.isfinite(states).all()


def test_encoding_and_decoding_undo_each_other(model):
    encoding = model.encode("reading files")
    assert encoding.ids[-1] == model.info.eos_token_id
    assert model.decode(encoding.ids) == "reading files"
    assert model.decode([]) == ""
    assert model.piece(encoding.ids[0]) and model.piece(-1) is None


def test_spans_count_characters_not_bytes(model):
    text = "für naïve Leser"
    spans = model.encode(text).spans
    assert spans[0][0] == 0 and spans[-2][1] == len(text)
    for (_, end), (begin, _) in zip(spans, spans[1:-1]):
        assert 0 <= begin <= len(text) and end <= len(text)
    assert "".join(text[begin:end] for begin, end in spans).replace(" ", "") == text.replace(
        " ", ""
    )


def test_weights_have_the_names_and_shapes_of_the_state_dict(model):
    tensors = model.tensors()
    info = model.info
    assert tensors[0] == unsay.TensorInfo("shared.weight", (info.vocab_size, info.d_model))
    assert len(tensors) == info.tensor_count
    assert sum(int(numpy.prod(tensor.shape)) for tensor in tensors) == info.parameter_count
    table = numpy.asarray(model.tensor("shared.weight"))
    assert table.shape == tensors[0].shape and numpy.isfinite(table).all()


def test_a_clone_and_a_model_from_memory_have_the_same_weights(model):
    files = {path.name: path.read_bytes() for path in (MODELS / "tiny-v10").iterdir()}
    with model.clone() as twin, unsay.open_buffers(files) as copy:
        assert twin.fingerprint() == model.fingerprint() == copy.fingerprint()
        assert copy.generate(TEXT, max_new_tokens=4) == model.generate(TEXT, max_new_tokens=4)


def test_a_model_serves_many_threads_at_once(model):
    expected = model.generate(TEXT, max_new_tokens=8)
    outputs = [None] * 8

    def work(index):
        outputs[index] = model.generate(TEXT, max_new_tokens=8)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(outputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == [expected] * len(outputs)


def test_closing_twice_is_fine_and_using_a_closed_model_is_not():
    model = unsay.open(MODELS / "tiny-v10")
    patch = model.patch()
    model.close()
    model.close()
    with pytest.raises(ValueError, match="the model is closed"):
        model.generate(TEXT)
    patch.close()
    assert "closed" in repr(model)
    del model, patch
    gc.collect()


def test_the_second_family_generates_too():
    with unsay.open(MODELS / "tiny-v11") as model:
        assert model.info.is_gated
        assert len(model.generate(TEXT, max_new_tokens=6).ids) >= 1
