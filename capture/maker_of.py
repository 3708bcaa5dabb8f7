"""What makes the source that a text stands for."""

from collections.abc import Callable

from capture.source import Source
from common.config import Stream
from common.sample import Codec
from common.source_spec import (
    CameraSpec,
    CommandSpec,
    FileSpec,
    GeneratedSpec,
    ProgramSpec,
    ScreenSpec,
    SourceSpec,
    UrlSpec,
)


def maker_of(spec: SourceSpec, settings: Stream, programs_at: str) -> Callable[[], Source]:
    """Makes a new source, not yet open, at each call, or raises SettingsError for settings that it cannot have.

    Loads the libraries of that kind of source, and of no other. programs_at: the endpoint where programs publish.
    """
    match spec:
        case FileSpec():
            from capture.mock import MockSource

            return lambda: MockSource(spec, settings)
        case CameraSpec():
            from capture.camera import CameraSource

            if settings.sound:
                from capture.sound import WithSound

                codec = Codec(settings.sound_codec)
                return lambda: WithSound(CameraSource(spec, settings), settings.sound, codec)
            return lambda: CameraSource(spec, settings)
        case UrlSpec() | CommandSpec():
            from capture.live import LiveSource

            return lambda: LiveSource(spec, settings)
        case ProgramSpec():
            from capture.program import ProgramSource

            return lambda: ProgramSource(programs_at)
        case ScreenSpec():
            from capture.screen import ScreenSource

            return lambda: ScreenSource(spec, settings)
        case GeneratedSpec():
            from capture.generated import GeneratedSource

            return lambda: GeneratedSource(spec, settings)
