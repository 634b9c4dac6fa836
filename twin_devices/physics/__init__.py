"""Pure functions, one phenomenon a module. Imports neither the contract nor a transport."""
