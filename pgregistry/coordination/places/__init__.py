"""Where ranks are: what each writes of its host and domain, compared with what the plan took for granted."""
