"""Arguments and options that many commands take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Form(StrEnum):
    """The form of a command's output."""

    TABLE = "table"
    JSON = "json"


Url = Annotated[
    str,
    typer.Option("--url", envvar="CONVEYOR_URL", help="Address of the API."),
]
WorkflowId = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
Output = Annotated[
    Form, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
]

#: Versions, as the API bounds them.
COUNT_MAX = 2**31 - 1

DEFAULT_URL = "http://127.0.0.1:8080"
