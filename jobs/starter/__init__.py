"""What `corrigenda init` asks, by kind of source, and the config that it writes of the answers."""
