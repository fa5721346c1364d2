"""The Java programs of the folder `java`, built with Maven."""

from pathlib import Path

from deploy.local_services.build_cache import built, run_tool

_PROJECTS = Path(__file__).with_name("java")


def kafka_jars() -> Path:
    """The folder of the jars of a Kafka broker."""
    project = _PROJECTS / "kafka"
    return built("kafka", project, lambda target: copy_dependencies(project / "pom.xml", target))


def mongo_standin_jars() -> tuple[Path, Path]:
    """The two folders of the jars of the MongoDB stand-in."""
    project = _PROJECTS / "mongo-standin"

    def build(target: Path) -> None:
        maven(project / "pom.xml", "package", f"-DbuildFolder={target}")

    folder = built("mongo-standin", project, build)
    return folder, folder / "lib"


def copy_dependencies(pom: Path, target: Path) -> None:
    """Fill the folder with the jars that the project needs at run time."""
    maven(
        pom,
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
    )


def maven(pom: Path, *arguments: str) -> None:
    """Run Maven on a project. Raises `ServiceError`."""
    run_tool("mvn", "maven", "--batch-mode", "--quiet", f"--file={pom}", *arguments)
