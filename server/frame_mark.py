"""A frame as a server knows it once it is sent: its place in the stream, and how old it was. Pure."""

from common.header_numbers import Mark
from common.messages import FrameMessage


class FrameMark(Mark):
    """epoch, number: the frame's, as ReadStart and ReadStop name it. age_us: how old it was when it came here."""

    __slots__ = ("age_us", "epoch", "number")

    def __init__(self, frame: FrameMessage, size: int, now_us: int) -> None:
        super().__init__(frame, size)
        self.epoch = frame.epoch
        self.number = frame.number
        self.age_us = now_us - frame.time_us

    @property
    def position(self) -> tuple[int, int]:
        """Both as one."""
        return self.epoch, self.number
