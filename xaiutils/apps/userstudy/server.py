"""The study as pages: plain forms, one answer a request, kept before the next page is shown.

No script is needed, nothing is loaded from elsewhere, and neither addresses nor times of day are
logged or kept. torch is not loaded: the pictures were drawn when the study was built.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from xaiutils.apps.userstudy.design import PICTURES, open_user_study
from xaiutils.apps.userstudy.handlers import ROUTES, Page
from xaiutils.apps.userstudy.store import Store

PAGES = Path(__file__).with_name("pages")


def _application(folder: Path) -> Application:
    design = open_user_study(folder)
    store = Store(folder, design)
    files = {name: (folder / PICTURES / name).read_bytes() for name in design.files}
    files["style.css"] = (PAGES / "style.css").read_bytes()
    return Application(
        ROUTES, default_handler_class=Page, template_path=str(PAGES), store=store, files=files,
        cookie_secret=store.secret, xsrf_cookies=True, log_function=lambda _: None,
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Lax"},
    )  # fmt: skip


def serve(folder: str | Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a study until it is interrupted; port 0 takes a free one.

    Raises:
        FileNotFoundError, ValueError, OSError: The study or the port cannot be opened.
    """
    asyncio.run(_serve(_application(Path(folder)), host, port, say))


async def _serve(app: Application, host: str, port: int, say: Callable[[str], None]) -> None:
    for name in ("tornado.access", "tornado.general"):  # they would log addresses
        logging.getLogger(name).disabled = True
    try:
        sockets = bind_sockets(port, host)
    except OSError as error:
        raise OSError(
            f"host and port must be free to listen on, {host}:{port} is not: {error.strerror}"
        ) from None
    # A proxy says by X-Forwarded-Proto that a page goes through HTTPS.
    server = HTTPServer(app, max_body_size=100_000, max_header_size=20_000, xheaders=True)
    server.add_sockets(sockets)
    say(f"the study is at http://{host}:{sockets[0].getsockname()[1]}/ ; Ctrl-C ends it")
    if host not in {"127.0.0.1", "localhost", "::1"}:
        say("it is open to the network, without encryption: see docs/user-study.md")
    stop = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stop.set)
    await stop.wait()
    server.stop()
    await server.close_all_connections()
    app.settings["store"].close()
    say("ended; every answer is in the folder")
