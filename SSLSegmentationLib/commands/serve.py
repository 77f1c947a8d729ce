"""`sslseg serve`: the engine for other programs, on this machine or in a hospital's network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import typer

from SSLSegmentationLib.commands.console import JSON, people
from SSLSegmentationLib.errors import InputError

TOKEN_VARIABLE = "SSLSEG_TOKEN"  # noqa: S105 - the name of a variable, not a token


def serve(
    host: str = typer.Option("127.0.0.1", help="Address to listen on; others than loopback need a token."),
    port: int = typer.Option(0, min=0, max=65535, help="0 takes any that is free."),
    token_file: Path | None = typer.Option(
        None, help=f"File whose only line is the token; without it the variable {TOKEN_VARIABLE}, or a new one."
    ),
    name: list[str] = typer.Option([], help="Name under which clients call this server; may be repeated."),
    tls_cert: Path | None = typer.Option(None, help="Certificate (PEM), so that nobody can listen in."),
    tls_key: Path | None = typer.Option(None, help="The certificate's key (PEM)."),
    max_memory: float | None = typer.Option(
        None, min=0.1, help="Gigabytes for scans and results; more is refused. 60 % of the machine's if not given."
    ),
    idle_minutes: float = typer.Option(60.0, min=0.1, help="Free a session that nobody uses for so long."),
    as_json: bool = JSON,
) -> None:
    """Serve sessions to other programs: Slicer, scripts, curl. For research use, not a medical device."""
    import importlib.util
    import logging

    missing = [package for package in ("fastapi", "uvicorn") if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(f'{missing[0]} is not installed: pip install ".[engine]" in a checkout of the program.')
    from SSLSegmentationLib.engine.keeper import Keeper
    from SSLSegmentationLib.engine.serve import Address, serve

    logging.getLogger("SSLSegmentationLib.engine").setLevel(logging.INFO)
    given = _token(token_file)
    # Checked before anything is loaded or started.
    address = Address(host, port, given, tuple(name), tls_cert, tls_key).checked()
    keeper = Keeper(
        max_bytes=None if max_memory is None else int(max_memory * 1e9),
        idle_seconds=idle_minutes * 60,
    )

    def ready(where: dict[str, Any]) -> None:
        if given:  # whoever gave the token has it; what is printed may end in a log
            where = {key: value for key, value in where.items() if key != "token"}
        if as_json:
            typer.echo(json.dumps({"ready": True, **where}))
            return
        shown = f", token {where['token']}" if "token" in where else ""
        people.print(f"Ready at {where['url']}{shown}. Ctrl-C stops.", soft_wrap=True, markup=False)

    serve(keeper, address, ready)


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as a token: write one line of letters and digits into it.") from error
    if not token:
        raise InputError(f"{file} is empty: put a token into it, such as openssl rand -hex 32 makes.")
    return token
