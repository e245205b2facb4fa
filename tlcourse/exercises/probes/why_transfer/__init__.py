"""Chapter 01: what is asked about scenarios, learning curves and transferability."""

from tlcourse.exercises.probes.why_transfer.gains import transfer_gain
from tlcourse.exercises.probes.why_transfer.hunt import bug_hunt
from tlcourse.exercises.probes.why_transfer.naming import classify_scenario
from tlcourse.exercises.probes.why_transfer.scores import leep, log_me
from tlcourse.exercises.probes.why_transfer.splitting import kshot_split

__all__ = [
    "bug_hunt",
    "classify_scenario",
    "kshot_split",
    "leep",
    "log_me",
    "transfer_gain",
]
