"""Facts about model files, read without importing or calling anything that they name.

Each family of formats has a file here. All of them read through bounded readers: bytes through `streams`, pickles
through `opcodes`, archives through `archives`, protocol buffers through `protobuf`. What a reader does is counted and
never timed, so that the same file always gives the same report.
"""

__all__: list[str] = []
