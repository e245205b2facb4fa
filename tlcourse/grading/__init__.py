"""Grade a class: many submissions, fast, safely, into nbgrader's gradebook."""
