"""Which storage pays at a site: designs, their year by typical days, and what they are worth."""
