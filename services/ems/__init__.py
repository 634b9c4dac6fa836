"""The energy management system.

In reading order: `problem` (all that the solver sees, frozen), `terms` (the formulation, a file per term), `compile`
(the terms as one matrix, filled with a problem's numbers), `stores` (what stores energy, step by step), `binaries`
(where binaries are required, with the proof), `solve` (HiGHS, warm and deterministic), `dispatch` (solution to plan to
set-points). Around them: `system_state` (devices, measurements and series, from messages), `series_alignment` (series
on the window's steps), `problem_builder` (system state to problem, a file per part), `network_limits` (cables and
transformer as limits), `month_peak` (the month's demand so far), `participant` (the EMS on the bus).
"""
