"""Image-report encoders: a frozen, cacheable prefix and trainable towers; one file an encoder."""
