"""What backends other than gloo need: whether they can work here, their options, and communicators that are split."""
