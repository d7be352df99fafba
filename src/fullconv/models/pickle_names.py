"""What a pickle would call, read from its disassembly: nothing is executed."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import IO

# A checkpoint of before the zip format is a row of pickles, the tensors' one being the fourth.
_ROW = 4


def pickled_names(path: Path) -> tuple[list[str], bool]:
    """The globals that a pickle checkpoint names, as `module.name` and in order; is it whole?

    Where the disassembly breaks off, the file is damaged and the names are those before the break.
    """
    names: list[str] = []
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(member) as stream:
                    _collect(stream, names)
        else:
            with path.open("rb") as file:
                _collect(file, names)
                for _ in range(1, _ROW):
                    if file.peek(1)[:1] == pickle.PROTO:
                        _collect(file, names)
    except (ValueError, MemoryError, OverflowError, zipfile.BadZipFile):
        return names, False
    return names, True


def _collect(stream: IO[bytes], names: list[str]) -> None:
    strings: list[str] = []
    memo: dict[int, str] = {}
    for opcode, arg, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            names.append(str(arg).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.append(".".join(strings[-2:]))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif opcode.name in ("BINGET", "LONG_BINGET") and isinstance(arg, int):
            strings.append(memo.get(arg, ""))
        elif isinstance(arg, str):
            strings.append(arg)
