"""OpenADR 3: a client of a server (VTN), and what its events say of limits and prices."""
