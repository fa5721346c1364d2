"""The exceptions of the SDK.

StepError                a handler's outcome that is not a success
├── TerminalError        did nothing; trying again would not help
├── RetryableError       did nothing; a later attempt may succeed
└── UnknownOutcomeError  may have done something; nobody knows
ServerUnavailableError   a broker or store does not answer; the runner tries again
RecordRefusedError       Kafka never takes a command; raised by the client
"""

from __future__ import annotations


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
    """A broker or store does not respond. The data may or may not be written; call again."""

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
