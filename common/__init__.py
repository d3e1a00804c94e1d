"""What the coordinating centre and every site agree on: types, config, encoders, losses, privacy, metrics, wire."""
