"""Certificates of plans: all that a checker needs to confirm a plan without a solver, see docs/certificates.md."""
