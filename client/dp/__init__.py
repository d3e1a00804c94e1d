"""Patient-level differentially private training: sampler, per-record gradients, clip, noise."""
