"""What the style of this repository forbids, as far as a program can tell.

A list of offences is compared with an empty one, so that a failure names each with its place.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.prose import passages
from tests.architecture.repository import (
    ROOT,
    SOURCE,
    is_test,
    name_of,
    python_files,
    syntax,
    texts,
    tracked,
)

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
SLEEP_SECONDS_MAX = 0.1

#: Written by programs, or not ours to shorten.
GENERATED = {"LICENSE", *(f"requirements/{lock}.txt" for lock in ("run", "dev", "docs"))}
#: Data, not code: one line per order.
DATA_SUFFIXES = {".jsonl", ".json"}

#: A name that says nothing, and what to do instead.
VAGUE_MODULES = {
    "utils": "name the subject",
    "util": "name the subject",
    "helpers": "name the subject",
    "common": "name the subject",
    "misc": "name the subject",
    "base": "name what it is a base of, or compose",
}

#: Put together here, so that this file does not contain them.
FORBIDDEN_TEXTS = {
    "a machine's path": r"(?<![\w.])/(?:work|root|home/(?!conveyor\b)\w+|Users/\w+)/",
    "a registry's address": "|".join(
        [
            r"pypi" + r"\.org",
            r"files\.python" + r"hosted\.org",
            r"repo1?\.maven" + r"\.(?:apache\.)?org",
            r"registry\.npm" + r"js\.org",
            r"--(?:extra-)?index-" + r"url[ =]https?:",
            r"deb\.debian" + r"\.org",
        ]
    ),
}

#: Phrases that need two readings, and what to write instead.
FORBIDDEN_PHRASES = {
    r"\bAnswers (?:the|a|an|whether|which|what|every|each|None|all|how|with|of)\b": "Returns ...",
    r"[;,] answers (?:a|an|as|how|its|the|what|where|whether|which|why)\b": "Returns ...",
    r"\btells\b(?! (?:operators|you)\b)": "says, shows, reports",
    r"\banew\b": "again",
    r"\bnone such\b": "None if there is no such ...",
    r"\bhow manieth\b": "which one",
    r"\b(?:is|are|was|were|be|been) told\b": "is reported, logged, recognised",
    r"\b(?:tells|told) (?:by|with|from|whether|which|what|where)\b": "says, shows, recognises",
    r"\b[Ww]hoever\b": "name who it is: the next owner, the caller, ...",
    r"(?:\A|[.:;] )[Ww]ho (?:asks|claims|comes|forgets|had|holds|loads|loses|reads|relies|sends|takes|waits|wants)\b": (
        "name who it is: a participant that ..."
    ),
    r"\bas (?:long|much|many|often) as one likes\b": "as you like",
    r"\blies? ready\b": "is ready, is prepared",
    r"\ba tell\b": "a sign",
    r"\bways in\b|\bway in\b(?! which)": "entry point",
    r"(?<![Tt]here )\b(?:is|are|was|were|be) no (?:[A-Z]\w+|workflow|number|step|text|valid|object|id|event|key)\b": (
        "is not a ..."
    ),
    r"\b[Bb]eside\b": "with, next to; besides; during, at the same time as",
    r"\bgets? to (?:hear|know|read)\b|\bhears? of\b": "sees, notices, receives",
}


def test_no_file_is_too_long() -> None:
    """Outside the tests a file has at most 500 lines."""
    lengths = {
        name: text.count("\n")
        for name, text in texts()
        if name not in GENERATED
        and not is_test(ROOT / name)
        and not any(name.endswith(suffix) for suffix in DATA_SUFFIXES)
    }

    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_too_long() -> None:
    """A function of the source has at most 70 lines."""
    offences = [
        f"{name_of(file)}:{node.lineno} {node.name}: {length} lines"
        for file in python_files(*SOURCE)
        for node in ast.walk(syntax(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]

    assert offences == []


def test_modules_have_names_that_say_something() -> None:
    """No module or folder of Python is called utils, helpers, common or base."""
    offences = [
        f"{name_of(file)}: {advice}"
        for file in tracked()
        if file.suffix == ".py"
        for word, advice in VAGUE_MODULES.items()
        if word in file.relative_to(ROOT).with_suffix("").parts
    ]

    assert offences == []


def test_classes_are_not_called_managers() -> None:
    """A class is named for what it is, not for managing or implementing something."""
    offences = [
        f"{name_of(file)}:{node.lineno} {node.name}"
        for file in python_files(*SOURCE)
        for node in ast.walk(syntax(file))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Manager", "Impl", "Helper"))
    ]

    assert offences == []


def test_files_speak_of_the_project_only() -> None:
    """No tracked file has a path of somebody's machine or the address of a registry."""
    offences = [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1} {what}: {found[0]}"
        for name, text in texts()
        for what, pattern in FORBIDDEN_TEXTS.items()
        for found in re.finditer(pattern, text)
    ]

    assert offences == []


def test_prose_can_be_read_once() -> None:
    """No page, docstring or comment has one of the forbidden phrases."""
    offences = [
        f"{name}:{line + text.count(chr(10), 0, found.start())} '{found[0].strip()}': {instead}"
        for name, (line, text) in passages()
        for phrase, instead in FORBIDDEN_PHRASES.items()
        for found in re.finditer(phrase, text, re.MULTILINE)
    ]

    assert offences == []


def test_tests_do_not_sleep() -> None:
    """A test waits for a condition, not for time to pass; the simulation's time is virtual."""
    offences = [
        f"{name_of(file)}:{line} sleeps {seconds} s"
        for file in python_files("tests")
        if "simulation" not in file.parts
        for line, seconds in sleeps(syntax(file))
        if seconds > SLEEP_SECONDS_MAX
    ]

    assert offences == []


def test_tests_assert_visibly() -> None:
    """A test asserts something itself, or calls a helper whose name says that it asserts."""
    offences = [
        f"{name_of(file)}:{node.lineno} {node.name}"
        for file in python_files("tests")
        for node in ast.walk(syntax(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not any(asserts(each) for each in ast.walk(node))
    ]

    assert offences == []


def asserts(node: ast.AST) -> bool:
    """An `assert`, `pytest.raises`, or a call of `expect_...`, `check...`, `assert_...` or `verify...`."""
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Assert)
    name = ast.unparse(node.func).rpartition(".")[2].lstrip("_")
    return name.startswith(("expect_", "check", "assert_", "verify", "raises", "warns"))


def sleeps(module: ast.Module) -> Iterator[tuple[int, float]]:
    """Calls of `time.sleep` and `asyncio.sleep` with a number."""
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "sleep"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in ("time", "asyncio")
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, int | float)
        ):
            yield node.lineno, node.args[0].value


def test_the_domain_imports_the_standard_library_only() -> None:
    """The domain knows no library and nothing around it; also not within a function. The one exception: what makes
    its values (ADR 30)."""
    offences = [
        f"{name_of(file)}:{line} {module}"
        for file in python_files("domain")
        for line, module in imports(syntax(file))
        if module != "domain" and module not in sys.stdlib_module_names
        if (name_of(file), module) != ("domain/values.py", "msgspec")
    ]

    assert offences == []


def imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every import."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "").partition(".")[0]


def test_targets_named_in_the_docs_exist() -> None:
    """Every `make` target that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (name, target)
        for name, text in texts()
        if name.endswith(".md")
        for command in re.findall(r"(?:^    |`)make ((?:[a-z-]+ ?)+)", text, re.MULTILINE)
        for target in command.split()
    }

    assert {(name, target) for name, target in named if target not in targets} == set()


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link of a page names a file that is there, and a heading that it has."""
    pages = {name: text for name, text in texts() if name.endswith(".md")}
    offences = [
        f"{name}: {link}#{anchor}"
        for name, text in pages.items()
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text)
        if not _leads_somewhere(ROOT / name, link, anchor)
    ]

    assert offences == []


def _leads_somewhere(page: Path, link: str, anchor: str) -> bool:
    target = page.parent.joinpath(link) if link else page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target.read_text(encoding="utf-8"))


def _anchors(text: str) -> set[str]:
    """The anchors that the usual viewers make of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
