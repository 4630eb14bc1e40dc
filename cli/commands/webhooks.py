"""`perceptron webhook-secret`: what the receivers of a tenant check signatures with."""

import os

import click

from cli.options import common_options, json_option, tenant_option, this_call
from cli.output import print_json, say


@click.command("webhook-secret")
@tenant_option("The tenant; else none.")
@json_option
@common_options
def webhook_secret(tenant: str) -> None:
    """
    \b
    Example:
      perceptron webhook-secret --tenant acme

    Print the secret that a tenant's webhooks are signed with, for its receivers.

    It is computed from WEBHOOK_SECRET, or from the first one of two, and needs no running service. Without a tenant, it
    is WEBHOOK_SECRET itself. Keep that one to yourself: whoever has it can compute those of all tenants.
    """
    from storage.webhooks.settings import WebhookSettings, secret_text

    try:
        settings = WebhookSettings.from_env({"WEBHOOK_SECRET": os.environ.get("WEBHOOK_SECRET", "")})
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not settings.secrets:
        raise click.UsageError("The setting WEBHOOK_SECRET is missing: give it as the workers have it.")
    secret, *older = map(secret_text, settings.secrets_of(tenant))
    if this_call().is_json:
        print_json({"tenant": tenant or None, "secret": secret})
    else:
        click.echo(secret)
    if older:
        say("WEBHOOK_SECRET has more than one: events are signed with each, and this is of the first.")


COMMANDS = {"webhook-secret": webhook_secret}
