#!/usr/bin/env python3
"""Generates an output for each text.

python examples/python/generate.py models/debsum "summarize: A library for CSV files."
"""

import argparse

import unsay


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate an output for each text.")
    parser.add_argument("model", help="a model folder")
    parser.add_argument("text", nargs="+")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    arguments = parser.parse_args()

    with unsay.open(arguments.model) as model:
        outputs = model.generate(arguments.text, max_new_tokens=arguments.max_new_tokens)
        for output in outputs:
            print(output)
            print(f"    {len(output.ids)} tokens, log-probability {output.total:.2f}")


if __name__ == "__main__":
    main()
