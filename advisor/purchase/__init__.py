"""What to buy or rent: plans, prices, upgrades and comparisons."""
