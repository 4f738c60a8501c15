"""The demo: start everything, send card traffic, show it live, and account for every record at the end.

``demonstration`` runs the demo from start to end. ``preparation`` starts stack, model and jobs; ``threads`` sends and
reads; ``board`` collects the results of the threads; ``screen`` shows them; ``summary`` is the final reconciliation.
"""
