"""The contract as an examination of one device on a broker: what it promises, tried, clause by clause.

In reading order: `examination` (the course), `joining` (birth, state, telemetry), `commands` (set-points and their
answers), `flow` (whether the power comes, stays and ends), `trials` (what is tried with them), `broken_connection` (its
connection is cut), `heard` (what is judged of all that was published). Around them: `bench` (clock, hand and ear),
`expectation` (the power that a device may have), `verdicts` (the result).
"""
