"""The one list of the kinds of aggregates: a new kind is a line here."""

from __future__ import annotations

from application.aggregates.aggregate import Catalog
from application.aggregates.inbox import INBOX
from application.aggregates.workflow import WORKFLOW
from application.codec.internal import TIMER_DUE, read_timer

CATALOG = Catalog((WORKFLOW, INBOX), shared={TIMER_DUE: read_timer})
