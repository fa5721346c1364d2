"""The list of all kinds of aggregates. A new kind is a new line here."""

from __future__ import annotations

from application.aggregates.aggregate import Catalog
from application.aggregates.inbox import INBOX
from application.aggregates.workflow import WORKFLOW
from application.codec.internal import TIMER_DUE, read_timer

CATALOG = Catalog((WORKFLOW, INBOX), shared={TIMER_DUE: read_timer})
