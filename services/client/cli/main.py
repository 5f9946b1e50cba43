"""The administrator's command line: `cervicontour-client`."""

from pathlib import Path

import click

from services.client.cli import datasets, experiments, health, jobs, models, reviews
from services.client.cli.options import Value
from services.client.cli.session import ServiceGroup, Session, service_options
from services.client.client import DEFAULT_TIMEOUT_SECONDS


class _Header(Value):
    name = "NAME:VALUE"
    envvar_list_splitter = "\n"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, is_there, content = str(value).partition(":")
        if not is_there or not name.strip():
            self.fail(f"{value!r} is not like 'X-Api-Key: secret'", param, ctx)
        return name.strip(), content.strip()


@click.group(cls=ServiceGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds to wait for an answer.",
)
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with the API key; else the one that CERVICONTOUR_API_KEY_FILE names, else the key "
    "in CERVICONTOUR_API_KEY. Never an argument: those are visible to everybody on the machine.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    type=_Header(),
    envvar="CERVICONTOUR_HEADER",
    show_envvar=True,
    help="Sent with every request, for example what a proxy before the service asks for.",
)
@click.option(
    "--use-proxy-variables",
    is_flag=True,
    help="Heed HTTP_PROXY and its like, which are left alone otherwise.",
)
@service_options
@click.pass_context
def cli(
    ctx: click.Context,
    *,
    timeout: float,
    api_key_file: Path | None,
    headers: tuple[tuple[str, str], ...],
    use_proxy_variables: bool,
) -> None:
    """Use a CerviContour service: contour CT series, train, promote, review.

    --url and --json may stand before or behind a command.

    Exit codes: 0 fine, 1 the service refused or failed (code and sentence on stderr), 2 wrong
    usage, 3 the service cannot be reached.

    \b
    Example:  cervicontour-client submit ct/ --out rtstruct.dcm
    """
    session = ctx.ensure_object(Session)
    session.timeout_seconds = timeout
    session.headers = dict(headers)
    session.api_key_file = api_key_file
    session.trust_env = use_proxy_variables


for _command in (
    *jobs.COMMANDS,
    datasets.group,
    experiments.group,
    models.group,
    reviews.group,
    health.command,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="cervicontour-client")


if __name__ == "__main__":
    main()
