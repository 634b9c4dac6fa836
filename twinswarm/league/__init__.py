"""Any EMS on the same days of the same plant, scored at the PCC meter beside perfect foresight."""
