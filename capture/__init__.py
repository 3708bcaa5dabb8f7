"""The capture process: one source (camera, file or generated picture) in, numbered samples out."""
