"""A blinded, randomised study with people: built once, served to browsers, analysed.

build_user_study("results/people")          # pictures and design; the only step that needs torch
open_user_study("results/people")           # the frozen design
store.Store(folder, design)                 # the answers, in SQLite
analysis.report(table)                      # accuracy, Bradley–Terry, usability
"""
