"""What one submission may use."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

# More threads than cores make numerical libraries slower, not faster.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class Limits(BaseModel):
    """Bounds for one submission; each check's own seconds stand in its probe.

    Args:
        cell_seconds: wall time of one cell.
        total_seconds: wall time of the whole submission.
        memory_mb: resident memory of all its processes together, beyond what a
            fresh kernel has, in MiB.
        processes: how many processes and threads it may have at once.
        disk_mb: what it may write to its folders in memory, in MiB.
        output_bytes: output kept of one cell; the rest is cut, and said so.
        file_mb: a larger submitted file is not read, in MiB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_seconds: float = Field(60, gt=0)
    total_seconds: float = Field(600, gt=0)
    memory_mb: int = Field(2_000, gt=0)
    processes: int = Field(64, gt=0)
    disk_mb: int = Field(256, gt=0)
    output_bytes: int = Field(1_000_000, gt=0)
    file_mb: int = Field(20, gt=0)
