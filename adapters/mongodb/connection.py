"""How this service talks to MongoDB: durability, read concerns, and which failures are temporary."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure
from pymongo.read_concern import ReadConcern

from application.ports import Document, Unavailable

#: A stored document. PyMongo wants a mutable class here; what is inserted may be raw BSON.
Database = AsyncDatabase[Document]
Collection = AsyncCollection[Any]

DUPLICATE_KEY = 11000

#: What a majority does not have can be rolled back, so only majority reads count (PROTOCOL rule 14).
_WRITES = WriteConcern("majority", j=True)
_READS = ReadConcern("majority")
_SHOWN_DETAIL = 300


def connect(uri: str, *, timeout_seconds: float = 10.0) -> AsyncMongoClient[Document]:
    """A client with a limit on every wait: a server that is away is reported, not waited for.

    Options in the URI win. The client belongs to the event loop that first uses it.
    """
    milliseconds = int(timeout_seconds * 1000)
    return AsyncMongoClient(
        uri,
        appname="conveyor",
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=milliseconds,
    )


def durable(database: Database, name: str) -> Collection:
    """The collection as it is used here: majority and journal for writes, primary for reads."""
    return database.get_collection(
        name,
        write_concern=_WRITES,
        read_concern=_READS,
        read_preference=ReadPreference.PRIMARY,
    )


async def is_standalone(database: Database) -> bool:
    """Whether it is a single server, neither a replica set nor a sharded cluster. Raises `Unavailable`."""
    with reaching_the_store():
        # On connecting, the driver asks the server for its type before this command is answered.
        await database.client.is_primary
    servers = database.client.topology_description.server_descriptions().values()
    return any(server.server_type_name == "Standalone" for server in servers)


@contextmanager
def reaching_the_store() -> Generator[None]:
    """Turns failures of a server, or of the connection to it, into `Unavailable`. Misuse stays a bug."""
    try:
        yield
    except (ConnectionFailure, OperationFailure) as error:
        raise unavailable(error) from error


def unavailable(error: Exception) -> Unavailable:
    # Behind this the driver repeats its time-outs and describes every server.
    reason = str(error).partition(" (configured timeouts")[0]
    return Unavailable("eventStore", reason[:_SHOWN_DETAIL])


def refused_as_duplicates(error: BulkWriteError) -> list[int]:
    """The writes of an unordered bulk that met a duplicate key, by their index.

    Raises `Unavailable` for any other error, including a failed write concern: it is then unknown what was stored.
    """
    details: Mapping[str, Any] = error.details
    write_errors: list[Mapping[str, Any]] = details["writeErrors"]
    others = [failure for failure in write_errors if failure["code"] != DUPLICATE_KEY]
    if others or details["writeConcernErrors"]:
        raise unavailable(error) from error
    return [failure["index"] for failure in write_errors]
