"""Which source a text stands for."""

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


def source_of(spec: SourceSpec, settings: Stream, programs_at: str) -> Source:
    """A new source, not yet open. programs_at: the endpoint where programs publish.

    Raises SettingsError for settings that it cannot have.
    """
    # Imported here so that a process loads the libraries of its own source only.
    match spec:
        case FileSpec():
            from capture.mock import MockSource

            return MockSource(spec, settings)
        case CameraSpec():
            from capture.camera import CameraSource

            if settings.sound:
                from capture.sound import WithSound

                return WithSound(CameraSource(spec, settings), settings.sound, Codec(settings.sound_codec))
            return CameraSource(spec, settings)
        case UrlSpec() | CommandSpec():
            from capture.live import LiveSource

            return LiveSource(spec, settings)
        case ProgramSpec():
            from capture.program import ProgramSource

            return ProgramSource(programs_at)
        case ScreenSpec():
            from capture.screen import ScreenSource

            return ScreenSource(spec, settings)
        case GeneratedSpec():
            from capture.generated import GeneratedSource

            return GeneratedSource(spec, settings)
