"""A server of the MongoDB wire protocol: MongoDB itself is in no registry that this can rely on."""

from pathlib import Path
from typing import Any, Literal

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from deploy.local_services.maven_build import mongo_standin_jars
from deploy.local_services.process import (
    LOCALHOST,
    LocalService,
    accepts_connections,
    free_port,
    required_program,
    start_process,
    state_folder,
)

_START_SECONDS = 45

#: `memory` is the quicker one, `h2` keeps its documents in a file of the folder.
Backend = Literal["memory", "h2"]


_COMPILE_QUICKLY = "-XX:TieredStopAtLevel=1"
_MEMORY_OPTIONS = [
    # Everything is kept on the heap: 1 GB holds about 35,000 ended workflows with their events.
    "-Xms1g",
    "-Xmx8g",
    "-Xmn256m",
    # Without memory it would go on answering some requests and not others: rather none.
    "-XX:+ExitOnOutOfMemoryError",
    # What has outlived one request is there to stay: to copy it once more, as young, is waste. One
    # thread, as the two cores have others to serve, and parallel ones spin while they wait.
    "-XX:+UseSerialGC",
    "-XX:MaxTenuringThreshold=0",
]


def start_mongo(
    folder: Path | None = None,
    port: int | None = None,
    *,
    backend: Backend = "memory",
    is_short_lived: bool = False,
) -> LocalService:
    """Start the stand-in; `address` is its URI. With `h2` a folder used before is continued.

    A short-lived one is compiled quickly rather than well: less CPU for the first 20,000 workflows,
    half as much again for ever after.
    """
    java = required_program("java", "default-jdk-headless")
    classpath = ":".join(f"{jars}/*" for jars in mongo_standin_jars())
    state = state_folder("mongo", folder)
    bound_port = port or free_port()
    address = f"mongodb://{LOCALHOST}:{bound_port}"
    storage = ["h2", str(state / "documents.mv.db")] if backend == "h2" else ["memory"]
    return start_process(
        "mongo",
        [
            java,
            "-cp",
            classpath,
            *_MEMORY_OPTIONS,
            *([_COMPILE_QUICKLY] if is_short_lived else []),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "conveyor.standin.Main",
            LOCALHOST,
            str(bound_port),
            *storage,
        ],
        address=address,
        folder=state,
        removes_folder=folder is None,
        answers=lambda: accepts_connections(bound_port) and answers_ping(address),
        deadline_seconds=_START_SECONDS,
    )


def answers_ping(uri: str) -> bool:
    """Whether a MongoDB answers there."""
    try:
        with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=2000) as client:
            client.admin.command("ping")
    except PyMongoError:
        return False
    return True
