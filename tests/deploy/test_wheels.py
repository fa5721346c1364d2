"""The built wheels: what is in them, and that the service starts from them next to a user's own packages."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import httpx
import pytest
from conveyor import __version__

from deploy.local_services.process import free_port
from tests.acceptance.programs import is_ready, run, running, until
from tests.acceptance.sites import start_data
from tests.architecture.repository import ROOT, tracked
from tests.docs.pages import saved_files

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ENGINE = ("domain", "application", "adapters", "infrastructure")
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@dataclass(frozen=True, slots=True)
class Wheel:
    file: Path

    @property
    def names(self) -> set[str]:
        with zipfile.ZipFile(self.file) as archive:
            return set(archive.namelist())

    @property
    def code(self) -> set[str]:
        """Every file but those that describe the wheel."""
        return {name for name in self.names if ".dist-info/" not in name}

    @property
    def metadata(self) -> Message:
        with zipfile.ZipFile(self.file) as archive:
            [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            return message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Wheel]:
    """Both wheels, built without a network."""
    folder = tmp_path_factory.mktemp("wheels")
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*PIP, "wheel", *offline, "-w", folder, ".", "./sdk"], cwd=ROOT, check=True)
    return {file.name.partition("-")[0]: Wheel(file) for file in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Wheel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a venv that has the wheels and sees the pinned libraries, but not the checkout."""
    venv = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    install = [*PIP, "--python", venv / "bin" / "python", "install", "--no-index", "--no-deps"]
    subprocess.run([*install, *(wheel.file for wheel in wheels.values())], check=True)
    paths = sysconfig.get_paths(vars={"base": str(venv), "platbase": str(venv)})
    # A folder that a .pth file names is on the path; the .pth files in it, which lead to the checkout, are not read.
    libraries = Path(paths["purelib"]) / "libraries.pth"
    libraries.write_text(sysconfig.get_paths()["purelib"] + "\n")
    return venv / "bin"


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A project with packages of the service's names, which nothing but its own code may import."""
    for name in (*ENGINE, "bench"):
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(f'raise ImportError("the user\'s {name}")\n')
    return tmp_path


def test_the_service_is_one_folder(wheels: dict[str, Wheel]) -> None:
    """The four packages stand whole in conveyor_engine, and nothing else is there: no tests, no bench, no servers."""
    expected = {
        name if folder == "conveyor_engine" else f"conveyor_engine/{name}"
        for file in tracked()
        for name in [file.relative_to(ROOT).as_posix()]
        for folder in [name.partition("/")[0]]
        if folder in ("conveyor_engine", *ENGINE) and file.name != "ruff.toml"
    }

    assert wheels["conveyor_orchestrator"].code == expected


def test_the_sdk_is_one_package(wheels: dict[str, Wheel]) -> None:
    """The SDK's wheel has the package `conveyor` with its types, and nothing else."""
    expected = {
        file.relative_to(ROOT / "sdk").as_posix()
        for file in tracked()
        if file.is_relative_to(ROOT / "sdk" / "conveyor")
    }

    assert wheels["conveyor_sdk"].code == expected
    assert "conveyor/py.typed" in expected


@pytest.mark.parametrize(
    ("wheel", "readme"), [("conveyor_orchestrator", "README.md"), ("conveyor_sdk", "sdk/README.md")]
)
def test_metadata(wheels: dict[str, Wheel], wheel: str, readme: str) -> None:
    """Version, licence and description are in the wheel; there is one version for both."""
    metadata = wheels[wheel].metadata
    licences = [name for name in wheels[wheel].names if name.endswith("/licenses/LICENSE")]

    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload() == (ROOT / readme).read_text()
    with zipfile.ZipFile(wheels[wheel].file) as archive:
        assert [archive.read(name) for name in licences] == [(ROOT / "LICENSE").read_bytes()]


def test_the_service_requires_the_sdk_of_its_version(wheels: dict[str, Wheel]) -> None:
    """Another SDK may have other wire formats."""
    requires = wheels["conveyor_orchestrator"].metadata.get_all("Requires-Dist")

    assert requires is not None
    assert f"conveyor-sdk=={__version__}" in requires


def test_the_service_starts_beside_a_users_packages(installed: Path, users_folder: Path) -> None:
    """`conveyor dev` of the wheel completes a workflow where `domain` and the like are the user's."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--orders-per-second", "0"]
    settings = {"PYTHONPATH": str(users_folder)}
    program = [str(installed / "conveyor")]
    with running(
        "dev", "dev", *options, folder=users_folder, settings=settings, program=program
    ) as dev:
        until("dev is ready", lambda: is_ready(url), 60, [dev])
        answer = httpx.post(
            f"{url}/api/v1/workflows",
            params={"wait": 30},
            json=start_data("order-1"),
            timeout=60,
        )

        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == "COMPLETED"
        assert httpx.get(f"{url}/health/workflow").json()["version"] == __version__
        assert dev.stop() == 0


def test_a_worker_has_the_users_packages(installed: Path, users_folder: Path) -> None:
    """`conveyor dev --worker` of the wheel runs code that imports the user's own `application`."""
    (users_folder / "application" / "__init__.py").write_text("ROOM = 7\n")
    files = saved_files("docs/howto/first-workflow.md")
    (users_folder / "hotel.py").write_text(
        files["hotel.py"]
        .replace('{"room": 7}', '{"room": ROOM}')
        .replace("hotel = ", "from application import ROOM\n\nhotel = ")
    )
    (users_folder / "definitions").mkdir()
    (users_folder / "definitions" / "trip.yaml").write_text(files["definitions/trip.yaml"])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--worker", "hotel:worker", "--definitions", "definitions"]
    program = [str(installed / "conveyor")]
    with running("dev", "dev", *options, folder=users_folder, program=program) as dev:
        until("dev is ready", lambda: is_ready(url), 60, [dev])
        answer = httpx.post(
            f"{url}/api/v1/workflows",
            params={"wait": 30},
            json={"definition": "trip", "input": {"nights": 1}},
            timeout=60,
        )

        assert answer.status_code == 201, answer.text
        [step] = answer.json()["steps"]
        assert step["output"] == {"room": 7}
        assert dev.stop() == 0


def test_a_saga_is_tested_next_to_a_users_packages(installed: Path, users_folder: Path) -> None:
    """The fixture comes with the wheel of the SDK, its engine with that of the service."""
    files = saved_files("docs/howto/first-workflow.md")
    (users_folder / "hotel.py").write_text(files["hotel.py"])
    (users_folder / "trip.yaml").write_text(files["definitions/trip.yaml"])
    (users_folder / "test_trip.py").write_text(
        "from hotel import worker\n\n"
        "def test_a_trip(conveyor):\n"
        "    with conveyor(worker, definitions=['trip.yaml']) as c:\n"
        "        assert c.run('trip', {'nights': 1}).status == 'COMPLETED'\n"
    )
    (users_folder / "pytest.ini").write_text("[pytest]\n")
    program = [str(installed / "python"), "-m", "pytest", "-q"]

    done = run("test_trip.py", folder=users_folder, program=program)

    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("start", [["conveyor"], ["python", "-m", "conveyor_engine"]])
def test_both_ways_to_start_it(installed: Path, users_folder: Path, start: list[str]) -> None:
    """The script and the module are the same command; as a module it starts where the user's packages are."""
    program = [str(installed / start[0]), *start[1:]]

    done = run("--version", folder=users_folder, program=program)

    assert (done.returncode, done.stdout) == (0, f"conveyor {__version__}\n"), done.stderr


def test_a_wheel_imports_nothing_of_the_service_for_others(
    installed: Path, users_folder: Path
) -> None:
    """In any other process of that Python `domain` is the user's, and the SDK is there."""
    python = [str(installed / "python")]

    users = run("-c", "import domain", folder=users_folder, program=python)
    sdk = run(
        "-c", "import conveyor; print(conveyor.__version__)", folder=users_folder, program=python
    )

    assert "ImportError: the user's domain" in users.stderr
    assert sdk.stdout == f"{__version__}\n"


def test_the_bench_stays_in_the_checkout(installed: Path, users_folder: Path) -> None:
    """`conveyor bench` of the wheel says in one sentence that it is not there, whatever else is called bench."""
    settings = {"PYTHONPATH": str(users_folder)}
    program = [str(installed / "conveyor")]

    done = run("bench", "--help", folder=users_folder, program=program, settings=settings)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "The bench is part of a checkout of Conveyor and is not installed here.\n"
