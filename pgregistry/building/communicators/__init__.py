"""Prepare backends other than gloo: check that they can work here, convert their options, split communicators."""
