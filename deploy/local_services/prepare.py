"""Bring what the servers run from, so that they can be started under a deadline afterwards."""

import sys

from deploy.local_services.maven_build import kafka_jars, mongo_standin_jars
from deploy.local_services.process import ServiceError


def main() -> int:
    try:
        kafka_jars()
        mongo_standin_jars()
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
