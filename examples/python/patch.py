#!/usr/bin/env python3
"""Makes a model unsay a phrase that it writes for an input, and nothing else.

python examples/python/patch.py models/debsum patched "summarize: ..." --avoid simple
"""

import argparse
import sys

import unsay


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a model unsay a phrase.")
    parser.add_argument("model", help="a model folder")
    parser.add_argument("patched", help="the folder to write")
    parser.add_argument("text", help="an input whose output has the phrase")
    parser.add_argument("--avoid", required=True, metavar="PHRASE")
    parser.add_argument("--guard", nargs="*", default=[], help="inputs that must not change")
    parser.add_argument("--max-steps", type=int, default=40)
    arguments = parser.parse_args()

    with unsay.open(arguments.model) as model:
        before = model.generate(arguments.text, max_new_tokens=32)
        print(f"before: {before}")
        held = model.generate(arguments.guard, max_new_tokens=32)
        with model.patch() as patch:
            patch.add(arguments.text, before, avoid=[arguments.avoid])
            patch.guard(zip(arguments.guard, held))
            report = patch.run(max_steps=arguments.max_steps, evaluate_every=1, progress=True)
            print(report)
            if report.ending != "goal":
                print("the goal was not met: the model is unchanged")
                return 1
            patch.commit()
        print(f"after:  {model.generate(arguments.text, max_new_tokens=32)}")
        model.save(arguments.patched)
    return 0


if __name__ == "__main__":
    sys.exit(main())
