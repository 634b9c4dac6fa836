"""The network twin: power flow of the site's network, and the PCC meter that follows from it."""
