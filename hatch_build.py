"""What pyproject.toml cannot say about the service's wheel."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SameRelease(BuildHookInterface):
    """Service and SDK share wire formats and are released together: a wheel requires the SDK of its version."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable install has the SDK of the same checkout, whatever its version was when it was installed.
        if version == "standard":
            build_data["dependencies"].append(f"conveyor-sdk=={self.metadata.version}")
