"""debsum's vocabulary: SentencePiece unigram pieces with T5's ids, of the training pairs.

python -m paper.vocabulary build/debsum/train.jsonl build/debsum/spiece.model
"""

import argparse
from pathlib import Path
from typing import Iterator

from .store import read_lines

PIECES = 8000


def make(train: Path, target: Path) -> None:
    """Writes the vocabulary of a file of pairs; the same pairs make the same pieces."""
    import sentencepiece

    def sentences() -> Iterator[str]:
        for pair in read_lines(train):
            yield pair["input"]
            yield pair["target"]

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(), model_prefix=str(target.with_suffix("")),
        vocab_size=PIECES, model_type="unigram", character_coverage=0.9998, byte_fallback=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>",
        unk_piece="<unk>", normalization_rule_name="nmt_nfkc", add_dummy_prefix=True,
        remove_extra_whitespaces=True, max_sentence_length=8192, num_threads=2,
        seed_sentencepiece_size=200000, minloglevel=1,
    )  # fmt: skip
    target.with_suffix(".vocab").unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    make(options.train, options.target)


if __name__ == "__main__":
    main()
