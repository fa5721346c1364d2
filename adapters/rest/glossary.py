"""The meaning of the API's fields, each with an example. A name has the same meaning everywhere.

If it means something else in one schema, there is an entry `Schema.field`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Entry(NamedTuple):
    description: str
    example: Any


_TIME = "2026-11-21T02:30:00.123Z"

_ENTRIES: Mapping[str, tuple[str, Any]] = {
    # -- workflows
    "id": ("The workflow's id.", "wf-1"),
    "tenant": ("The tenant that the workflow belongs to.", "default"),
    "workflowId": ("The workflow's id.", "wf-1"),
    "workflowInstanceId": ("The id of the workflow that the step belongs to.", "wf-1"),
    "workflowDefinitionId": (
        "Name and version of the definition in one.",
        "order-fulfillment-v1",
    ),
    "definition": ("The definition's name.", "order-fulfillment"),
    "definitionId": (
        "Name and version in one, as an alias of `definition`; give one of the two.",
        "order-fulfillment-v1",
    ),
    "definitionVersion": ("The definition's version.", 1),
    "workflowName": ("The definition's title.", "Order Fulfillment"),
    "workflowType": ("The definition's type.", "ORDER_FULFILLMENT"),
    "status": ("The workflow's status.", "EXECUTING"),
    "workflowStatus": (
        "The status of the workflow that the command was for.",
        "COMPLETED",
    ),
    "version": ("Counts the workflow's events, from 1.", 7),
    "priority": ("HIGH before NORMAL before LOW.", "NORMAL"),
    "waveless": ("Whether the workflow can be released one by one.", False),
    "releaseQueue": (
        "The queue that releases the workflow. Not supported yet: leave it out.",
        None,
    ),
    "dueAt": ("When the workflow should have ended (RFC 3339).", "2026-11-21T18:00:00.000Z"),
    "lockKey": ("The business lock to hold. Not supported yet: leave it out.", None),
    "lockPolicy": ("What to do while another workflow holds the lock.", None),
    "lockWaitSeconds": ("How long to wait for the lock, in seconds.", None),
    "correlationId": ("The same for everything that belongs to one business case.", "corr-001"),
    "triggeredBy": ("What started the workflow.", "shop"),
    "userId": ("The user for whom the workflow runs.", "u-17"),
    "wallet": ("The wallet that the workflow is about.", None),
    "labels": ("Names and values to filter by.", {"channel": "web"}),
    "metadata": ("Data of the caller, kept with the workflow.", {"note": "gift"}),
    "inputParameters": ("The input of the start.", {"orderId": "ORD-1"}),
    "executionContext": (
        "What expressions read: the outputs of steps, and signals.",
        {"steps": {"reserve-inventory": {"output": {"reservationId": "res-1"}}}},
    ),
    "currentStepId": ("The first step that is running.", "charge-payment"),
    "executedSteps": ("Steps that are done, in order.", ["reserve-inventory"]),
    "compensatedSteps": ("Steps that are undone, in order.", []),
    "progress": ("Share of the steps that are done, in percent.", 20),
    "compensationStatus": ("The state of the compensation.", "NONE"),
    "compensationProgress": ("Share of the undos that are done, in percent.", 0),
    "retryCount": ("How often it was retried.", 0),
    "maxRetries": ("How often a failed workflow may be retried.", 3),
    "timeoutSeconds": (
        "Seconds from the start after which the workflow fails; 0: never.",
        300,
    ),
    "unresolved": ("Steps whose outcome is unknown.", []),
    "incidents": ("The open incidents: a person has to look.", []),
    "raisedAt": ("When it was raised.", _TIME),
    "cancelReason": ("Why it was cancelled.", None),
    "idempotencyKey": ("The same key with the same payload is the same start.", "order-4711"),
    "allowedCommands": ("Commands that are possible now.", ["pause", "cancel", "signal"]),
    "createdAt": ("When it was accepted.", _TIME),
    "startedAt": ("When it began.", _TIME),
    "updatedAt": ("The time of its last event.", _TIME),
    "completedAt": ("When it ended, in whatever status.", None),
    "steps": ("Its steps, in execution order.", None),
    "output": ("What the step or the workflow returned.", {"reservationId": "res-1"}),
    "WorkflowResponse.output": ("The output that the definition maps, after the end.", None),
    "items": ("The entries of the page.", None),
    "DefinitionList.items": ("The documents as registered.", []),
    "nextCursor": ("Pass it as `cursor` (`after` of a history) for the next page.", None),
    "warnings": (
        "Why the workflow may wait for ever, though nothing is wrong with its start.",
        ["hotel-service: nobody has ever read its requests"],
    ),
    "asOf": ("What was decided before is in the list, as far as the engines have reported.", _TIME),
    "commandId": (
        "The command's id; its events carry it as `causationId`.",
        "018f2c7e-6f0a-7cc2-b8aa-4f3f7f3c9f10",
    ),
    # -- errors
    "errors": ("What went wrong, in order.", []),
    "stepId": ("The step's id in its definition.", "charge-payment"),
    "serviceName": ("The service that performs it.", "payment-service"),
    "errorCode": ("A code to act on.", "CARD_DECLINED"),
    "errorType": ("The class of error; it decides about retries.", "BUSINESS_RULE_VIOLATION"),
    "recoverable": ("Whether another attempt may help.", False),
    "message": ("What is wrong, in words.", "must be at least 1"),
    "occurredAt": ("When it happened.", _TIME),
    # -- steps
    "stepName": ("The step's name for people.", "Reserve inventory"),
    "operation": ("What the service does.", "reserve"),
    "executionOrder": ("The step's place, from 1.", 1),
    "dependsOn": (
        "Steps that must be done before; without it, the step written before.",
        [],
    ),
    "kind": (
        "What failing or undoing the step means: see the definition reference.",
        "compensatable",
    ),
    "attempt": ("The number of the attempt, from 1.", 1),
    "round": ("Counts the runs of the step; each has its own idempotency key.", 1),
    "inputData": ("The input as sent to the service.", {"orderId": "ORD-1"}),
    "error": ("Why the last attempt failed.", None),
    "executionTimeMs": ("What the participant measured, in milliseconds.", 12),
    "timeoutMs": ("Milliseconds after which an attempt counts as without a reply.", 5000),
    "retryPolicy": ("How the step is repeated.", None),
    "compensationAction": ("What undoes the step.", None),
    "scheduledAt": ("When the last attempt was sent.", _TIME),
    "nextAttemptAt": ("When the next attempt is due.", None),
    "config": ("Settings of the step, from the definition.", {}),
    "StepResponse.status": ("The step's status.", "COMPLETED"),
    "StepResponse.completedAt": ("When the step was done.", _TIME),
    "StepResponse.idempotencyKey": (
        "The same for every attempt of a round.",
        "wf-1/charge-payment/1",
    ),
    "strategy": ("How the undo works.", "REVERSE_OPERATION"),
    "parameters": ("What the undo gets: an expression, or an object of them.", {}),
    "CompensationActionResponse.status": ("The state of the undo.", "NONE"),
    "CompensationActionResponse.operation": ("The operation that undoes the step.", "release"),
    # -- retries
    "initialDelayMs": ("Milliseconds before the first retry.", 1000),
    "maxDelayMs": ("The longest wait between two attempts, in milliseconds.", 10_000),
    "backoffMultiplier": ("By how much each wait grows.", 2.0),
    "exponentialBackoff": ("False: every wait is as long as the first.", True),
    "jitter": ("The share of a wait that is random, 0 to 1.", 0.0),
    "RetryPolicyResponse.maxRetries": ("Retries after the first attempt.", 3),
    "RetryDocument.maxRetries": ("Retries after the first attempt.", 3),
    # -- history
    "eventId": ("The event's id: the workflow's with the version.", "wf-1:7"),
    "eventType": ("The event's name.", "WorkflowStartedEvent"),
    "actor": ("Who did it.", "local"),
    "SignalData.actor": ("Ignored: the actor is the caller.", None),
    "causationId": ("The id of the command, reply or timer that caused it.", "cmd-1"),
    "data": ("The event as published.", {"input": {"orderId": "ORD-1"}}),
    "HistoryEvent.type": ("The CloudEvents type.", "orchestration.workflow.started"),
    "HistoryEvent.kind": (
        "The kind of the event; only a few events have one.",
        "SAGA_COMPENSATION",
    ),
    # -- commands
    "input": ("The workflow's input; it has to fit the definition.", {"orderId": "ORD-1"}),
    "StartWorkflowRequest.id": (
        "The id of the new workflow; without it, Conveyor makes one.",
        "wf-1",
    ),
    "StartWorkflowRequest.version": ("The definition's version; without it, the highest.", 1),
    "reason": ("Why, for the history and the participants.", "customer called"),
    "compensate": (
        "Whether completed steps are undone; without it, the definition decides.",
        True,
    ),
    "name": ("The definition's name.", "order-fulfillment"),
    "SignalData.name": ("Expressions read the payload under this name.", "arrived"),
    "payload": ("The data of the signal.", {"dock": 4}),
    "ExecuteStepData.input": ("Replaces the mapped input of the step.", {"orderId": "ORD-1"}),
    "command": (
        "Its name as in `allowedCommands`, or step.retry-now, step.skip, step.complete, step.execute, patch, reset.",
        "cancel",
    ),
    "CompletionData.output": ("The step's output.", {"paymentId": "pay-1"}),
    "PatchData.input": ("New values of fields of the input; null removes one.", {"dock": 4}),
    "context": ("New values of fields of the metadata; null removes one.", {"shift": "late"}),
    "roles": ("The caller's roles.", ["operator"]),
    "rights": ("The actions that the roles allow.", ["read", "start", "control"]),
    "tenants": ("The tenants that the caller is restricted to; empty: not restricted.", []),
    "Me.labels": ("The labels that workflows must carry for the caller to see them.", {}),
    "Me.services": ("The services that a worker's key is for.", []),
    "site": ("The process that responds.", None),
    "zone": ("Its zone.", None),
    "SiteResponse.name": ("Its instance id.", "engine-1"),
    "toStep": ("The step from which the workflow goes on.", "pick-items"),
    "allowed": ("Whether the command would be accepted.", True),
    "Preview.version": ("The version of the workflow that was looked at, for `If-Match`.", 7),
    "statusAfter": ("The workflow's status after the command.", "COMPENSATING"),
    "refusals": ("Why the command would be refused.", []),
    "undo": ("The effects that would be undone, in that order.", []),
    "Preview.lost": ("The effects that nothing would undo.", []),
    "onlyIfPerformed": ("Whether the step was performed is not known yet.", False),
    "result": ("Records an outcome instead of dispatching the step.", None),
    "StepOutcome.error": ("Why the step failed.", None),
    "code": ("A code to act on.", "ILLEGAL_STATUS"),
    "StepFailure.type": ("The class of error.", "SERVICE_UNAVAILABLE"),
    "retryable": ("Whether another attempt may help; without it, the type decides.", True),
    "outcomeUnknown": (
        "Whether the step may have been done; then it is sealed before anything is undone.",
        False,
    ),
    # -- definitions
    "type": ("The type of its workflows.", "ORDER_FULFILLMENT"),
    "title": ("The name for people.", "Order Fulfillment"),
    "DefinitionDocument.version": ("Grows with each change.", 1),
    "inputSchema": ("JSON Schema that every input must fit.", {"type": "object"}),
    "outputSchema": ("JSON Schema of the output, for readers.", {"type": "object"}),
    "DefinitionDocument.output": (
        "How the output is made.",
        {"reservation": 'steps."reserve-inventory".output.reservationId'},
    ),
    "DefinitionDocument.steps": ("The steps, in the order in which they are done.", []),
    "DefinitionDocument.maxRetries": ("How often an operator may retry a failed run.", 3),
    "onFailure": ("Undo what was done, or hold for an operator.", "compensate"),
    "onCancel": ("Leave what was done, or undo it.", "leave"),
    "retry": ("A preset's name, or a policy.", "default"),
    "initial": ("Not supported yet.", None),
    "transitions": ("Not supported yet.", None),
    "StepDocument.id": ("The step's id.", "reserve-inventory"),
    "StepDocument.name": ("The step's name for people.", "Reserve inventory"),
    "StepDocument.input": ("How the step's input is made.", {"orderId": "input.orderId"}),
    "service": ("The service that performs it.", "inventory-service"),
    "when": ("A condition; if it does not hold, the step is skipped.", "input.gift"),
    "compensation": ("What undoes the step.", None),
    "CompensationDocument.input": ("How the undo's input is made.", {"orderId": "input.orderId"}),
    "CompensationDocument.operation": ("The operation that undoes the step.", "release"),
    "verify": ("An operation that checks the undo.", None),
    "VerificationDocument.input": ("How the check's input is made.", {"orderId": "input.orderId"}),
    "VerificationDocument.operation": ("The operation that checks.", "verify-release"),
    "forEach": ("Not supported yet.", None),
    "waitFor": ("Not supported yet.", None),
    "completesOn": ("Not supported yet.", None),
    # -- workers
    "workerId": ("Names the worker for people who look for it.", "picker-7"),
    "max": ("How many requests to take at most.", 10),
    "waitSeconds": ("How long to wait for the first request.", 20),
    "leaseSeconds": ("How long the requests are the worker's, in seconds.", 30),
    "requests": ("The requests, the oldest first.", []),
    "lease": ("Stands for the request until it is answered or given out again.", "q0v3rJ2bF1"),
    "leases": ("The leases to extend.", ["q0v3rJ2bF1"]),
    "event": (
        "A structured CloudEvent: the request, or the reply to it.",
        {"type": "orchestration.step.completed", "data": {"output": {"pickId": "pick-1"}}},
    ),
    "recovered": (
        "The request was given out before and not answered: its effect may be there already.",
        False,
    ),
    "asksAbout": (
        "With a seal: the data of the request whose outcome is in question.",
        {"operation": "pick", "attempt": 1},
    ),
    "answers": ("Several answers at once.", []),
    "results": ("What became of each answer, in their order.", []),
    "accepted": ("Whether the lease still ran.", True),
    "AnswerResult.code": ("Why it was not accepted.", "LEASE_LOST"),
    "AnswerResult.detail": ("What to do.", None),
    "extended": ("Leases that still run.", ["q0v3rJ2bF1"]),
    "lost": ("Leases that have ended.", []),
    # -- problems
    "ProblemDocument.type": (
        "Names the kind of problem.",
        "urn:conveyor:problem:illegal-status",
    ),
    "ProblemDocument.title": ("The kind of problem in words.", "Not possible in this status"),
    "ProblemDocument.status": ("The HTTP status.", 409),
    "detail": ("What is wrong here.", "wf-1 is COMPLETED; pause needs EXECUTING."),
    "instance": ("The path that was asked for.", "/api/v1/workflows/wf-1/pause"),
    "ProblemDocument.errors": ("Each fault of the request.", []),
    "path": (
        "The place of the fault, for example `input.lines[0].quantity`; empty for the whole.",
        "input.orderId",
    ),
    "rule": ("The rule that a definition breaks.", "NAME"),
    "step": ("The step of a definition that breaks the rule.", "reserve-inventory"),
    # -- health
    "Up.status": ("Everything works.", "UP"),
    "SystemHealthResponse.status": ("The worst of its components.", "UP"),
    "SystemHealthResponse.version": ("The service's version.", "0.1.0"),
    "ComponentHealth.status": ("Whether it answers.", "UP"),
    "ComponentHealth.detail": ("What is wrong.", None),
    "components": ("Servers and roles of the process.", {"eventStore": {"status": "UP"}}),
    "services": (
        "Services that definitions name.",
        {"inventory-service": {"status": "HEALTHY", "detail": None}},
    ),
    "ServiceHealth.status": (
        "DEGRADED: its request topic refuses messages. UNREAD: nobody has ever read from it.",
        "HEALTHY",
    ),
    "ServiceHealth.detail": ("What is wrong, and what to do.", None),
    "circuitBreaker": ("Null: this version has no breakers.", None),
    "loadScore": ("Null: this version measures no load.", None),
    "Index.name": ("The service's name.", "Conveyor"),
    "Index.version": ("The service's version.", "0.1.0"),
    "links": ("Where to go from here.", {"documentation": "/docs"}),
}

GLOSSARY: Mapping[str, Entry] = {name: Entry(*entry) for name, entry in _ENTRIES.items()}

#: Schemas that describe themselves by their values only.
SCHEMAS: Mapping[str, str] = {
    "CompensationStatus": "The state of the compensation.",
    "JsonValue": "Any JSON value.",
    "StepStatus": "The status of a step.",
    "WorkflowPriority": "HIGH before NORMAL before LOW.",
    "WorkflowStatus": "The status of a workflow.",
}

#: A sensible body for each schema that is one.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "StartWorkflowRequest": {
        "definition": "order-fulfillment",
        "input": {"orderId": "ORD-1", "lines": [{"sku": "LAMP-01", "quantity": 2}]},
        "correlationId": "corr-001",
    },
    "ReasonData": {"reason": "customer called"},
    "CancelData": {"reason": "customer called", "compensate": True},
    "RepairData": {"reason": "the printer is back"},
    "CompletionData": {"reason": "packed by hand", "output": {"parcelId": "p-1"}},
    "ResetData": {"reason": "picked the wrong items", "toStep": "pick-items"},
    "PatchData": {"reason": "wrong dock", "input": {"dock": 4}},
    "PreviewRequest": {"command": "cancel", "compensate": True},
    "SignalData": {"name": "arrived", "payload": {"dock": 4}},
    "ExecuteStepData": {
        "stepId": "charge-payment",
        "result": {"output": {"paymentId": "pay-1"}},
    },
    "TakeData": {"workerId": "picker-7", "max": 10, "waitSeconds": 20, "leaseSeconds": 30},
    "AnswerData": {
        "lease": "q0v3rJ2bF1",
        "event": {"type": "orchestration.step.completed", "data": {"output": {"pickId": "p-1"}}},
    },
    "ExtendData": {"leases": ["q0v3rJ2bF1"], "leaseSeconds": 30},
    "DefinitionDocument": {
        "name": "parcel",
        "version": 1,
        "type": "PARCEL",
        "steps": [
            {
                "id": "pack",
                "service": "packing-service",
                "operation": "pack",
                "input": {"orderId": "input.orderId"},
                "compensation": {"operation": "unpack"},
            }
        ],
    },
}
