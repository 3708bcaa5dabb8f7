"""`framegate top`: the figures of a running instance in the terminal, anew every second, until `q`."""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from common.errors import FramegateError
from common.figures import InstanceFigures
from deploy import tables
from deploy.top_view import View, foot, press, shown

INTERVAL_S = 1.0
KEYS_AT_ONCE_MAX = 100


def watch(ask: Callable[[], bytes]) -> None:
    """Show what `ask` gives (`/api/stats`). Raises FramegateError without a terminal, or where nobody answers."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise FramegateError("top needs a terminal: use framegate stats")
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    view = View()
    try:
        tty.setcbreak(terminal)
        console = Console(markup=False, highlight=False)
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while not view.over:
                figures = msgspec.json.decode(ask(), type=InstanceFigures)
                live.update(_page(figures, view), refresh=True)
                while not view.over and select.select([terminal], [], [], INTERVAL_S)[0]:
                    for key in os.read(terminal, KEYS_AT_ONCE_MAX).decode(errors="replace"):
                        view = press(view, key)
                    live.update(_page(figures, view), refresh=True)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _page(figures: InstanceFigures, view: View) -> RenderableType:
    return Group(Text(foot(view), style="reverse"), *tables.parts(shown(figures, view)))
