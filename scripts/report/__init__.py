"""What `reproduce_report.py` is made of.

Reading order: `facts` (what the report prints), `runs` (our runs, by the command line), `compare`
(number by number), `figures` (drawn from the runs), `page` (the folder that a person opens).
"""
