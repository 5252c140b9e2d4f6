"""Speed and memory as ratios against the stock libraries, measured in one run."""
