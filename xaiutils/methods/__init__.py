"""Every explainer behind one signature: see `Method` and `METHODS`."""
