"""The command `presswork`, also `python -m presswork_client`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; its exit status is the process's."""
    try:
        from presswork_client.cli.main import run  # noqa: PLC0415 - its packages come with the extra alone
    except KeyboardInterrupt:
        sys.exit(130)  # `exits.INTERRUPTED`, which may not be there yet
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("cyclopts", "rich"):
            raise
        sys.exit("The command line needs two more packages: pip install 'presswork_client[cli]'")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
