"""Make an assignment from exercises of the bank, with a private seed."""
