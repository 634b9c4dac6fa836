"""The recorded history: its file, and readers that give a run as tracks, prices, charging sessions; its settlement."""
