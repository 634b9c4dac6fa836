"""The energy management system.

In reading order: `problem` (what the solver sees, frozen), `constraints` (one function per equation), `model` (the
table of contents, built by linopy once per structure), `stores` and `vectors` (a problem's bounds and costs in that
model), `binaries` (where flags are needed, with the proof), `solve` (HiGHS, warm and deterministic), `dispatch`
(solution to plan to set-points). Around them: `knowledge` (what messages told), `future` (series on steps),
`foresight` (knowledge to problem), `network` (its cables and transformer as limits), `peak` (the month's demand),
`participant` (the EMS on the bus).
"""
