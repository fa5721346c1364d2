"""Wrong input to every command: one sentence that names the option, the exit code of CONTRACT 5, no traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import EnumType
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command
from typer.testing import Result

from application.definitions import shipped
from infrastructure.cli import app
from tests.infrastructure.commands import conveyor

SHIPPED = Path(shipped.__file__).with_name("order-fulfillment.yaml")
#: Every command, with arguments that are right.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "dev": (),
    "serve": ("--roles", "api"),
    "init": (),
    "warehouse": (),
    "verify": (),
    "bench": (),
    "workflow start": ("order-fulfillment",),
    "workflow list": (),
    "workflow show": ("wf-1",),
    "workflow history": ("wf-1",),
    "workflow pause": ("wf-1",),
    "workflow resume": ("wf-1",),
    "workflow cancel": ("wf-1",),
    "workflow retry": ("wf-1",),
    "workflow compensate": ("wf-1",),
    "workflow force-compensate": ("wf-1",),
    "workflow signal": ("wf-1", "cleaned"),
    "workflow execute-step": ("wf-1", "pick"),
    "workflow retry-step": ("wf-1", "pick", "--reason", "it is back"),
    "workflow skip-step": ("wf-1", "pick", "--reason", "not needed"),
    "workflow complete-step": ("wf-1", "pick", "--reason", "by hand"),
    "workflow patch": ("wf-1", "--reason", "typing error", "--input", '{"dock": 4}'),
    "workflow reset": ("wf-1", "pick", "--reason", "picked wrong"),
    "workflow preview": ("wf-1", "cancel"),
    "definitions apply": (str(SHIPPED),),
    "definitions check": (str(SHIPPED),),
    "definitions list": (),
    "definitions show": ("order-fulfillment", "1"),
    "config show": (),
    "keys create": ("--actor", "ada", "--role", "admin"),
    "keys list": (),
    "keys rotate": ("000000000000",),
    "keys revoke": ("000000000000",),
    "config check": (),
    "test-engine": (),
}
#: Nobody listens there; a command that came so far would end with 3.
NOWHERE = "http://127.0.0.1:1"
WRONG_URLS = ("nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[::1")
WRONG_NUMBERS = ("x", "", "-1", "nan", "1e999", "99999999999999999999")
#: `--wait 1e999` is a wait without end.
RIGHT_NUMBERS = {("--wait", "1e999"), ("--wait", "99999999999999999999")}


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its words."""
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from leaves(inner, f"{path}{name} ")
        else:
            yield f"{path}{name}", inner


PROGRAM = dict(leaves(get_command(app)))


def wrong_values() -> Iterator[tuple[str, str, str]]:
    """Command, option and a value that it does not take, for every option that takes no text."""
    for name, command in PROGRAM.items():
        for parameter in command.params:
            option = next((o for o in parameter.opts if o.startswith("--")), None)
            if option is None or option == "--help":
                continue
            kind = parameter.type_descriptor.annotation
            kinds = (kind, *get_args(kind))
            if any(isinstance(each, EnumType) for each in kinds):
                yield name, option, "NONSENSE"
            elif int in kinds or float in kinds:
                for number in WRONG_NUMBERS:
                    if (option, number) not in RIGHT_NUMBERS:
                        yield name, option, number
            elif option == "--url":
                for url in WRONG_URLS:
                    yield name, option, url


def run(name: str, *more: str) -> Result:
    return conveyor(NOWHERE, *name.split(), *COMMANDS[name], *more)


def expect_refusal(result: Result, code: int, named: str) -> None:
    """The command ended with a sentence about this."""
    told = re.sub(r"[\s│]+", " ", result.stderr)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert named.lower() in told.lower()
    assert "Traceback" not in told


def test_the_table_has_every_command() -> None:
    """A new command comes with what is wrong for it."""
    assert COMMANDS.keys() == PROGRAM.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option(name: str) -> None:
    """It is named, and nothing is done."""
    expect_refusal(run(name, "--colour"), 2, "--colour")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "bench"])
def test_one_argument_too_many(name: str) -> None:
    """So is a word that nobody asked for."""
    expect_refusal(run(name, "surplus"), 2, "surplus")


@pytest.mark.parametrize("name", [name for name, given in COMMANDS.items() if given])
def test_a_missing_argument(name: str) -> None:
    """The command says which."""
    missing = next(each for each in PROGRAM[name].params if each.required)
    named = next((o for o in missing.opts if o.startswith("--")), missing.metavar or missing.name)

    expect_refusal(conveyor(NOWHERE, *name.split()), 2, named)


@pytest.mark.parametrize(("name", "option", "given"), list(wrong_values()))
def test_a_wrong_value(name: str, option: str, given: str) -> None:
    """Words for numbers, numbers out of bounds, unknown names, addresses that are none."""
    expect_refusal(run(name, f"{option}={given}"), 2, option)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("serve", "--roles", ","), "--roles"),
        (("serve", "--roles", "engine,robot"), "robot"),
        (("dev", "--db", "missing/conveyor.db"), "missing"),
        (("warehouse", "--journal", "missing/journal"), "--journal"),
        (("verify", "--db", "missing.db"), "missing.db"),
        (("workflow", "start", "any", "--input", "{"), "--input"),
        (("workflow", "start", "any", "--input", "[]"), "--input"),
        (("workflow", "start", "any", "--input", "@missing.json"), "--input @missing.json"),
        (("workflow", "start", "any", "--input", "@."), "--input @."),
        (("workflow", "start", "any", "--input", '{"n": 1e400}'), "--input"),
        (("workflow", "start", "any", "--file", "missing.jsonl"), "--file missing.jsonl"),
        (("workflow", "start", "any", "--file", "."), "--file ."),
        (("workflow", "start", "any", "--file", "any", "--id", "x"), "--id"),
        (("workflow", "signal", "wf-1", "cleaned", "--payload", "NaN"), "--payload"),
        (("definitions", "apply", "missing.yaml"), "missing.yaml"),
        (("definitions", "apply", "."), "holds no file"),
        (("definitions", "check", "missing.yaml"), "missing.yaml"),
        (("definitions", "check", "."), "holds no file"),
        (("definitions", "show", "any", "one"), "VERSION"),
        (("definitions", "show", "any", "0"), "VERSION"),
    ],
)
def test_what_cannot_be_used(
    arguments: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are not there, texts that are not JSON, names that nobody has: usage."""
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "dev":
        arguments = (*arguments, "--orders-per-second", "0")
    expect_refusal(conveyor(NOWHERE, *arguments), 2, named)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("workflow", "list", "--label", "colour"), 2, "--label"),
        (("workflow", "list", "--started-after", "yesterday"), 2, "--started-after"),
        (("workflow", "list", "--incident", "INTERN"), 2, "SEAL_UNANSWERED"),
        (("workflow", "list", "--cursor", "nonsense"), 2, "--cursor"),
        (("workflow", "show", "nobody"), 4, "WORKFLOW_NOT_FOUND"),
        (("workflow", "show", "a/b"), 4, "nothing at"),
        (("workflow", "history", "nobody"), 4, "WORKFLOW_NOT_FOUND"),
        (("workflow", "pause", "nobody"), 4, "WORKFLOW_NOT_FOUND"),
        (("workflow", "signal", "nobody", "x"), 4, "WORKFLOW_NOT_FOUND"),
        (("workflow", "start", "nothing"), 1, "UNKNOWN_DEFINITION"),
        (("workflow", "start", "nothing", "--id", "a b"), 1, "id"),
        (("workflow", "start", "order-fulfillment", "--input", "{}"), 1, "input.orderId"),
        (("definitions", "show", "nothing", "1"), 4, "nothing"),
    ],
)
def test_what_the_service_refuses(
    server: str, arguments: tuple[str, ...], code: int, named: str
) -> None:
    """1 for what is refused, 4 for what is not there, 2 where an option was given a wrong value."""
    expect_refusal(conveyor(server, *arguments), code, named)
