#!/usr/bin/env python3
"""Writes C that calls every function of include/unsay.h with every kind of bad argument.

    make_bad_arguments.py > build/test/bad_arguments_cases.c

Functions, parameters and fields of option structs are read from the header, so that a new one
cannot be forgotten: one whose good value is not known below ends this program. What the calls
work on, and what may be answered, is in bad_arguments.c.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

HEADER = Path(__file__).resolve().parents[2] / "include/unsay.h"

#: Good values of parameters, as C: by function and name, or by type.
GOOD = {
    ("unsay_status_name", "status"): "UNSAY_E_FORMAT",
    ("unsay_set_log", "log"): "log_nothing",
    ("unsay_set_log", "context"): "NULL",
    ("unsay_set_log", "minimum"): "UNSAY_LOG_WARNING",
    ("unsay_model_open", "folder"): "w->folder",
    ("unsay_model_save", "folder"): "w->saved_path",
    ("unsay_session_save", "path"): "w->state_path",
    ("unsay_session_load", "path"): "w->state_path",
    ("unsay_delta_open", "path"): "w->delta_path",
    ("unsay_delta_save", "path"): "w->delta_path",
    ("unsay_model_open_buffers", "count"): "w->file_count",
    ("unsay_encode", "text"): "w->text",
    ("unsay_encode", "text_size"): "5",
    ("unsay_decode", "count"): "3",
    ("unsay_decode", "text"): "w->bytes",
    ("unsay_token_piece", "id"): "5",
    ("unsay_token_losses", "tokens"): "2",
    ("unsay_token_losses", "vocab_size"): "3",
    ("unsay_token_losses", "targets"): "w->targets",
    ("unsay_token_losses", "reference"): "w->numbers + 8",
    ("unsay_token_losses", "losses"): "w->numbers + 16",
    ("unsay_token_losses", "gradient"): "w->numbers + 32",
    ("unsay_token_losses", "marks"): "w->given_marks",
    ("unsay_session_plan", "marks"): "w->planned",
    ("unsay_decode", "ids"): "w->given_ids",
    ("unsay_encode", "ids"): "w->ids",
    ("unsay_encode", "spans"): "w->spans",
    ("unsay_mark_spans", "spans"): "w->given_spans",
    ("unsay_mark_triple", "uses_corrected"): "w->ids",
    ("unsay_session_load", "steps"): "w->ids",
    ("unsay_finetune", "steps"): "1",
    ("unsay_delta_squash", "deltas"): "(const unsay_delta *const *)&w->delta",
    ("unsay_model_applied", "index"): "0",
    ("unsay_result_count", "input"): "0",
    ("unsay_result_get", "input"): "0",
    ("unsay_result_get", "rank"): "0",
    "const unsay_model *": "w->model",
    "unsay_model *": "w->model",
    "unsay_session *": "w->session",
    "const unsay_result *": "w->result",
    "const unsay_report *": "w->report",
    "const unsay_delta *": "w->delta",
    "unsay_model **": "&w->made_model",
    "unsay_session **": "&w->made_session",
    "unsay_result **": "&w->made_result",
    "unsay_report **": "&w->made_report",
    "unsay_delta **": "&w->made_delta",
    "const unsay_buffer *": "w->files",
    "const unsay_sequence *": "w->sequences",
    "const unsay_example *": "w->examples",
    "const char *const *": "w->phrases",
    "size_t *": "w->count",
    "float *": "w->numbers",
    "const float *": "w->numbers",
    "int8_t *": "w->marks",
    "int64_t *": "w->chosen",
    "uint8_t *": "w->digest",
    "unsay_ending *": "w->ending",
    "int32_t": "1",
    "uint32_t": "0",
    "float": "0.5f",
    "unsay_extent": "UNSAY_EXTENT_ALL",
    "unsay_converter": "UNSAY_NEGATIVE_DIFF",
    "unsay_loss": "UNSAY_LOSS_FF",
    "unsay_loss_form": "UNSAY_LOSS_EXACT",
    "capacity": "ROOM",
    "struct_size": "64",
    "size_t": "1",
}

#: Parameters that may be NULL, or whose value cannot be wrong.
OPTIONAL = {
    "options", "log", "context", "minimum", "status", "spans of unsay_encode",
    "gradient", "out of unsay_session_step", "out of unsay_session_plan",
    "count of unsay_session_plan", "steps of unsay_session_load", "ending", "chosen",
    "reference",
}  # fmt: skip

#: Whose value cannot be wrong, or does not count with the good values of the others.
LENIENT = {
    "capacity", "status", "minimum", "input of unsay_result_count",
    # A sequence with a text has no ids, and the other way round.
    "id_count", "output.text_size",
    # A guard's marks are ignored; fine-tuning is by likelihood.
    "mark_count of unsay_session_add_guard", "also_avoid_count of unsay_session_add_guard",
    "loss of unsay_finetune", "form of unsay_finetune",
    }  # fmt: skip

#: What a message may call a parameter or field instead.
ALSO = {
    "text_size": ["text"],
    "count": ["inputs", "examples", "files", "ids", "deltas", "outputs", "guard", "need"],
    "phrase_count": ["phrases"],
    "span_count": ["spans"],
    "tokens": ["logits"],
    "vocab_size": ["logits", "targets"],
    "capacity": ["room"],
    "input": ["input", "hypothesis"],
    "rank": ["hypothesis"],
    "handles": ["deltas"],
    "input_count": ["inputs"],
    "id_count": ["ids", "empty", "marks"],
    "mark_count": ["marks"],
    "also_avoid_count": ["also_avoid"],
    "ids": ["sequences", "inputs", "input", "output", "corrected", "examples"],
    "learning_rate_count": ["learning_rate"],
    "learning_rates": ["learning_rate"],
    "alpha_count": ["alpha"],
    "alphas": ["alpha"],
    "size": ["bytes"],
    "name": ["files"],
    "bytes": ["files"],
    "micro_batch_size": ["batch"],
    "tensor_count": ["tensors"],
    "begin": ["spans"],
    "end": ["spans"],
    "eos_token_id_count": ["eos_token_ids"],
    "state_path": ["state_path", "path"],
    "save_every": ["save_every", "state_path"],
}

SIZES = ["0", "1", "SIZE_MAX", "SIZE_MAX - 1", "SIZE_MAX / 2", "SIZE_MAX / 2 + 1",
         "SIZE_MAX / 4", "(size_t)1 << 60"]  # fmt: skip
INTEGERS = ["INT32_MIN", "-2", "-1", "0", "1", "7", "INT32_MAX"]
VALUES = {
    "size_t": SIZES,
    "int32_t": INTEGERS,
    "uint32_t": ["0", "1", "UINT32_MAX"],
    "uint64_t": ["0", "UINT64_MAX"],
    "float": ["NAN", "-NAN", "INFINITY", "-INFINITY", "-1", "0", "1e-45f", "1", "FLT_MAX"],
}
STRUCT_SIZES = ["0", "1", "7", "8", "SIZE - 1", "SIZE", "SIZE + 8", "4096", "4097", "SIZE_MAX"]


@dataclass
class Variable:
    """A parameter of a function, or a field of a struct."""

    type: str
    name: str


def declared(text: str) -> Variable:
    text = " ".join(text.split())
    text = re.sub(r"(\w+)\[\w*\]$", r"*\1", text)
    match = re.fullmatch(r"(.*?)(\w+)", text)
    assert match, text
    return Variable(match[1].strip(), match[2])


def code_of_header() -> str:
    code = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    return re.sub(r"^#.*$", "", code, flags=re.MULTILINE)


def functions(code: str) -> dict[str, tuple[str, list[Variable]]]:
    pattern = r"UNSAY_API\s+(?:UNSAY_MUST_CHECK\s+)?([^;({]*?)\b(unsay_\w+)\s*\(([^;]*?)\)\s*;"
    found = {}
    for returned, name, parameters in re.findall(pattern, code):
        parts = [] if parameters.strip() == "void" else parameters.split(",")
        found[name] = (returned.strip(), [declared(part) for part in parts])
    return found


def structs(code: str) -> dict[str, list[Variable]]:
    found = {}
    for name, body in re.findall(r"typedef struct (unsay_\w+) \{(.*?)\} \1;", code, re.DOTALL):
        fields = []
        for line in body.split(";"):
            if not line.strip():
                continue
            first, *more = [part.strip() for part in line.split(",")]
            field = declared(first)
            base = field.type.rstrip("* ") if more else ""
            fields += [field] + [declared(f"{base} {part}") for part in more]
        found[name] = fields
    return found


def enums(code: str) -> set[str]:
    return set(re.findall(r"typedef enum (unsay_\w+) \{", code))


class Writer:
    def __init__(self) -> None:
        code = code_of_header()
        self.functions = functions(code)
        self.structs = structs(code)
        self.enums = enums(code)

    def good(self, function: str, variable: Variable) -> str:
        stem = variable.type.removeprefix("const ").rstrip("* ")
        if function.endswith("_init") and variable.name == "options":
            return "(void *)w->roomy"
        for key in ((function, variable.name), variable.name, variable.type):
            if key in GOOD:
                return GOOD[key]
        if stem in self.structs:
            return f"good_{stem}(w)"
        sys.exit(f"make_bad_arguments.py: no good value of {variable} of {function}")

    def values(self, kind: str) -> list[str]:
        if kind in self.enums:
            return [f"({kind}){value}" for value in (-1, 1, 99, "INT32_MAX")]
        return VALUES.get(kind, [])

    def case(self, function: str, what: str, value: str, lines: list[str]) -> None:
        """One call: `what` of the arguments is `value`."""
        name = re.split(r"->|\.", what)[-1]
        names = " ".join([name, name.removesuffix("_count"), *ALSO.get(name, [])])
        fails = self.must_fail(function, what, name, value)
        print(f'    if (begin_case(w, "{function}", "{what} = {value}")) {{')
        print(f"        arguments_of_{function} a = good_arguments_of_{function}(w);")
        for line in lines:
            print(f"        {line}")
        print(f'        end_case(w, {int(fails)}, "{names}", call_{function}(w, &a));')
        print("    }")

    def must_fail(self, function: str, what: str, name: str, value: str) -> bool:
        """Whether no answer but a failure is right; otherwise anything sound is."""
        path = what.split("->")[-1]
        if path in LENIENT or name in LENIENT or f"{name} of {function}" in LENIENT or function.endswith("_init"):
            return False
        if name == "struct_size":
            return value in ("0", "1", "7", "4097", "SIZE_MAX")
        is_optional = name in OPTIONAL or f"{name} of {function}" in OPTIONAL
        if value == "NULL":
            return "->" not in what and not is_optional
        huge = value in SIZES[3:] or (value == "SIZE_MAX" and name != "text_size")
        foreign = re.fullmatch(r"\(unsay_\w+\)(-1|99|INT32_MAX)", value) is not None
        return value.endswith("NAN") or huge or foreign or value in ("bad_options(w)", "newer")

    def write_call(self, function: str) -> None:
        returned, parameters = self.functions[function]
        print(f"typedef struct arguments_of_{function} {{")
        for p in parameters or [Variable("int", "none")]:
            print(f"    {p.type} {p.name};")
        print(f"}} arguments_of_{function};\n")
        print(f"static arguments_of_{function} good_arguments_of_{function}(world *w) {{")
        print(f"    (void)w;\n    arguments_of_{function} a = {{0}};")
        consumes = function.endswith(("_close", "_free"))
        for p in parameters:
            print(f"    a.{p.name} = {'NULL' if consumes else self.good(function, p)};")
        print("    return a;\n}\n")
        print(f"static answer call_{function}(world *w, arguments_of_{function} *a) {{")
        print("    (void)w;\n    (void)a;")
        call = f"{function}({', '.join('a->' + p.name for p in parameters)})"
        if returned == "unsay_status":
            print(f"    return answered(w, {call});")
        elif returned == "const char *":
            print(f"    return said({call});")
        else:
            prefix = "" if returned == "void" else "(void)"
            print(f"    {prefix}{call};\n    return nothing_said;")
        print("}\n")

    def write_cases(self, function: str) -> None:
        parameters = self.functions[function][1]
        print(f"static void cases_of_{function}(world *w) {{")
        self.case(function, "nothing", "bad", [])
        for p in parameters:
            if p.type.endswith("*"):
                self.case(function, p.name, "NULL", [f"a.{p.name} = NULL;"])
                stem = p.type.removeprefix("const ").rstrip("* ")
                if stem in self.structs:
                    self.struct_cases(function, p, stem)
                elif p.type == "const char *":
                    for text in ('""', '"\\xff\\xfe"', "w->long_text"):
                        self.case(function, p.name, text.replace('"', "'").replace("\\", "\\\\"),
                                  [f"a.{p.name} = {text};"])  # fmt: skip
                elif p.type == "const int32_t *":
                    for value in ("-1", "INT32_MIN", "INT32_MAX", "1 << 20"):
                        self.case(function, p.name, f"[{value}]",
                                  [f"int32_t bad = {value};", f"a.{p.name} = one_id(w, bad);"])  # fmt: skip
                continue
            for value in self.values(p.type):
                self.case(function, p.name, value, [f"a.{p.name} = {value};"])
        print("}\n")

    def struct_cases(self, function: str, p: Variable, struct: str) -> None:
        fields = self.structs[struct]
        writable = not p.type.startswith("const ")
        if fields[0].name == "struct_size":
            for size in STRUCT_SIZES:
                value = size.replace("SIZE_MAX", "MOST").replace("SIZE", f"sizeof({struct})")
                value = value.replace("MOST", "SIZE_MAX")
                if writable and any(q.name == "struct_size" for q in self.functions[function][1]):
                    lines = [f"a.struct_size = {value};", f"a.{p.name} = (void *)w->roomy;"]
                else:
                    lines = [f"a.{p.name} = sized(w, a.{p.name}, sizeof({struct}), {value});"]
                self.case(function, f"{p.name}->struct_size", size, lines)
            if not writable:
                self.case(function, f"{p.name}->newer", "newer",
                          [f"a.{p.name} = newer(w, a.{p.name}, sizeof({struct}));"])  # fmt: skip
        if writable or function.endswith("_init"):
            return
        for field in fields[1:] if fields[0].name == "struct_size" else fields:
            for path, kind in self.flat(field):
                values = self.values(kind) if not kind.endswith("*") else ["NULL"]
                if kind in ("const unsay_run_options *", "const unsay_generate_options *"):
                    values = values + ["bad_options(w)"]
                if kind == "const char *":
                    values = values + ['"\\xff"', '""']
                if kind.startswith("unsay_") and kind.endswith("_fn"):
                    values = ["NULL"]
                for value in values:
                    shown = value.replace('"', "'").replace("\\", "\\\\")
                    self.case(
                        function, f"{p.name}->{path}", shown,
                        [f"{struct} changed[COUNT_OF_{struct}];",
                         f"memcpy(changed, a.{p.name}, sizeof changed);",
                         f"changed[0].{path} = {value};", f"a.{p.name} = changed;"],
                    )  # fmt: skip

    def flat(self, field: Variable) -> list[tuple[str, str]]:
        """The field, or those of the struct that it is."""
        if field.type not in self.structs:
            return [] if field.name == "reserved" else [(field.name, field.type)]
        return [(f"{field.name}.{f.name}", f.type) for f in self.structs[field.type]]

    def write(self) -> None:
        print("/* Written by Tests/c/make_bad_arguments.py. */")
        print('#include "bad_arguments.h"\n#include <string.h>\n')
        for struct in self.structs:
            most = "FILES" if struct == "unsay_buffer" else "1"
            print(f"#define COUNT_OF_{struct} {most}")
        for function in self.functions:
            self.write_call(function)
            self.write_cases(function)
        print("const chapter chapters[] = {")
        for function in self.functions:
            print(f'    {{"{function}", cases_of_{function}}},')
        print("};\nconst size_t chapter_count = sizeof chapters / sizeof *chapters;")


if __name__ == "__main__":
    Writer().write()
