"""Whether `torch.compile` can work here: it writes C++ and needs a compiler for it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from fullconv.errors import FullconvError

HINT = (
    "Install g++ or clang, or name one in the environment variable CXX; or call optimize without "
    "compile=True."
)
_SOURCE = "#include <vector>\nint main() { return static_cast<int>(std::vector<int>().size()); }\n"


def check_compiler() -> None:
    """Raise FullconvError unless the compiler that PyTorch would use compiles a small program."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        compiler = get_cpp_compiler()
    except Exception as error:  # PyTorch has an error of its own here, with a page of advice
        raise FullconvError(
            "torch.compile needs a C++ compiler, and none was found.", hint=HINT
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text(_SOURCE)
        command = [compiler, "-c", str(source), "-o", str(source.with_suffix(".o"))]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            lines = said.decode(errors="replace").strip().splitlines() or ["no message"]
            raise FullconvError(
                f"torch.compile needs a C++ compiler, and {compiler} does not work: {lines[-1]}",
                hint=HINT,
            ) from error
