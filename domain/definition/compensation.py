"""What undoes a step (S-002-12, S-003-19, S-002-13)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from domain.definition.expression import Template
from domain.values import Value


class CompensationStrategy(StrEnum):
    #: Call the opposite operation.
    REVERSE_OPERATION = "REVERSE_OPERATION"
    #: Delete what the step created.
    DELETE_CREATED = "DELETE_CREATED"
    #: Put back the snapshot that the participant sent with its success.
    RESTORE_STATE = "RESTORE_STATE"
    #: The participant's own logic.
    CUSTOM = "CUSTOM"


class Verification(Value):
    """An operation that checks an undo before the next one may begin."""

    operation: str
    input: Template


class CompensationAction(Value):
    """The undo of one step: a service, its operation and the input."""

    strategy: CompensationStrategy
    service_name: str
    operation: str
    input: Template
    verify: Verification | None = None

    def __post_init__(self) -> None:
        if not self.service_name or not self.operation:
            raise ValueError(
                "a compensation names the service and the operation that undo the step"
            )

    @staticmethod
    def reverse_operation(
        service_name: str, operation: str, parameters: Mapping[str, Any]
    ) -> CompensationAction:
        return _with_parameters(
            CompensationStrategy.REVERSE_OPERATION, service_name, operation, parameters
        )

    @staticmethod
    def delete_created(
        service_name: str, operation: str, parameters: Mapping[str, Any]
    ) -> CompensationAction:
        return _with_parameters(
            CompensationStrategy.DELETE_CREATED, service_name, operation, parameters
        )

    @staticmethod
    def restore_state(
        service_name: str, operation: str, parameters: Mapping[str, Any]
    ) -> CompensationAction:
        return _with_parameters(
            CompensationStrategy.RESTORE_STATE, service_name, operation, parameters
        )

    @staticmethod
    def custom(
        service_name: str, operation: str, parameters: Mapping[str, Any]
    ) -> CompensationAction:
        return _with_parameters(CompensationStrategy.CUSTOM, service_name, operation, parameters)


def _with_parameters(
    strategy: CompensationStrategy,
    service_name: str,
    operation: str,
    parameters: Mapping[str, Any],
) -> CompensationAction:
    return CompensationAction(
        strategy=strategy,
        service_name=service_name,
        operation=operation,
        input=Template.literal(dict(parameters)),
    )
