#!/usr/bin/env python3
"""Writes C that calls every function of include/unsay.h with every kind of bad argument.

    make_bad_arguments.py > build/test/bad_arguments_cases.c

Functions, parameters and fields of option structs are read from the header, so that a new one
cannot be forgotten: one whose good value bad_argument_values.py does not know ends this program.
What the calls work on, and what may be answered, is in bad_arguments.c.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from bad_argument_values import (
    ALSO,
    GOOD,
    LENIENT,
    NOT_UTF8,
    OPTIONAL,
    SIZES,
    STRUCT_SIZES,
    VALUES,
)  # fmt: skip

HEADER = Path(__file__).resolve().parents[2] / "include/unsay.h"


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
        if (
            path in LENIENT
            or name in LENIENT
            or f"{name} of {function}" in LENIENT
            or function.endswith("_init")
        ):
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
                    sized = any(q.name == f"{p.name}_size" for q in parameters)
                    for text in ('""', NOT_UTF8.get(p.name, '"\\xff\\xfe"'), "w->long_text"):
                        lines = [f"a.{p.name} = {text};"]
                        lines += [f"a.{p.name}_size = SIZE_MAX;"] if sized else []
                        shown = text.replace('"', "'").replace("\\", "\\\\")
                        self.case(function, p.name, shown, lines)
                elif p.type == "const int32_t *":
                    for value in ("-1", "INT32_MIN", "INT32_MAX", "1 << 20"):
                        lines = [f"a.{p.name} = one_id(w, {value});"]
                        self.case(function, p.name, f"[{value}]", lines)
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
                    values = [*values, "bad_options(w)"]
                if kind == "const char *":
                    values = [*values, NOT_UTF8.get(field.name, '"\\xff"'), '""']
                if kind.startswith("unsay_") and kind.endswith("_fn"):
                    values = ["NULL"]
                for value in values:
                    shown = value.replace('"', "'").replace("\\", "\\\\")
                    lines = [
                        f"{struct} changed[COUNT_OF_{struct}];",
                        f"memcpy(changed, a.{p.name}, sizeof changed);",
                        f"changed[0].{path} = {value};",
                        f"a.{p.name} = changed;",
                    ]
                    # The size that was of another text.
                    if path.split(".")[-1] == "text":
                        lines.append(f"changed[0].{path}_size = SIZE_MAX;")
                    self.case(function, f"{p.name}->{path}", shown, lines)

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
