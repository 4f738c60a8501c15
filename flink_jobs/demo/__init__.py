"""The demo: everything started, card traffic sent, watched live, and every event accounted for at the end.

``run`` reads top to bottom as the demo goes; ``preparation`` starts, ``board`` gathers what the threads learn,
``screen`` shows it, ``summary`` closes the account.
"""
