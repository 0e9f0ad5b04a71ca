"""The two losses of the training goldens, in their exact form, as plain as they can be written.

z, reference: logits of the trained model p and of the reference q, [tokens, vocabulary].
targets, marks: [tokens]. Each function gives one loss a token; 0 where the mark is 0.
"""

import torch


def likelihood(z, reference, targets, marks, alpha):
    """-log p of the written token, whatever the sign of its mark."""
    log_p = torch.log_softmax(z, dim=-1)
    return torch.where(marks != 0, -log_p.gather(1, targets[:, None])[:, 0], 0.0)


def forward_forward(z, reference, targets, marks, alpha):
    """alpha KL(q' | p) where the written token is avoided, KL(q | p) where it is kept.

    q' is q without the written token, the rest rescaled to sum to 1 (retain is 0).
    """
    log_p = torch.log_softmax(z, dim=-1)
    written = torch.zeros_like(z, dtype=torch.bool).scatter_(1, targets[:, None], True)
    avoided = (marks < 0)[:, None]
    log_q = torch.log_softmax(reference.masked_fill(written & avoided, -torch.inf), dim=-1)
    q = log_q.exp()
    kl = torch.where(q > 0, q * (log_q - log_p), 0.0).sum(dim=-1)
    return torch.where(marks < 0, alpha * kl, torch.where(marks > 0, kl, 0.0))


def mean_per_marked_token(losses, marks):
    """alpha weighs a token's loss, never how much the token counts."""
    return losses.sum() / (marks != 0).sum()
