"""REST: connections and what people have allowed through them, providers being set up, keys of the vault."""
