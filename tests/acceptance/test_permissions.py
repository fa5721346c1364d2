"""Production mode: a permission is taken away and comes back, and nobody has to restart anything."""
# The client's admin package does not mark what it exports.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import httpx
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from deploy.local_services import start_kafka
from tests.acceptance.courses import Courses, TopicReader
from tests.acceptance.programs import Program, until
from tests.acceptance.sites import (
    COMMANDS,
    DEAD_LETTERS,
    EVENTS,
    REPLIES,
    START,
    Site,
    initialised,
    new_id,
)

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.slow, pytest.mark.timeout(240)]

AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
RESERVE = "orchestration.step.requests.inventory-service"
FORWARD = ("reserve", "charge", "assign", "pick", "pack")
#: Needs nothing of the inventory.
PAYMENT = {
    "name": "payment",
    "version": 1,
    "type": "PAYMENT",
    "steps": [
        {"id": "pay", "service": "payment-service", "operation": "charge", "kind": "read-only"}
    ],
}
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE = AclOperation.READ, AclOperation.WRITE
DESCRIBE, ALL = AclOperation.DESCRIBE, AclOperation.ALL


_Binding = tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]


@dataclass(frozen=True, slots=True)
class Rule:
    """What nobody may do; the name is without the site's prefix."""

    resource: ResourceType
    name: str
    operation: AclOperation

    def binding(self, permission: AclPermissionType) -> _Binding:
        """As the client takes it, for everybody: without a login all have one name."""
        literal = ResourcePatternType.LITERAL
        return self.resource, self.name, literal, "User:ANONYMOUS", "*", self.operation, permission


@dataclass(frozen=True, slots=True)
class Guarded:
    """A running site whose broker checks permissions."""

    site: Site
    engine: Program
    warehouse: Program
    url: str
    courses: Courses
    dead_letters: TopicReader

    @property
    def programs(self) -> tuple[Program, Program]:
        return self.engine, self.warehouse

    def health(self) -> str:
        return httpx.get(f"{self.url}/health/workflow", timeout=30).json()["status"]

    @contextmanager
    def without(self, rule: Rule) -> Generator[None]:
        """Until the end of the block."""
        rule = replace(rule, name=self.site.prefix + rule.name)
        _impose(self.site.kafka, rule, AclPermissionType.DENY)
        try:
            yield
        finally:
            admin = AdminClient({"bootstrap.servers": self.site.kafka, "log_level": 0})
            gone = AclBindingFilter(*rule.binding(AclPermissionType.DENY))
            for lifted in admin.delete_acls([gone]).values():
                lifted.result(30)

    def start(self, count: int) -> list[str]:
        ids = [new_id("order") for _ in range(count)]
        for each in ids:
            self.site.start(each)
        self.site.flush()
        return ids


def _impose(kafka: str, rule: Rule, permission: AclPermissionType) -> None:
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    for imposed in admin.create_acls([AclBinding(*rule.binding(permission))]).values():
        imposed.result(30)


@pytest.fixture(scope="module")
def guarded(
    mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("permissions")
    with ExitStack() as stack:
        kafka = stack.enter_context(start_kafka(is_short_lived=True, properties=AUTHORIZER))
        for resource in (TOPIC, GROUP):
            # Where any rule is, everything else is forbidden.
            _impose(kafka.address, Rule(resource, "*", ALL), AclPermissionType.ALLOW)
        site = stack.enter_context(initialised(kafka.address, mongo_uri, redis_url, folder))
        warehouse = stack.enter_context(site.warehouse())
        engine, url = stack.enter_context(site.serving())
        registered = httpx.post(f"{url}/api/v1/definitions", json=PAYMENT, timeout=30)
        assert registered.is_success
        courses = Courses(stack.enter_context(closing(site.reader(EVENTS))))
        dead_letters = stack.enter_context(closing(site.reader(DEAD_LETTERS)))
        yield Guarded(site, engine, warehouse, url, courses, dead_letters)


#: What the engine needs, and what its health says without it.
OF_THE_ENGINE = {
    "to write requests": (Rule(TOPIC, RESERVE, WRITE), "DEGRADED"),
    "to see a request topic": (Rule(TOPIC, RESERVE, ALL), "DEGRADED"),
    "to write events": (Rule(TOPIC, EVENTS, WRITE), "DEGRADED"),
    "to read commands": (Rule(TOPIC, COMMANDS, READ), "DOWN"),
    "to read replies": (Rule(TOPIC, REPLIES, READ), "DOWN"),
    "to be in its group": (Rule(GROUP, "conveyor-engine", READ), "DOWN"),
}


@pytest.mark.parametrize("case", OF_THE_ENGINE)
def test_the_engine_goes_on_when_it_may(guarded: Guarded, case: str) -> None:
    """Health says that something is missing; with the permission everything is done, and once."""
    rule, expected = OF_THE_ENGINE[case]
    with guarded.without(rule):
        ids = guarded.start(8)
        until(
            f"health is {expected}",
            lambda: guarded.health() == expected,
            90,
            guarded.programs,
        )
        if rule.name == RESERVE:
            _payments_go_on(guarded)

    expect_each_step_once(guarded, ids + guarded.start(4))


#: What participants need.
OF_PARTICIPANTS = {
    "to write replies": Rule(TOPIC, REPLIES, WRITE),
    "to read requests": Rule(TOPIC, RESERVE, READ),
    "to be in their group": Rule(GROUP, "conveyor-participant-warehouse", READ),
}


@pytest.mark.parametrize("case", OF_PARTICIPANTS)
def test_a_participant_goes_on_when_it_may(guarded: Guarded, case: str) -> None:
    """Its log names the reason; with the permission every step is performed, and once."""
    rule = OF_PARTICIPANTS[case]
    written = len(guarded.warehouse.log)
    with guarded.without(rule):
        ids = guarded.start(8)
        until(
            "the participant says so",
            lambda: "uthorization" in guarded.warehouse.log[written:],
            90,
            guarded.programs,
        )
        if rule.name == RESERVE:
            _payments_go_on(guarded)

    expect_each_step_once(guarded, ids + guarded.start(4))


def test_dead_letters_are_kept_back(guarded: Guarded) -> None:
    """Good messages are done meanwhile; with the permission the dead letter is written."""
    with guarded.without(Rule(TOPIC, DEAD_LETTERS, WRITE)):
        bad = new_id("bad")
        guarded.site.write(
            bad, b"{", {"ce_specversion": "1.0", "ce_id": bad, "ce_source": "/t", "ce_type": START}
        )
        ids = guarded.start(4)
        until("health says so", lambda: guarded.health() == "DEGRADED", 60, guarded.programs)
        guarded.courses.until_ended(ids, 60, guarded.programs)

    expect_each_step_once(guarded, ids + guarded.start(4))
    until("the dead letter", lambda: _is_dead(guarded, bad), 60, guarded.programs)


def test_an_api_that_may_not_write_says_so(guarded: Guarded) -> None:
    """A start is refused as unavailable; with the permission the same one is accepted."""
    key = new_id("key")

    def start() -> int:
        return httpx.post(
            f"{guarded.url}/api/v1/workflows",
            json={"definition": "payment", "input": {}},
            headers={"Idempotency-Key": key},
            timeout=60,
        ).status_code

    with guarded.without(Rule(TOPIC, COMMANDS, WRITE)):
        until("the API may not write", lambda: start() == 503, 60, guarded.programs)

    until("the API may write", lambda: start() in (200, 201, 202), 60, guarded.programs)
    ids = guarded.start(4)
    assert _effects(guarded, ids) == _each_once(ids)


def expect_each_step_once(guarded: Guarded, ids: list[str]) -> None:
    """Every order completes, each of its steps is performed once, and its events have no gap."""
    assert _effects(guarded, ids) == _each_once(ids)
    assert guarded.courses.gaps == []


def _payments_go_on(guarded: Guarded) -> None:
    payments = [new_id("payment") for _ in range(8)]
    for each in payments:
        guarded.site.command(each, START, {"definition": "payment", "input": {}})
    guarded.site.flush()
    guarded.courses.until_ended(payments, 60, guarded.programs)


def _effects(guarded: Guarded, ids: list[str]) -> dict[tuple[str, str], int]:
    """How often each step of these orders was performed, once all have completed and health is well."""
    guarded.courses.until_ended(ids, 120, guarded.programs)
    until("health is well again", lambda: guarded.health() == "UP", 90, guarded.programs)
    journal = guarded.site.journal()
    return {each: count for each, count in journal.items() if each[0] in ids}


def _each_once(ids: list[str]) -> dict[tuple[str, str], int]:
    return {(order_id, operation): 1 for order_id in ids for operation in FORWARD}


def _is_dead(guarded: Guarded, event_id: str) -> bool:
    guarded.dead_letters.poll()
    return any(each.headers.get("ce_id") == event_id for each in guarded.dead_letters.records)
