"""`cervicontour-client health`."""

import click

from services.client.cli.session import FAILED_STATUS, Session, service_options, table


@click.command("health")
@service_options
@click.pass_context
def command(ctx: click.Context) -> None:
    """Tell whether a job posted now would be contoured; exit code 1 if not.

    \b
    Example:  cervicontour-client health
    """
    session = ctx.ensure_object(Session)
    with session.client() as client:
        health = client.health()
    rows = [
        (name, "ok" if check.ok else "FAILED", check.detail)
        for name, check in health.checks.items()
    ]
    session.show(health, health.status, table(("check", "", "detail"), list(rows)))
    if not health.is_ready:
        ctx.exit(FAILED_STATUS)
