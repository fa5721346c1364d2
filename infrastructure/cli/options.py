"""Options that many commands take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Form(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


Url = Annotated[
    str,
    typer.Option("--url", envvar="CONVEYOR_URL", help="Where Conveyor serves its API."),
]
Output = Annotated[Form, typer.Option("--output", "-o", help="For people or for programs.")]

DEFAULT_URL = "http://127.0.0.1:8080"
