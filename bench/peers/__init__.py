"""The libraries that edgectl is compared with, each in a process of its own.

A peer is a module with `prepare(case)`, which returns `step, check`: a call to be timed, and a few
numbers that every peer must get for that case. It takes its threads from the CPUs it may use. Not so
`merge`, which is a program.
"""
