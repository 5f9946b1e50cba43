"""The operator's command line, on the service's own machine: `cervicontour-admin`."""

from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from services.admin import audit, configuration, keys
from services.admin.backup import commands as backup
from services.core.errors import ServiceError


class OperatorGroup(click.Group):
    """A group of commands whose errors are one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # Any: what the command returns
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ServiceError as error:
            raise click.ClickException(f"{error.code}: {error.message}") from error
        except SQLAlchemyError as error:
            reason = type(error).__name__
            raise click.ClickException(
                f"the database of the settings cannot be used ({reason}); is it up and migrated?"
            ) from error
        except OSError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=OperatorGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Look after a CerviContour service, with the settings that its processes have.

    Whoever can run this can read the database: it asks for no key, and makes the first one.

    \b
    Example:  cervicontour-admin key create --name "treatment planning" --role submitter
    """


cli.add_command(keys.group)
cli.add_command(audit.group)
cli.add_command(backup.group)
cli.add_command(configuration.command)


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="cervicontour-admin")


if __name__ == "__main__":
    main()
