"""`python -m conveyor_engine` is `conveyor`."""

from conveyor_engine import main

if __name__ == "__main__":
    main()
