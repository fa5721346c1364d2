"""The libraries of `make foreign-clients` are pinned with their checksums, down to the last dependency."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

from tests.foreign_clients.build import HERE, checksums

_EXACT = re.compile(r"\d+\.\d+\.\d+[\w.-]*")
_POM = {"m": "http://maven.apache.org/POM/4.0.0"}


def test_javascript() -> None:
    """package.json names exact versions; package-lock.json has them, and the checksum of every package."""
    wanted = json.loads((HERE / "js" / "package.json").read_text())["dependencies"]
    locked = json.loads((HERE / "js" / "package-lock.json").read_text())["packages"]
    root = locked.pop("")

    assert root["dependencies"] == wanted
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [version for version in wanted.values() if not _EXACT.fullmatch(version)] == []
    assert [name for name, each in locked.items() if "integrity" not in each] == []


def test_go() -> None:
    """go.sum has the checksums of every module that go.mod names, and of its go.mod."""
    module = (HERE / "go" / "go.mod").read_text()
    sums = (HERE / "go" / "go.sum").read_text()
    required = re.findall(r"^\t(\S+) (v\S+)", module, re.MULTILINE)

    assert required
    assert [
        f"{name} {version}"
        for name, version in required
        if f"\n{name} {version} h1:" not in f"\n{sums}"
        or f"\n{name} {version}/go.mod h1:" not in f"\n{sums}"
    ] == []


def test_java() -> None:
    """pom.xml names exact versions, and each of its jars has a checksum; the build refuses any other jar."""
    pom = ET.parse(HERE / "java" / "pom.xml")  # noqa: S314 - a file of this repository
    properties = {
        f"${{{each.tag.partition('}')[2]}}}": each.text
        for each in pom.iterfind("m:properties/*", _POM)
    }
    wanted = {
        str(each.findtext("m:artifactId", None, _POM)): str(each.findtext("m:version", None, _POM))
        for each in pom.iterfind("m:dependencies/m:dependency", _POM)
    }
    jars = checksums()

    exact = {name: properties.get(version, version) for name, version in wanted.items()}

    assert {f"{name}-{version}.jar" for name, version in exact.items()} <= jars.keys()
    assert [digest for digest in jars.values() if not re.fullmatch(r"[0-9a-f]{64}", digest)] == []
