"""``python -m tlcourse`` is the command line."""

from tlcourse.cli import main

main()
