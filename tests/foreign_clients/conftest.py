"""A production site with a participant of each language, and the table of verdicts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.programs import Program, until
from tests.acceptance.sites import (
    COMMANDS,
    REPLIES,
    START,
    RunningSite,
    new_id,
    running_site,
)
from tests.foreign_clients.build import LANGUAGES, command_of
from tests.foreign_clients.client import Document, ForeignClient, documents
from tests.foreign_clients.variants import COMPLETED, Variant, variants

_REJECTED = "orchestration.command.rejected"
_STARTED = "orchestration.workflow.started"
#: Verdict on what neither came to an end nor to the dead letters.
_NOTHING = "nothing"

_TABLE = pytest.StashKey[dict[str, dict[str, str]]]()


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all variants that a client sent."""

    client: ForeignClient
    site: RunningSite
    participant: Program
    #: Variant -> the text in its data by which it is found again.
    orders: Mapping[str, str]
    sent: Mapping[str, Document]
    verdicts: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def requests(self) -> Sequence[Document]:
        """The requests that the participant took, as its SDK read them."""
        return documents(self.participant.log)

    def workflow_of(self, variant: str) -> str | None:
        """The id of the workflow that a variant started."""
        order = self.orders[variant]
        started = (each for each in self.site.courses.records if each.type == _STARTED)
        return next((each.key for each in started if each.data["input"]["order"] == order), None)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLE] = {}


@pytest.fixture(scope="session")
def site(
    kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSite]:
    """Engine and API, with a definition for each language."""
    folder = tmp_path_factory.mktemp("site")
    with running_site(kafka_bootstrap, mongo_uri, redis_url, folder) as site:
        for language in LANGUAGES:
            answer = site.http.post("/api/v1/definitions", json=definition(language))
            assert answer.status_code == 201, answer.text
        yield site


@pytest.fixture(scope="session", params=LANGUAGES)
def report(request: pytest.FixtureRequest, site: RunningSite) -> Iterator[Report]:
    """Every variant that the client can send is sent, and has its verdict."""
    language: str = request.param
    client = ForeignClient(language, command_of(language), site.kafka, site.folder)
    requests = f"{site.prefix}orchestration.step.requests.foreign-{language}"
    chosen = [each for each in variants() if language in each.languages]
    orders = {each.name: new_id(language) for each in chosen}
    with ExitStack() as stack:
        participant = stack.enter_context(client.participating(requests, site.prefix + REPLIES))
        given = [order_of(each, language, orders[each.name], site) for each in chosen]
        sent = {each.name: done for each, done in zip(chosen, client.send(given), strict=True)}
        report = Report(client, site, participant, orders, sent)
        await_verdicts(report)
        table = request.config.stash[_TABLE]
        for variant in chosen:
            table.setdefault(variant.name, {})[language] = report.verdicts[variant.name]
        yield report


def definition(language: str) -> Document:
    """One step, performed and undone by the client of the language."""
    input = {"order": "input.order", "reply": "input.reply"}
    return {
        "name": f"foreign-{language}",
        "version": 1,
        "type": "FOREIGN",
        "steps": [
            {
                "id": "pack",
                "service": f"foreign-{language}",
                "operation": "pack",
                "timeoutMs": 60_000,
                "input": input,
                "compensation": {"operation": "unpack", "input": input},
            }
        ],
    }


def order_of(variant: Variant, language: str, order: str, site: RunningSite) -> Document:
    """What the client is to send."""
    mode = variant.order.get("mode", "binary")
    event: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "source": f"/foreign/{language}",
        "type": START,
        "subject": order,
        "time": "2026-11-21T02:30:00.123Z",
        "data": {
            "definition": f"foreign-{language}",
            "input": {"order": order, "reply": mode, "text": "größer als 世界 \U0001f4e6"},
            **variant.data,
        },
        **variant.event,
    }
    return {
        "topic": site.prefix + COMMANDS,
        "mode": mode,
        "key": order if variant.has_key else None,
        "event": {name: value for name, value in event.items() if name not in variant.without},
        **variant.order,
    }


def await_verdicts(report: Report) -> None:
    """Until each variant has its verdict, or none comes any more."""
    site = report.site
    open_ = {name for name, done in report.sent.items() if "sent" in done}
    report.verdicts.update(
        {name: str(done["error"]) for name, done in report.sent.items() if "failed" in done}
    )

    def look() -> bool:
        site.courses.read()
        site.dead_letters.poll()
        for name in list(open_):
            verdict = verdict_on(report, name)
            if verdict is not None:
                report.verdicts[name] = verdict
                open_.discard(name)
        return not open_

    try:
        until("every verdict", look, 60, [site.engine, report.participant])
    except AssertionError:
        report.verdicts.update(dict.fromkeys(open_, _NOTHING))


def verdict_on(report: Report, variant: str) -> str | None:
    site, order = report.site, report.orders[variant]
    workflow_id = report.workflow_of(variant)
    if workflow_id is not None:
        end = site.courses.end_of(workflow_id)
        return None if end is None else COMPLETED if end == "completed" else end
    marker = order.encode()
    letters = (each for each in site.dead_letters.records if marker in each.value)
    letter = next(letters, None)
    if letter is not None:
        return letter.headers["dlq-reason"]
    refusals = (each for each in site.courses.records if each.type == _REJECTED)
    return next((each.data["code"] for each in refusals if each.key == order), None)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    table = config.stash[_TABLE]
    if not table:
        return
    terminalreporter.section("foreign clients")
    rows = [("variant", {language: language for language in LANGUAGES})]
    rows += [(each.name, table[each.name]) for each in variants() if each.name in table]
    width = max(len(name) for name, _ in rows)
    for name, verdicts in rows:
        cells = "  ".join(f"{verdicts.get(language, '–'):24}" for language in LANGUAGES)
        terminalreporter.write_line(f"{name:{width}}  {cells}".rstrip())
