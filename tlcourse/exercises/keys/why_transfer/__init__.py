"""Chapter 01: what is right, and the mistakes that have a name."""

from tlcourse.exercises.keys.why_transfer.gains import transfer_gain
from tlcourse.exercises.keys.why_transfer.hunt import bug_hunt
from tlcourse.exercises.keys.why_transfer.naming import classify_scenario
from tlcourse.exercises.keys.why_transfer.scores import leep, log_me
from tlcourse.exercises.keys.why_transfer.splitting import kshot_split

__all__ = [
    "bug_hunt",
    "classify_scenario",
    "kshot_split",
    "leep",
    "log_me",
    "transfer_gain",
]
