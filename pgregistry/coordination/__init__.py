"""The meeting and agreement of ranks: rendezvous, store, proposals, decision, barrier."""
