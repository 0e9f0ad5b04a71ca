"""Greedy and beam search by transformers, one input at a time, so that nothing is padded."""

import torch


def encoded(model, input_ids):
    """The encoder's output, [ids, d_model]."""
    with torch.no_grad():
        return model.encoder(input_ids=torch.tensor([input_ids])).last_hidden_state[0]


def forced_logits(model, input_ids, output_ids):
    """The logits that predict each id of `output_ids` after the ones before: [ids, vocabulary]."""
    shifted = [model.config.decoder_start_token_id, *list(output_ids[:-1])]
    with torch.no_grad():
        return model(
            input_ids=torch.tensor([input_ids]), decoder_input_ids=torch.tensor([shifted])
        ).logits[0]


def generated(model, input_ids, max_new_tokens, num_beams=1):
    """New ids, the end included if it was reached; the start token is left out.

    transformers sizes its cache by the encoder's layers, so it works only for equal stacks.
    """
    config = model.config
    with torch.no_grad():
        ids = model.generate(
            torch.tensor([input_ids]),
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            do_sample=False,
            length_penalty=1.0,
            early_stopping=False,
            use_cache=config.num_layers == config.num_decoder_layers,
        )[0].tolist()[1:]
    end = config.eos_token_id
    return ids[: ids.index(end) + 1] if end in ids else ids


def scored(logits, output_ids):
    """Per id: its log-probability, and by how much the best id leads the second best."""
    log_p = torch.log_softmax(logits, dim=-1)
    best = log_p.topk(2, dim=-1).values
    return log_p[range(len(output_ids)), list(output_ids)], best[:, 0] - best[:, 1]
