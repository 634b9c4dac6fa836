"""The energy management system: problem, constraints, model, solve, dispatch."""
