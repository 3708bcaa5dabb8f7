"""A program's own pictures as a stream: a ball that bounces, in numpy arrays as OpenCV has them.

framegate serve ball=program:
python deploy/examples/publish_pictures.py [STREAM [SECONDS]]
ffplay rtsp://127.0.0.1:8554/ball
"""

import sys
import time

import numpy as np
from numpy.typing import NDArray

from capture.publisher import Publisher

WIDTH, HEIGHT, FPS, RADIUS = 320, 240, 25, 20


def ball(number: int) -> NDArray[np.uint8]:
    """Picture `number`: rows, columns, and blue, green, red."""
    across, down = WIDTH - 2 * RADIUS, HEIGHT - 2 * RADIUS
    x = RADIUS + across - abs(number * 4 % (2 * across) - across)
    y = RADIUS + down - abs(number * 3 % (2 * down) - down)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    picture[(rows - y) ** 2 + (columns - x) ** 2 < RADIUS**2] = (0, 120, 255)
    return picture


def main(stream: str = "ball", seconds: str = "3600") -> None:
    """Publish to `stream` for some seconds."""
    with Publisher(stream, fps=FPS) as publisher:
        for number in range(round(float(seconds) * FPS)):
            publisher.write_picture(ball(number))
            time.sleep(1 / FPS)


if __name__ == "__main__":
    main(*sys.argv[1:])
