"""The options of a generation with their types, for editors and type checkers."""

from typing import (
    Any,
    Callable,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypedDict,
    Union,
)

from ._inputs import Tokens
from .results import LogitsView


class GenerateOptions(TypedDict, total=False):
    """The keyword arguments of `Model.generate`, but for `num_return_sequences`.

    None, like leaving one out, means the model's default: what its files say
    (`Model.generation`), else the library's. An empty list sets none. docs/decoding.md
    explains each.
    """

    max_new_tokens: Optional[int]
    min_new_tokens: Optional[int]
    num_beams: Optional[int]
    num_beam_groups: Optional[int]
    diversity_penalty: Optional[float]
    length_penalty: Optional[float]
    early_stopping: Union[bool, Literal["never"], None]
    do_sample: Optional[bool]
    seed: Optional[int]
    temperature: Optional[float]
    top_k: Optional[int]
    top_p: Optional[float]
    min_p: Optional[float]
    typical_p: Optional[float]
    epsilon_cutoff: Optional[float]
    eta_cutoff: Optional[float]
    repetition_penalty: Optional[float]
    encoder_repetition_penalty: Optional[float]
    no_repeat_ngram_size: Optional[int]
    encoder_no_repeat_ngram_size: Optional[int]
    bad_words_ids: Optional[Sequence[Sequence[int]]]
    banned_phrases: Union[str, Sequence[str], None]
    force_words_ids: Optional[Sequence[Tokens]]
    sequence_bias: Union[
        Mapping[Tuple[int, ...], float], Sequence[Tuple[Sequence[int], float]], None
    ]
    suppress_tokens: Optional[Sequence[int]]
    begin_suppress_tokens: Optional[Sequence[int]]
    forced_bos_token_id: Optional[int]
    forced_eos_token_id: Optional[int]
    eos_token_id: Union[int, Sequence[int], None]
    stop_strings: Union[str, Sequence[str], None]
    prefix_ids: Optional[Sequence[int]]
    prefixes: Optional[Sequence[Sequence[int]]]
    num_alternatives: Optional[int]
    cross_attention: Optional[bool]
    prompt_lookup_num_tokens: Optional[int]
    max_matching_ngram_size: Optional[int]
    max_batch_tokens: Optional[int]
    log_probs: Optional[bool]
    on_token: Optional[Callable[[int, int, float, str], Any]]
    logits_processor: Optional[Callable[[LogitsView], Any]]
    prefix_allowed_tokens_fn: Optional[Callable[[int, List[int]], Optional[Sequence[int]]]]
    progress: Union[bool, Callable[[int, int], Any], None]
