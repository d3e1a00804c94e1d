"""The command: mounts the sub-commands, imports each when it is called, and turns errors into exit codes.

Exit codes: 0 done, 1 a check failed, 2 usage or config, 3 policy or budget refusal, 4 trust failure.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
import typer
from typer.main import get_command

from common.service.quiet import QUIET

COMMANDS = {
    "simulate": (
        "simulations.cli:simulate_command",
        "Train a whole consortium on this machine, and report it.",
    ),
    "bench": ("simulations.benchmarks.cli:bench_command", "Measure speed, as ratios against a peer or a bound."),
    "bundle": ("client.deploy.bundle_cli:bundle_command", "Make the one file of a run that hospitals approve."),
    "site approve": ("client.deploy.approve_cli:approve_command", "Show a run's bundle, and let it train here."),
    "site budget": (
        "client.check.budget_cli:budget_command",
        "Show what a hospital has spent, and what a run would cost.",
    ),
    "site calibrate": (
        "client.training.calibrate_cli:calibrate_command",
        "Choose a run's private settings on public studies.",
    ),
    "site check": ("client.check.cli:check_command", "Dry run at a hospital: its data, its policy, its budget."),
    "site import": ("client.pacs.cli:import_command", "Fetch studies and reports from the hospital's archive (PACS)."),
    "site index": ("client.search.cli:index_command", "Make a hospital's studies searchable, or stop it."),
    "site init": ("client.deploy.cli:init_command", "Make a hospital's keys, and its request to join."),
    "site join": ("client.deploy.cli:join_command", "Take the coordinating centre's answer to the request."),
    "site prepare": ("client.deploy.prepare_cli:prepare_command", "Read and encode the studies before a run asks."),
    "site recover": ("client.deploy.recover_cli:recover_command", "Charge what a lost ledger forgot."),
    "site resolve": (
        "client.deploy.resolve_cli:resolve_command",
        "Find the study behind a handle that was told.",
    ),
    "site search": (
        "client.deploy.search_cli:search_command",
        "Find studies near words or a picture, here and at the others.",
    ),
    "site serve": ("client.page.serve_cli:serve_command", "Serve the hospital's search as a page on this machine."),
    "site start": ("client.deploy.start_cli:start_command", "Run a hospital's agent: answer what was approved."),
    "server init": ("server.deploy.cli:init_command", "Make a consortium: certificates, signing key, member list."),
    "server admit": ("server.deploy.cli:admit_command", "Make a hospital a member, by its request."),
    "server revoke": ("server.deploy.cli:revoke_command", "Take a hospital out of the consortium."),
    "server rotate": ("server.deploy.cli:rotate_command", "Make new certificates before the old ones end."),
    "server start": ("server.deploy.start_cli:start_command", "Serve the consortium's hospitals, until told to end."),
    "server status": ("server.deploy.status_cli:status_command", "Show the server, its sites, and what ends when."),
    "server cohort": ("server.deploy.cohort_cli:cohort_command", "Name the hospitals that share noise in a run."),
    "server run": ("server.deploy.run_cli:run_command", "Hand a run to the server, and follow it to its end."),
    "server stop": ("server.deploy.run_cli:stop_command", "Stop a run after the round in flight."),
    "server resume": ("server.deploy.run_cli:resume_command", "Go on with a run that was stopped or has failed."),
    "server search": (
        "server.deploy.search_cli:search_command",
        "Open a completed run's channel for hospitals' searches.",
    ),
    "server demo": (
        "simulations.deployment.demo_cli:demo_command",
        "A whole deployment on this machine, from keys to report.",
    ),
    "model export": ("server.model.export_cli:export_command", "Take a run's model out as a folder of its own."),
    "model verify": ("common.model.verify_cli:verify_command", "Check a model's files, signature and codes."),
    "mediator calibrate": (
        "client.mediator.calibrate_cli:calibrate_command",
        "Tell by public studies how likely hits of plans are relevant.",
    ),
    "mediator evaluate": (
        "simulations.mediation.evaluate_cli:evaluate_command",
        "Measure how words become plans of what to look for.",
    ),
    "mediator retrieval": (
        "simulations.mediation.retrieval_cli:retrieval_command",
        "Measure whether plans find more than words do, on MedPix 2.0.",
    ),
    "search": (
        "simulations.search.search_cli:search_command",
        "Find studies near words or a picture, over a simulation.",
    ),
    "encode": ("client.encode.encode_cli:encode_command", "Turn a folder of images, or a table of texts, into codes."),
    "audit all": (
        "simulations.audits.promises.cli:all_command",
        "Hold each promise against a run and what hospitals hand over.",
    ),
    "audit ledger": ("common.ledger.cli:audit_command", "Recompute epsilon and signatures from a ledger's file."),
    "audit bias": (
        "simulations.audits.bias_cli:bias_command",
        "Audit a simulation's studies for bias, before training.",
    ),
    "audit codes": (
        "simulations.audits.codes_cli:codes_command",
        "Measure what codes of a run's studies give away of them.",
    ),
    "audit index": ("client.search.audit_cli:audit_command", "Check a hospital's search index, byte by byte."),
    "audit log": ("common.evidence.cli:log_command", "Check audit logs, and what each holds of the others."),
    "audit privacy": (
        "simulations.audits.privacy_cli:privacy_command",
        "Attack the running code: the bound beside each claim.",
    ),
    "audit strength": (
        "simulations.audits.strength_cli:strength_command",
        "Measure how strong attacks are, by epsilon, noise and width.",
    ),
    "audit queries": (
        "client.mediator.audit_cli:audit_command",
        "Check a hospital's record of its own queries.",
    ),
    "audit run": ("common.evidence.cli:run_command", "Check all that is signed in a run folder."),
}
"""Name to where it lives and what it is for. The first word of two is a group."""

GROUPS = {
    "site": "What a hospital runs.",
    "server": "What a coordinating centre runs.",
    "mediator": "From a clinician's words to a plan of what to look for.",
    "model": "A trained model as a folder of its own.",
    "audit": "Checks from the files alone, and audits before training.",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called: `wardround --help` does not wait for torch.

    Args:
        table: The commands, as in `COMMANDS`.
        attrs: What click takes.
    """

    def __init__(self, *, table: Mapping[str, tuple[str, str]], **attrs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(**attrs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the commands and groups."""
        return list(dict.fromkeys(name.partition(" ")[0] for name in self._table))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now, or the group."""
        if cmd_name not in self.list_commands(ctx):
            return None
        if cmd_name in GROUPS:
            prefix = f"{cmd_name} "
            below = {name.removeprefix(prefix): row for name, row in self._table.items() if name.startswith(prefix)}
            return LazyGroup(name=cmd_name, table=below, help=GROUPS[cmd_name])
        module, _, function = self._table[cmd_name][0].partition(":")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        command = getattr(import_module(module), function)
        app.command(cmd_name, help=_paragraphs(command.__doc__))(command)
        return get_command(app)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in self._table.items()])


def _paragraphs(text: str) -> str:
    """A docstring whose lines end where its paragraphs do: a terminal breaks them anew."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


@click.command(cls=LazyGroup, table=COMMANDS)
@click.version_option(package_name="wardround")
def cli() -> None:
    """Federated image-report retrieval across hospitals: private, robust, fair by report."""


def main() -> None:
    """Run the command line and exit with the documented code."""
    os.environ.update(QUIET)
    from common.console import ShownFormatter, shown
    from common.errors import WardroundError

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShownFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])

    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except WardroundError as error:
        sys.stderr.write(f"wardround: {shown(str(error))}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        sys.stderr.write(f"wardround: {shown(_in_words(error))}\n")
        sys.exit(1)


def _in_words(error: OSError) -> str:
    """An error of the system in one line: the file, what is wrong, and for a disk that is full what to do."""
    said = f"{error.filename or 'a file of this command'}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return f"{said}; nothing that was written before is lost: make room, and run the same again (or --resume)"
    if error.errno == errno.EROFS:
        return f"{said}; name a folder that can be written"
    return said


if __name__ == "__main__":
    main()
