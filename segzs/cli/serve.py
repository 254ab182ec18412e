"""``segzs serve``: the page for annotators, the HTTP API, and the backends of Label Studio and CVAT."""

from __future__ import annotations

import argparse
import ipaddress
import os
import secrets
import socket
from typing import Any

from segzs.cli.parser import add_command, add_models, add_names, load_options, positive
from segzs.cli.terminal import message
from segzs.errors import OutputError, UsageError

EXAMPLES = """examples:
  segzs serve photos/                                       open the address that it prints
  segzs serve photos/ --labels labels.txt --model mobile
  segzs serve photos/ --host 0.0.0.0                        for other machines: they need the token that it prints
"""

MAX_CONNECTIONS = 256


def add_parser(commands: Any) -> None:
    help = "serve a page to click and name objects, and an HTTP API for tools, until Ctrl+C"
    serve = add_command(commands, "serve", run, help, EXAMPLES)
    serve.add_argument("paths", nargs="*", metavar="PATH", help="folders of images, and images, to open on the page")
    server = serve.add_argument_group("server")
    server.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine)")
    server.add_argument("--port", type=_port, default=8765, help="port to listen on (default 8765; 0 takes a free one)")
    server.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name of this machine; repeatable"
    )
    server.add_argument(
        "--label-studio",
        metavar="URL",
        help="fetch images of tasks from there; its key is LABEL_STUDIO_API_KEY",
    )
    server.add_argument("--max-pixels", type=positive, metavar="N", help="refuse larger images (default 50,000,000)")
    add_names(serve)
    add_models(serve)


def run(args: argparse.Namespace) -> int:
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise OutputError("this needs fastapi and uvicorn; run: pip install 'segzs[serve]'") from error
    import segzs
    from segzs.integrations.cvat import cvat_routes
    from segzs.integrations.label_studio_backend import label_studio_routes
    from segzs.integrations.label_studio_images import LabelStudio
    from segzs.server.app import build_app
    from segzs.server.security import Security
    from segzs.server.session import Limits, Session

    token = _token(args.host)
    limits = Limits(max_pixels=args.max_pixels) if args.max_pixels else Limits()
    key = os.environ.get("LABEL_STUDIO_API_KEY", "").strip()
    label_studio = LabelStudio(args.label_studio, key) if args.label_studio else None
    with _listen(args.host, args.port) as listener:
        session = Session(segzs.load(**load_options(args)), args.paths, limits=limits)
        security = Security(token, (socket.gethostname(), args.host, *args.allow_host))
        app = build_app(session, security, [label_studio_routes(session, label_studio), cvat_routes(session)])
        host = "127.0.0.1" if args.host in ("0.0.0.0", "::") else f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{host}:{listener.getsockname()[1]}/{f'?token={token}' if token else ''}"
        message(f"segzs serves {address}")
        config = uvicorn.Config(
            app, log_level="warning", limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=3
        )
        uvicorn.Server(config).run([listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {host} port {port}: {reason}; choose another --port or --host") from error


def _token(host: str) -> str:
    """SEGZS_TOKEN, or a new secret where other machines can connect, or nothing on loopback."""
    if given := os.environ.get("SEGZS_TOKEN", "").strip():
        if len(given) < 16 or not given.isascii() or not given.isalnum():
            raise UsageError("SEGZS_TOKEN is not a secret of 16 letters and digits or more; give a longer one")
        return given
    return "" if _is_loopback(host) else secrets.token_hex(16)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _port(text: str) -> int:
    if not text.isdecimal() or not int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)
