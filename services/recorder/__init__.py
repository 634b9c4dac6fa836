"""Message to row, the history stores, and the way back to an xarray Dataset."""
