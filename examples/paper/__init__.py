"""The experiment of the paper that Unsay's method comes from, reproduced and extended."""
