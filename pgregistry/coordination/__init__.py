"""How ranks meet and agree: rendezvous, store, proposals, agreement."""
