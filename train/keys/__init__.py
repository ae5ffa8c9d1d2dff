"""Keys of the `train:` section, a file a topic."""
