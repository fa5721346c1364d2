"""How servers begin: what they say, where their log lines go, and what they refuse."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from infrastructure.drivers import require_usable
from infrastructure.settings import PREFIX, Settings, SettingsError, load_settings
from tests.docs.pages import first_code, page, rows, section
from tests.infrastructure.commands import (
    CONVEYOR,
    ENVIRONMENT,
    ORDER,
    at_terminal,
    conveyor,
    free_port,
    process,
    told,
    wait_until_ready,
)

AWAY = {
    "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "CONVEYOR_MONGODB__URI": "mongodb://127.0.0.1:2",
    "CONVEYOR_REDIS__ENABLED": "false",
}


# -- log lines -----------------------------------------------------------------------------------


def test_dev_at_a_terminal(tmp_path: Path) -> None:
    """`make run` shows where it is and one readable line for each order that ended."""
    arguments = ("--port", str(free_port()), "--db", str(tmp_path / "a.db"))

    code, screen = at_terminal(
        "dev", *arguments, "--orders-per-second", "40", interrupt_after="COMPENSATED"
    )

    lines = screen.replace("^C", "").splitlines()
    assert code == 0
    assert "Conveyor serves its API" in lines[0]
    assert f"url=http://127.0.0.1:{arguments[1]}" in lines[0]
    orders = [line for line in lines if "order-fulfillment" in line]
    names = [line.split()[1] for line in orders]
    assert len(names) == len(set(names)) >= 2
    assert all(
        re.match(r"\d\d:\d\d:\d\d ord-\S+  order-fulfillment  COMP(LETED|ENSATED)  ", line)
        for line in orders
    )
    assert not any("{" in line for line in orders)


@pytest.mark.parametrize("arguments", [["warehouse"], ["serve", "--roles", "engine"]])
def test_without_kafka(arguments: list[str]) -> None:
    """A server says that it runs, and which server it waits for."""
    code, screen = at_terminal(*arguments, interrupt_after="component=kafka", settings=AWAY)

    assert code == 0
    assert "runs; Ctrl-C stops it" in screen
    assert "WARNING a component is down  component=kafka" in screen


def test_json_elsewhere(tmp_path: Path) -> None:
    """Without a terminal every line of a server is a JSON object on stdout."""
    done = process(
        *("serve", "--roles", "engine", "--insecure"),
        settings={**AWAY, "CONVEYOR_LOCKS__ENABLED": "true"},
        interrupt_after="component is down",
    )

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"this setting has no effect yet", "a component is down"} <= {
        line["event"] for line in lines
    }
    assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)
    assert done.stderr == ""


def test_a_reader_of_lines_that_goes_away(tmp_path: Path) -> None:
    """An engine whose log nobody reads any more goes on, and ends well."""
    port = str(free_port())
    arguments = ["dev", "--port", port, "--db", str(tmp_path / "a.db"), "--orders-per-second", "50"]
    with subprocess.Popen(
        [*CONVEYOR, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.stdout.close()
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, running)
        workflow = told(
            url, "workflow", "start", "order-fulfillment", "--input", ORDER, "--wait", "20"
        )
        running.terminate()

    assert workflow["status"] == "COMPLETED"
    # 120: Python could not flush its standard output at the very end.
    assert running.returncode in (0, 120)


def test_results_stay_clean() -> None:
    """A command whose stdout is its result logs to stderr."""
    done = process("init", "-o", "json", CONVEYOR_LOCKS__ENABLED="true", settings=AWAY)

    assert done.returncode == 3
    assert done.stdout == ""
    assert "CONVEYOR_LOCKS__ENABLED" in done.stderr


# -- refusals ------------------------------------------------------------------------------------


def test_a_taken_port_names_its_option() -> None:
    """A port that is taken is refused with the option that chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        dev = process("dev", "--port", port)
        health = process("serve", "--roles", "engine", "--health-port", port)

    assert (dev.returncode, health.returncode) == (2, 2)
    assert f"port {port} of 127.0.0.1 is taken" in dev.stderr
    assert "--port, or make run PORT=" in dev.stderr
    assert "--health-port" in health.stderr


def test_dev_is_not_for_production(tmp_path: Path) -> None:
    """The production profile runs on no file."""
    file = tmp_path / "a.db"
    done = process(
        *("dev", "--port", str(free_port()), "--db", str(file)), CONVEYOR_PROFILE="production"
    )

    assert done.returncode == 2
    assert "CONVEYOR_PROFILE=production" in done.stderr
    assert not file.exists()


OTHER_PROGRAM = "CREATE TABLE bookmarks (url TEXT)"


def _folder(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("a text that is longer than the header of a database file " * 4)


def _database_of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(OTHER_PROGRAM)


def _link_to_a_read_only_file(path: Path) -> None:
    path.symlink_to("/proc/version")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_folder, "is a folder"),
        (_text, "is not a database"),
        (_database_of_another_program, "the database of another program"),
        (_link_to_a_read_only_file, "--db FILE"),
    ],
)
def test_a_file_that_is_no_store(
    make: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    """`--db` refuses what is not its own in a sentence, and changes nothing of it."""
    path = tmp_path / "conveyor.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None

    done = process("dev", "--port", str(free_port()), "--db", str(path))

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert before is None or path.read_bytes() == before


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    """So does `--journal`."""
    done = process("warehouse", "--journal", str(tmp_path / "missing" / "a.jsonl"))

    assert done.returncode == 2
    assert "--journal" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_folder(tmp_path: Path) -> None:
    """`--db` does not create folders."""
    done = process("dev", "--port", str(free_port()), "--db", str(tmp_path / "missing" / "a.db"))

    assert done.returncode == 2
    assert "there is no folder" in done.stderr


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", ["[1", "- 1", "text", "\xff", "kafka: 3"], ids=["flow", "list", "text", "ÿ", "kafka"]
)
def test_an_unreadable_file_of_settings(content: str, tmp_path: Path) -> None:
    """`conveyor.yaml` and `.env` are refused in a sentence."""
    (tmp_path / "conveyor.yaml").write_bytes(content.encode("latin-1"))

    done = process("config", "check", folder=tmp_path)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:²"),
        ("KAFKA__BOOTSTRAP_SERVERS", "kafka:99999"),
        ("KAFKA__TOPIC_PREFIX", "a b/"),
        ("KAFKA__TOPIC_PREFIX", "x" * 22),
        ("KAFKA__GROUP_ID", ""),
        ("KAFKA__SESSION_TIMEOUT_MS", "99999999999999999999"),
        ("KAFKA__SECURITY_PROTOCOL", "SASL_SSL"),
        ("MONGODB__URI", "mongodb://"),
        ("MONGODB__URI", "mongodb://a:b:c"),
        ("MONGODB__URI", "mongodb://mongo/?tls=true&tlsCAFile=/missing"),
        ("MONGODB__DATABASE", "a b.$"),
        ("MONGODB__DATABASE", "x" * 64),
        ("REDIS__URL", "redis://redis:99999"),
        ("REDIS__URL", "redis://redis?unheard=of"),
        ("REDIS__URL", "redis://redis?socket_timeout=soon"),
        ("SCHEDULER__RETRY_INTERVAL_MS", "99999999999999999999"),
        ("ENGINE__CACHED_INSTANCES", "99999999999999999999"),
    ],
)
def test_a_setting_that_cannot_be_used(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its name and what is wrong are said before anything is begun, also where only a driver knows it."""
    variable = f"{PREFIX}{name}"
    monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SettingsError) as refused:
        require_usable(load_settings())

    said = str(refused.value).splitlines()
    assert len(said) == 1
    assert said[0].startswith((f"{variable}: ", f"{variable.rpartition('__')[0]}__*: "))


@pytest.mark.parametrize(
    "command",
    [("serve", "--roles", "engine"), ("init",), ("warehouse",), ("verify",), ("config", "check")],
)
def test_commands_refuse_settings_that_a_driver_refuses(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """Every command that needs the servers ends with the sentence."""
    (tmp_path / ".env").write_text("CONVEYOR_MONGODB__URI=mongodb://\n")

    done = process(*command, folder=tmp_path)

    assert done.returncode == 2
    assert "CONVEYOR_MONGODB__*: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_setting_in_dotenv(tmp_path: Path) -> None:
    """A variable of `.env` that does not exist is no more ignored than one of the environment."""
    (tmp_path / ".env").write_text("CONVEYOR_KAFKAS__GROUP_ID=x\n")

    done = process("config", "check", folder=tmp_path)

    assert done.returncode == 2
    assert "CONVEYOR_KAFKAS__GROUP_ID: there is no such setting" in done.stderr


def test_settings_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set and changes nothing is said; the page lists exactly those settings."""
    text = section(page("docs/reference/settings.md"), "## Accepted, without effect yet")
    listed = {first_code(cells[0]): first_code(cells[1]) for cells in rows(text)}
    for variable, default in listed.items():
        monkeypatch.setenv(variable.replace("<NAME>", "SHOP"), default or "http://shop")

    assert load_settings().without_effect() == sorted(
        variable.replace("<NAME>", "SHOP") for variable in listed
    )
    assert told("", "config", "check")["withoutEffect"] == load_settings().without_effect()
    assert f"{PREFIX}LOCKS__ENABLED" in conveyor("", "config", "check").stdout


def test_no_setting_is_without_effect_unless_it_was_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Defaults are not worth a line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVEYOR_KAFKA__TOPIC_PREFIX", "trial.")

    assert Settings().without_effect() == []
