"""The exceptions of the SDK.

StepError                a handler's outcome that is not a success
├── TerminalError        did nothing; trying again would not help
├── RetryableError       did nothing; a later attempt may succeed
└── UnknownOutcomeError  may have done something; nobody knows
ServerUnavailableError   a server does not respond; the runner tries again
RecordRefusedError       Kafka never takes a command; raised by the client
RequestRefusedError      Conveyor refuses a command or a read; raised by the client
OutcomeUnknownError      a command may have been carried out, or not; raised by the client
PositionLostError        events after a subscription's position are deleted; raised by the client
UnsupportedError         this client's connection does not offer it; raised by the client
WorkflowFailedError      a workflow whose result was awaited has not completed; raised by the client
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class StepError(Exception):
    """A handler raises one of its subclasses to fail its step.

    `code` is for programs, `message` for people. `type` decides about a retry.
    """

    retryable = False

    def __init__(self, code: str, message: str, type: str = "INTERNAL") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.type = type


class TerminalError(StepError):
    """The step is refused and had no effect, in no attempt. The engine undoes the steps before it."""

    def __init__(self, code: str, message: str, type: str = "BUSINESS_RULE_VIOLATION") -> None:
        super().__init__(code, message, type)


class RetryableError(StepError):
    """This attempt had no effect. The engine tries again by the step's retry policy."""

    retryable = True

    def __init__(self, code: str, message: str, type: str = "SERVICE_UNAVAILABLE") -> None:
        super().__init__(code, message, type)


class UnknownOutcomeError(StepError):
    """The effect may or may not have happened, for example after a connection broke.

    The engine tries again. It asks for the outcome before it undoes anything or ends the workflow.
    """

    retryable = True

    def __init__(self, code: str, message: str, type: str = "UNKNOWN") -> None:
        super().__init__(code, message, type)


class ServerUnavailableError(Exception):
    """A server does not respond. The data may or may not be written; call again."""

    def __init__(self, component: str, detail: str) -> None:
        super().__init__(f"{component}: {detail}")
        self.component = component
        self.detail = detail


class RecordRefusedError(Exception):
    """Kafka refuses the command, so nothing was sent, and sending it again would not help.

    It is larger than its topic allows, or the topic does not exist or may not be written to.
    `detail` is the client library's reason.
    """

    def __init__(self, topic: str, detail: str) -> None:
        super().__init__(f"{topic}: {detail}")
        self.topic = topic
        self.detail = detail


class RequestRefusedError(Exception):
    """Conveyor understood the request and refused it. Nothing was changed.

    `code` is for programs, such as `ILLEGAL_STATUS` or `WORKFLOW_NOT_FOUND`; `detail` is for people.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        workflow_id: str | None = None,
        workflow_status: str | None = None,
        allowed_commands: Sequence[str] = (),
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.workflow_id = workflow_id
        #: None if there is no such workflow.
        self.workflow_status = workflow_status
        #: The commands that the workflow would accept now.
        self.allowed_commands = tuple(allowed_commands)
        #: Every fault of the request, as `{path, message}`.
        self.errors = tuple(errors)


class OutcomeUnknownError(Exception):
    """The outcome of a command did not arrive in time.

    The command may still be carried out. If you send it again with this `idempotency_key`, it is carried out only once.
    """

    def __init__(self, idempotency_key: str, seconds: float) -> None:
        super().__init__(f"no outcome of the command {idempotency_key} within {seconds:g} s")
        self.idempotency_key = idempotency_key


class PositionLostError(Exception):
    """Events after the position of a subscription are deleted, since it is older than the topic's retention."""


class UnsupportedError(Exception):
    """The client's connection does not offer this. The message says which one does."""


class WorkflowFailedError(Exception):
    """The workflow has ended, but not completed.

    `status` is `FAILED`, `COMPENSATED` or `CANCELLED`. `code` and `message` say why: they are the error of the step
    that failed, or the code `CANCELLED` with the reason of the cancel.
    """

    def __init__(self, workflow_id: str, status: str, code: str, message: str) -> None:
        super().__init__(f"{workflow_id} is {status}: {code}: {message}")
        self.workflow_id = workflow_id
        self.status = status
        self.code = code
        self.message = message
