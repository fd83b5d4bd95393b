"""What `seed_study.py` is made of: the report's runs again, each with a thousand kinds of luck.

Reading order: `plan` (which networks), `training` (a piece of them, trained), `processes` (all
pieces, on all cores), `statistics` (what a distribution says), `conclusions` (what becomes of the
report's), `figures`, `page` (the folder that a person opens), `link` (what the report shows of it).
"""
